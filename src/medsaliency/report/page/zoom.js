// Zoom and pan: every picture of a case shows the same part of it, as they share one viewBox.
for (const article of all(".case")) {
  const MOST = 8;
  const STEP = 1.5;
  const full = { width: Number(article.dataset.width), height: Number(article.dataset.height) };
  const pictures = all(".picture", article);
  const buttons = all(".zoom button", article);
  const output = article.querySelector(".zoom output");
  let view = { x: 0, y: 0, zoom: 1 };

  const show = (x, y, zoom) => {
    const scale = Math.min(Math.max(zoom, 1), MOST);
    const [width, height] = [full.width / scale, full.height / scale];
    const inside = (place, room) => Math.min(Math.max(place, 0), room);
    view = { x: inside(x, full.width - width), y: inside(y, full.height - height), zoom: scale };
    const box = [view.x, view.y, width, height].map((value) => Number(value.toFixed(3))).join(" ");
    for (const picture of pictures) picture.setAttribute("viewBox", box);
    article.classList.toggle("zoomed", scale > 1);
    output.value = `Zoom ${Math.round(100 * scale)}%`;
    for (const button of buttons) button.disabled = button.dataset.zoom === "in" ? scale >= MOST : scale <= 1;
    // A button that is switched off while it has the focus would lose the reader's place.
    const focused = buttons.indexOf(document.activeElement);
    if (focused >= 0 && buttons[focused].disabled) buttons.find((button) => !button.disabled).focus();
  };
  // The point (u, v), in shares of the picture, stays where it is.
  const zoomBy = (factor, u = 0.5, v = 0.5) => {
    const zoom = Math.min(Math.max(view.zoom * factor, 1), MOST);
    const moved = (1 / view.zoom - 1 / zoom);
    show(view.x + u * full.width * moved, view.y + v * full.height * moved, zoom);
  };
  // In shares of the part that is seen.
  const panBy = (x, y) =>
    show(view.x + (x * full.width) / view.zoom, view.y + (y * full.height) / view.zoom, view.zoom);
  const reset = () => show(0, 0, 1);

  for (const button of buttons) {
    const { zoom, pan } = button.dataset;
    button.addEventListener("click", () => {
      if (zoom === "reset") reset();
      else if (zoom) zoomBy(zoom === "in" ? STEP : 1 / STEP);
      else panBy(...pan.split(" ").map((direction) => direction / 4));
    });
  }
  const keys = {
    "+": () => zoomBy(STEP), "=": () => zoomBy(STEP), "-": () => zoomBy(1 / STEP), "0": reset,
    ArrowLeft: () => panBy(-0.1, 0), ArrowRight: () => panBy(0.1, 0),
    ArrowUp: () => panBy(0, -0.1), ArrowDown: () => panBy(0, 0.1),
  };
  article.querySelector(".maps").addEventListener("keydown", (event) => {
    // Unzoomed there is nothing to pan, and the arrows go on scrolling the page; so does Ctrl with a key.
    const idle = event.key.startsWith("Arrow") && view.zoom === 1;
    if (!(event.key in keys) || idle || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  const fingers = new Map();
  const share = (picture, { clientX, clientY }) => {
    const box = picture.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  };
  const spread = () => {
    const [first, second] = [...fingers.values()];
    return Math.hypot(first.clientX - second.clientX, first.clientY - second.clientY);
  };
  for (const picture of pictures) {
    picture.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      zoomBy(Math.exp(-Math.max(-50, Math.min(50, event.deltaY)) / 100), ...share(picture, event));
    }, { passive: false });
    picture.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && (event.button !== 0 || view.zoom === 1)) return;
      fingers.set(event.pointerId, event);
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      if (fingers.size === 1) {
        const [from, to] = [share(picture, before), share(picture, event)];
        panBy(from[0] - to[0], from[1] - to[1]);
        fingers.set(event.pointerId, event);
      } else if (fingers.size === 2) {
        const apart = spread();
        fingers.set(event.pointerId, event);
        if (apart > 0) zoomBy(spread() / apart, ...share(picture, event));
      }
    });
    for (const end of ["pointerup", "pointercancel"])
      picture.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  // A print shows whole pictures; the screen has its part again afterwards.
  let kept = view;
  addEventListener("beforeprint", () => { kept = view; reset(); });
  addEventListener("afterprint", () => show(kept.x, kept.y, kept.zoom));
}
