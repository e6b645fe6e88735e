(() => {
  // A group of buttons of which one is chosen, and the blocks of which only the chosen one's is shown.
  const choose = (buttons, blocks, key) => {
    for (const button of all(buttons)) {
      button.addEventListener("click", () => {
        all(buttons).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        all(blocks).forEach((block) => { block.hidden = block.dataset[key] !== button.dataset[key]; });
      });
    }
  };
  choose("[data-panel][aria-pressed]", ".panel", "panel");
  choose("[data-control][aria-pressed]", ".against", "control");

  // The curves are drawn; a box only hides and shows them, in all charts at once.
  const section = one("information_curves");
  for (const [id, name] of [["medians", "with-medians"], ["bands", "with-bands"]]) {
    const box = one(id);
    if (!box) continue;
    const apply = () => section.classList.toggle(name, box.checked);
    box.addEventListener("change", apply);
    apply();
  }
  const show = (method, shown) => {
    all(".series").filter((box) => box.dataset.method === method).forEach((box) => { box.checked = shown; });
    all("[data-role]", section).filter((curve) => curve.dataset.method === method)
      .forEach((curve) => { curve.classList.toggle("off", !shown); });
  };
  for (const box of all(".series")) {
    box.addEventListener("change", () => show(box.dataset.method, box.checked));
    // A browser may keep a box as it was before the page was loaded again.
    if (!box.checked) show(box.dataset.method, false);
  }
})();
