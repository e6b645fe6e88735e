(() => {
  // One CSS variable drives every overlay, one filter every image, and one variable each kind of outline.
  const section = one("cases");
  const articles = all(".case", section);
  if (!articles.length) return;

  // A control is applied once at the start, because browsers restore a moved one on reload.
  const follow = (control, apply) => {
    if (!control) return;
    control.addEventListener("input", apply);
    apply();
  };
  const opacity = one("opacity");
  follow(opacity, () => {
    root.style.setProperty("--overlay", opacity.value / 100);
    one("opacity-value").value = opacity.value + "%";
  });
  for (const kind of ["lesion", "marker"]) {
    const box = one(`${kind}-lines`);
    follow(box, () => root.style.setProperty(`--${kind}-lines`, box.checked ? "visible" : "hidden"));
  }

  // Gray v is shown as (v - low) / width, black below the window and white above it.
  const width = one("window-width");
  const level = one("window-level");
  const applyWindow = () => {
    const slope = 100 / width.value;
    const intercept = 0.5 - (level.value / 100) * slope;
    for (const channel of all("#window feComponentTransfer > *")) {
      channel.setAttribute("slope", slope);
      channel.setAttribute("intercept", intercept);
    }
    one("window-width-value").value = width.value + "%";
    one("window-level-value").value = level.value + "%";
    // Without a change there is no filter to pay for.
    section.classList.toggle("windowed", slope !== 1 || intercept !== 0);
  };
  follow(width, applyWindow);
  follow(level, applyWindow);
  one("window-reset").addEventListener("click", () => {
    width.value = width.defaultValue;
    level.value = level.defaultValue;
    applyWindow();
  });

  const outcome = one("outcome");
  follow(outcome, () => {
    for (const article of articles) article.hidden = outcome.value !== "" && article.dataset.outcome !== outcome.value;
    one("cases-shown").value = `${articles.filter((article) => !article.hidden).length} of ${articles.length} cases`;
  });
  for (const box of all(".map-choice", section)) {
    const figures = all("figure[data-map]", section).filter((figure) => figure.dataset.map === box.value);
    follow(box, () => figures.forEach((figure) => { figure.hidden = !box.checked; }));
  }

  // On a narrow screen the controls would cover the pictures.
  if (matchMedia("(max-width: 900px)").matches) section.querySelector(".settings").open = false;
})();
