// Shared by the scripts of the sections, which follow in this one's scope.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (id) => document.getElementById(id);
const root = document.documentElement;

// What sticks below the bar has to know its height, which changes with the width of the page.
const masthead = document.querySelector(".masthead");
new ResizeObserver(() => root.style.setProperty("--bar", `${masthead.offsetHeight}px`)).observe(masthead);

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

// A print holds all the evidence, whatever is folded on the screen.
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
