"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Gallery: one CSS variable drives every overlay, another every outline.
  const opacity = one("opacity");
  if (opacity) {
    const apply = () => {
      root.style.setProperty("--overlay", opacity.value / 100);
      one("opacity-value").textContent = opacity.value + "%";
    };
    opacity.addEventListener("input", apply);
    apply(); // browsers restore a moved slider on reload
  }
  const outline = one("outline");
  if (outline) {
    const apply = () => root.style.setProperty("--outlines", outline.checked ? "visible" : "hidden");
    outline.addEventListener("change", apply);
    apply();
  }

  // Tables: undefined values go last in both directions, as they are neither high nor low.
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, index) => {
      head.querySelector("button").addEventListener("click", () => {
        const numeric = head.classList.contains("num");
        const before = head.getAttribute("aria-sort");
        const descending = before ? before === "ascending" : numeric;
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const key = (row) => row.children[index].dataset.sort;
        const rows = all("tbody tr", table).sort((a, b) => {
          const [left, right] = [key(a), key(b)];
          if (left === "" || right === "") return (left === "") - (right === "");
          const order = numeric ? Number(left) - Number(right) : left.localeCompare(right);
          return descending ? -order : order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  // Charts are drawn when their panel is first shown: plotly cannot measure a hidden element.
  const data = one("figures");
  if (!data) return;
  const figures = JSON.parse(data.textContent);
  const hidden = new Set();
  const shown = (trace) => {
    if (hidden.has(trace.meta.method)) return false;
    if (trace.meta.role === "band") return one("bands").checked;
    return trace.meta.role === "mean" || one("medians").checked;
  };
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };
  const draw = () => {
    for (const plot of all(".panel:not([hidden]) .plot")) {
      const figure = figures[plot.id];
      figure.data.forEach((trace) => { trace.visible = shown(trace); });
      Plotly.react(plot, figure.data, figure.layout, config);
    }
  };
  for (const button of all(".choice button")) {
    button.addEventListener("click", () => {
      all(".choice button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      all(".panel").forEach((panel) => { panel.hidden = panel.dataset.panel !== button.dataset.panel; });
      draw();
    });
  }
  for (const box of all(".series")) {
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](box.dataset.method);
      all(".series").filter((other) => other.dataset.method === box.dataset.method)
        .forEach((other) => { other.checked = box.checked; });
      draw();
    });
  }
  for (const id of ["medians", "bands"]) one(id).addEventListener("change", draw);
  for (const box of all(".series")) if (!box.checked) hidden.add(box.dataset.method);
  draw();
})();
