// Opens the page in frames of three widths, works its controls as a reader does, and writes down what it saw.
// Chromium's windows have a least width; a frame can be as narrow as a telephone.
const WIDTHS = [400, 768, 1400];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function opened(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:2000px;border:0`;
  document.body.append(frame);
  const loaded = new Promise((resolve) => { frame.onload = resolve; });
  frame.srcdoc = page;
  await loaded;
  await wait(300);
  return frame;
}

function toolsOf(frame) {
  const doc = frame.contentDocument;
  const view = frame.contentWindow;
  const all = (selector, inside = doc) => [...inside.querySelectorAll(selector)];
  const set = (id, value) => {
    const control = doc.getElementById(id);
    control[control.type === "checkbox" ? "checked" : "value"] = value;
    control.dispatchEvent(new view.Event("input", { bubbles: true }));
  };
  // No pointer is really down, so there is none to capture.
  view.Element.prototype.setPointerCapture = () => {};
  return { doc, view, all, set };
}

// The page as it opens: what it loads, whether it fits, whether its parts can be reached and named.
function structure({ doc, view, all }) {
  const ids = all("[id]").map((element) => element.id);
  const named = (element) => {
    const labels = (element.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
    const words = [
      element.getAttribute("aria-label"),
      ...labels.map((id) => doc.getElementById(id)?.textContent),
      ...[...(element.labels || [])].map((label) => label.textContent),
      element.matches("input, select") ? "" : element.textContent,
      element.title,
    ];
    return words.some((text) => text && text.trim());
  };
  const interactive = "a[href], button, input, select, textarea, summary, [tabindex='0'], [role=img], [role=region]";
  return {
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    scroll: doc.documentElement.scrollWidth,
    width: doc.documentElement.clientWidth,
    loaded: view.performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => !name.startsWith("data:")),
    missing: all("nav a").map((link) => link.getAttribute("href")).filter((href) => !doc.querySelector(href)),
    links: all("nav a").length,
    repeated: ids.filter((id, place) => ids.indexOf(id) !== place),
    unnamed: all(interactive).filter((element) => !named(element)).map((element) => element.outerHTML.slice(0, 120)),
    outOfOrder: all("[tabindex]").filter((element) => element.tabIndex > 0).map((element) => element.outerHTML.slice(0, 120)),
    landmarks: all("header, nav, main, footer").map((element) => element.tagName.toLowerCase()),
    banner: view.getComputedStyle(doc.querySelector(".masthead")).position,
  };
}

// Text against what lies behind it, by the formula of WCAG 2; what falls short is told with its ratio.
function contrast({ doc, view, all }) {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (color) => {
    if (!known.has(color)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = color;
      pen.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
      known.set(color, [red, green, blue, alpha / 255]);
    }
    return known.get(color);
  };
  const over = (top, share, bottom) => top.map((value, i) => share * value + (1 - share) * bottom[i]);
  const background = (element) => {
    if (!element) return [255, 255, 255];
    const [red, green, blue, alpha] = rgba(view.getComputedStyle(element).backgroundColor);
    return alpha === 1 ? [red, green, blue] : over([red, green, blue], alpha, background(element.parentElement));
  };
  const light = (color) => {
    const [red, green, blue] = color.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  all("details").forEach((details) => { details.open = true; });
  const short = new Map();
  let looked = 0;
  for (const element of all("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || element.closest("svg, script, style, :disabled, .skip") || !element.checkVisibility()) continue;
    const style = view.getComputedStyle(element);
    const behind = background(element);
    let share = rgba(style.color)[3];
    for (let each = element; each; each = each.parentElement) share *= view.getComputedStyle(each).opacity;
    const [above, below] = [light(over(rgba(style.color).slice(0, 3), share, behind)), light(behind)];
    const ratio = (Math.max(above, below) + 0.05) / (Math.min(above, below) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    looked += 1;
    if (ratio < (large ? 3 : 4.5)) {
      const place = element.closest("section")?.id;
      short.set(`${place}: ${element.tagName}.${element.className} ${style.color} on ${behind}`, ratio.toFixed(2));
    }
  }
  return { looked, short: Object.fromEntries(short) };
}

function display({ doc, view, all, set }) {
  const shown = () => all(".case").filter((article) => article.checkVisibility()).length;
  const filtered = () => view.getComputedStyle(doc.querySelector(".maps .photo")).filter;
  const channels = () => all("#window feComponentTransfer > *").map((each) => [each.getAttribute("slope"), each.getAttribute("intercept")].join());
  const result = { cases: shown() };
  result.pictures = all(".picture .photo, .steps .photo").every((image) => image.getBoundingClientRect().width > 30);
  result.unfiltered = filtered();
  set("opacity", 20);
  result.opacity = [...new Set(all(".case .overlay").map((overlay) => view.getComputedStyle(overlay).opacity))];
  result.told = doc.getElementById("opacity-value").value;
  set("window-width", 50);
  set("window-level", 60);
  result.channels = channels();
  result.filtered = [...new Set(all(".case .photo").map((photo) => view.getComputedStyle(photo).filter))];
  doc.getElementById("window-reset").click();
  result.reset = [...channels(), filtered()];
  set("outcome", "error");
  result.errors = [shown(), all(".case[data-outcome=error]").length, doc.getElementById("cases-shown").value];
  set("outcome", "");
  const box = doc.querySelector(".map-choice");
  const maps = () => all(`figure[data-map=${box.value}]`).filter((figure) => figure.checkVisibility()).length;
  box.checked = false;
  box.dispatchEvent(new view.Event("input", { bubbles: true }));
  result.hiddenMap = maps();
  box.checked = true;
  box.dispatchEvent(new view.Event("input", { bubbles: true }));
  result.shownMap = maps();
  const line = () => view.getComputedStyle(doc.querySelector(".case .lesion")).visibility;
  set("lesion-lines", false);
  result.lines = [line(), view.getComputedStyle(doc.querySelector(".line-key .lesion")).visibility];
  set("lesion-lines", true);
  result.lines.push(line());
  result.strips = all(".strip").map((strip) => all(".steps li", strip).length);
  result.stripsSeen = all(".strip .steps svg").every((picture) => picture.getBoundingClientRect().width > 30);
  return result;
}

function zoom({ doc, view, all }) {
  const [first, second] = all(".case");
  const boxes = (article) => [...new Set(all(".picture", article).map((picture) => picture.getAttribute("viewBox")))];
  const button = (kind) => first.querySelector(`[data-zoom=${kind}]`);
  const pane = first.querySelector(".maps");
  const press = (key, more = {}) => {
    const event = new view.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
    pane.dispatchEvent(event);
    return event.defaultPrevented;
  };
  const told = () => first.querySelector(".zoom output").value;
  const result = { live: first.querySelector(".zoom output").getAttribute("aria-live"), idle: press("ArrowLeft") };
  button("in").click();
  result.button = [boxes(first), told()];
  result.other = boxes(second);
  first.querySelector("[data-pan='1 0']").click();
  result.panned = boxes(first);
  button("reset").focus();
  button("reset").click();
  result.reset = [boxes(first), told(), doc.activeElement.dataset.zoom];
  const keys = () => [press("+"), boxes(first), press("ArrowRight"), boxes(first), press("0"), boxes(first)];
  result.keys = keys();
  result.browsers = press("+", { ctrlKey: true });
  for (let i = 0; i < 20; i += 1) press("+");
  result.most = [told(), button("in").disabled];
  press("0");

  const picture = first.querySelector(".maps .picture");
  const box = picture.getBoundingClientRect();
  const at = (u, v) => ({ clientX: box.left + u * box.width, clientY: box.top + v * box.height, bubbles: true, cancelable: true });
  const wheel = (more) => picture.dispatchEvent(new view.WheelEvent("wheel", { ...at(0, 0), deltaY: -40, ...more }));
  result.wheelAlone = [wheel({}), boxes(first)];
  result.wheel = [wheel({ ctrlKey: true }), boxes(first)];
  press("0");
  press("+");
  const pointer = (kind, u, v, more = {}) =>
    picture.dispatchEvent(new view.PointerEvent(kind, { ...at(u, v), pointerId: 1, pointerType: "mouse", button: 0, ...more }));
  const before = boxes(first);
  pointer("pointerdown", 0.5, 0.5);
  pointer("pointermove", 0.4, 0.5);
  pointer("pointerup", 0.4, 0.5);
  pointer("pointermove", 0.1, 0.1);
  result.drag = [before, boxes(first)];
  press("0");
  const finger = (kind, id, u) => pointer(kind, u, 0.5, { pointerId: id, pointerType: "touch" });
  finger("pointerdown", 1, 0.4);
  finger("pointerdown", 2, 0.6);
  finger("pointermove", 2, 0.8);
  result.pinch = told();
  finger("pointerup", 1, 0.4);
  finger("pointerup", 2, 0.8);
  press("0");
  return result;
}

// What the other sections let a reader do.
function tables({ doc, view, all }) {
  const result = {};
  const panels = () => all(".panel").filter((panel) => panel.checkVisibility()).map((panel) => panel.dataset.panel);
  const buttons = all("button[data-panel]");
  buttons[1].click();
  result.panel = [panels(), buttons.map((button) => button.getAttribute("aria-pressed"))];
  const curves = () => all(".panel:not([hidden]) [data-role=mean]").filter((curve) => view.getComputedStyle(curve).display !== "none").length;
  const before = curves();
  doc.querySelector(".panel:not([hidden]) .series").click();
  result.curves = [before, curves()];
  const heads = all("table.scores thead button");
  const column = () => all("table.scores tbody tr").map((row) => Number(row.children[7].dataset.sort));
  heads[7].click();
  result.down = column();
  heads[7].click();
  result.up = column();
  const card = doc.querySelector("#trust-card button[popovertarget]");
  const entry = doc.getElementById(card.getAttribute("popovertarget"));
  card.click();
  result.card = [entry.checkVisibility()];
  entry.querySelector(".close").click();
  result.card.push(entry.checkVisibility());
  return result;
}

function print({ view, all }) {
  const folded = () => all("details:not([open])").length;
  const article = all(".case")[0];
  const box = () => article.querySelector(".picture").getAttribute("viewBox");
  article.querySelector("[data-zoom=in]").click();
  all("details").forEach((details) => { details.open = false; });
  const screen = [folded() > 0, box()];
  view.dispatchEvent(new view.Event("beforeprint"));
  const paper = [folded(), box()];
  view.dispatchEvent(new view.Event("afterprint"));
  return { screen, paper, after: [folded() > 0, box()] };
}

async function look(page) {
  const results = {};
  for (const width of WIDTHS) {
    const frame = await opened(page, width);
    const tools = toolsOf(frame);
    const result = { structure: structure(tools), display: display(tools), zoom: zoom(tools), tables: tables(tools), print: print(tools) };
    result.contrast = contrast(tools);
    result.scrollOpen = tools.doc.documentElement.scrollWidth;
    result.trouble = tools.view.trouble;
    results[width] = result;
    frame.remove();
  }
  return results;
}

look(PAGE).catch((error) => ({ failure: String(error.stack) })).then((results) => {
  document.body.innerHTML = "<pre id=result></pre>";
  document.getElementById("result").textContent = JSON.stringify(results);
  document.querySelectorAll("script").forEach((script) => script.remove());
});
