"""The page of a comparison."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from medsaliency.report.comparison import Comparison, render
from medsaliency.report.comparison.tables import trust_matrix

from ..markup import Page  # noqa: TID252 - tests have no absolute name
from .made import table

HOSTILE = "<img src=x onerror=alert(1)>"


def test_the_page_is_complete_in_itself(comparison: Comparison) -> None:
    html = render(comparison)
    page = Page(html)
    assert page.loaded == []
    assert len(page.links) == 7
    assert all(link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in html
    assert "url(" not in html[html.index("<style>") : html.index("</style>")]
    assert page.tags.count("h1") == 1
    assert "For research use only. Not for diagnosis." in page.words


def test_the_page_shows_every_run_method_measure_and_pair(comparison: Comparison) -> None:
    words = Page(render(comparison)).words
    for name in (
        "A · brain-small",
        "B · brain-resnet",
        "C · chest",
        "Grad-CAM",
        "RISE",
        "Infidelity",
        "B − A",
        "C − B",
    ):
        assert name in words
    assert "1 more measure" in words
    assert "lower is better" in words
    assert "Methods of A and B only: LIME." in words


def test_names_from_outside_are_escaped(comparison: Comparison) -> None:
    def hostile(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
        return table.assign(**dict.fromkeys(columns, HOSTILE))

    own = dict(comparison.performance["A"], auroc={HOSTILE: {"value": 0.5, "low": 0.4, "high": 0.6}})
    measure = replace(comparison.measures["evidence"], description=HOSTILE)
    html = render(
        replace(
            comparison,
            runs={"A": HOSTILE, "B": "b", "C": "c"},
            facts=hostile(comparison.facts, "fact", "value"),
            settings=hostile(comparison.settings, "name", "setting", "value"),
            left_out=hostile(comparison.left_out, "name"),
            pairs=hostile(comparison.pairs, "reason"),
            differences=hostile(comparison.differences, "reason"),
            rankings=hostile(comparison.rankings, "reason"),
            performance={**comparison.performance, "A": own},
            measures={**comparison.measures, "evidence": measure},
        )
    )
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 10


def test_folders_are_left_out(comparison: Comparison) -> None:
    place = "/home/somebody/secret/brain"
    table = comparison.facts.assign(value=place)
    html = render(replace(comparison, facts=table, settings=comparison.settings.assign(value=place)))
    assert "somebody" not in html
    assert "…/brain" in html


def test_disagreement_on_the_card_is_told_by_sign_and_word(comparison: Comparison) -> None:
    matrix = trust_matrix(comparison)
    states = {row["method"]: [cell["state"] for cell in row["cells"]] for row in matrix["rows"]}
    assert states == {"Gradient": ["differs", "same"], "Grad-CAM": ["same", "same"], "RISE": ["same", "opposite"]}
    assert matrix["silent"] == ["stable"]
    words = Page(render(comparison)).words
    assert "≠ differs" in words
    assert "‼ opposite" in words


def test_runs_without_differences_have_no_empty_tables(comparison: Comparison) -> None:
    empty: Callable[[str], pd.DataFrame] = lambda name: table(name, [])  # noqa: E731
    words = Page(
        render(replace(comparison, settings=empty("settings"), left_out=empty("left_out"), trust=empty("trust")))
    ).words
    assert "None: the runs have the same settings." in words
    assert "Nothing: all runs have the same methods and measures." in words
    assert "No run gives a pass or a fail on any criterion." in words


def test_markup_is_well_balanced(comparison: Comparison) -> None:
    html = render(comparison)
    for tag in ("section", "table", "tr", "td", "th", "div", "p", "span", "svg", "details"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


FRAMES = """<!doctype html><body><script>
const page = PAGE, seen = {trouble: []};
window.report = (text) => seen.trouble.push(text);
async function look(width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; frame.srcdoc = page; });
  const root = frame.contentDocument.documentElement;
  for (const details of frame.contentDocument.querySelectorAll("details")) details.open = true;
  const loaded = frame.contentWindow.performance.getEntriesByType("resource").length;
  seen[width] = {scroll: root.scrollWidth, width: root.clientWidth, loaded};
}
(async () => {
  for (const width of [400, 768, 1400]) await look(width);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
})();
</script></body>"""
WATCH = """<script>
addEventListener("error", (event) => parent.report(event.message));
document.addEventListener("securitypolicyviolation", (event) => parent.report(event.blockedURI));
</script>"""


def test_the_page_fits_every_width_and_runs_without_trouble(comparison: Comparison, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        message = "the page is checked in a browser: install chromium (Debian: apt install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    page = render(comparison).replace("<title>", WATCH + "<title>", 1)
    harness = tmp_path / "harness.html"
    harness.write_text(FRAMES.replace("PAGE", json.dumps(page).replace("<", "\\u003c"), 1), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--window-size=1500,1000", "--dump-dom",
            "--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}", harness.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-500:]
    seen = json.loads(unescape(found[1]))
    assert seen["trouble"] == []
    for width in ("400", "768", "1400"):
        assert seen[width]["scroll"] <= seen[width]["width"] <= int(width)
        assert seen[width]["loaded"] == 0
