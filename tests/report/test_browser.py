"""The page as a browser shows it: no error, nothing blocked, no sideways scroll, and controls that work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.html import render, script_json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WATCH = """<script>
window.trouble = [];
addEventListener("error", (event) => trouble.push("error: " + event.message));
addEventListener("unhandledrejection", (event) => trouble.push("rejection: " + event.reason));
document.addEventListener("securitypolicyviolation", (event) => trouble.push("blocked: " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => trouble.push(kind + ": " + words.join(" "));
</script>"""

# Chromium's windows have a least width; a frame can be as narrow as a telephone.
HARNESS = """<!doctype html><body><script>
const page = %s, results = {};
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
(async () => {
  for (const width of [400, 1400]) {
    const frame = document.createElement("iframe");
    frame.style = `width:${width}px;height:3000px;border:0`;
    document.body.append(frame);
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    frame.srcdoc = page;
    await loaded;
    await wait(300);
    const doc = frame.contentDocument, view = frame.contentWindow;
    const all = (selector) => [...doc.querySelectorAll(selector)];
    const result = { scroll: doc.documentElement.scrollWidth, width: doc.documentElement.clientWidth };
    result.plots = all(".panel:not([hidden]) .plot .main-svg").length;
    const slider = doc.getElementById("opacity");
    slider.value = 20;
    slider.dispatchEvent(new view.Event("input"));
    result.opacity = view.getComputedStyle(doc.querySelector(".overlay")).opacity;
    result.pictures = all(".picture image").every((image) => image.getBoundingClientRect().width > 50);
    all(".choice button")[1].click();
    await wait(200);
    result.panel = all(".panel:not([hidden])").map((panel) => panel.dataset.panel).join();
    result.drawn = all(".panel:not([hidden]) .plot .scatterlayer .trace").length;
    doc.querySelector(".panel:not([hidden]) .series").click();
    await wait(200);
    result.fewer = all(".panel:not([hidden]) .plot .scatterlayer .trace").length;
    const heads = all("table.scores thead button");
    heads[7].click();
    const column = () => all("table.scores tbody tr").map((row) => Number(row.children[7].dataset.sort));
    result.down = column();
    heads[7].click();
    result.up = column();
    result.trouble = view.trouble;
    results[width] = result;
    frame.remove();
  }
  document.body.innerHTML = "<pre id=result></pre>";
  document.getElementById("result").textContent = JSON.stringify(results);
  document.querySelectorAll("script").forEach((script) => script.remove());
})();
</script></body>"""


@pytest.fixture(scope="module")
def seen(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    if CHROMIUM is None:
        message = "the report is checked in a browser: install chromium (Debian: apt install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("browser")
    page = render(contents).replace("<title>", WATCH + "<title>", 1)
    harness = folder / "harness.html"
    harness.write_text(HARNESS % script_json(page), encoding="utf-8")
    return json.loads(unescape(result_of(harness, folder / "profile")))


def result_of(page: Path, profile: Path) -> str:
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--window-size=1500,1000", "--virtual-time-budget=15000",
        "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *options, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page gave no result: {done.stdout[:500]} {done.stderr[-500:]}"
    return found[1]


@pytest.mark.parametrize("width", ["400", "1400"])
def test_the_page_runs_without_trouble(seen: dict[str, dict], width: str) -> None:
    assert seen[width]["trouble"] == []


@pytest.mark.parametrize("width", ["400", "1400"])
def test_the_page_does_not_scroll_sideways(seen: dict[str, dict], width: str) -> None:
    assert seen[width]["scroll"] <= seen[width]["width"] <= int(width)


@pytest.mark.parametrize("width", ["400", "1400"])
def test_the_controls_work(seen: dict[str, dict], width: str) -> None:
    result = seen[width]
    assert result["plots"] >= 2, "both curves are drawn at once"
    assert result["opacity"] == "0.2"
    assert result["pictures"]
    assert result["panel"] == "2"
    assert result["drawn"] == 2 * 2 * 8, "a mean and a band for each method, twice"
    assert result["fewer"] == 2 * 2 * 7
    assert result["down"] == sorted(result["down"], reverse=True)
    assert result["up"] == sorted(result["up"])
    assert len(set(result["up"])) > 1
