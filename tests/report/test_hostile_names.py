"""Names and reasons that are scripts, in a real browser: each is text to read, and none runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from medsaliency.report import evidence, exports
from medsaliency.report.comparison import render as render_comparison
from medsaliency.report.contents import COLUMNS, Contents, Inference
from medsaliency.report.exports import write_figures
from medsaliency.report.html import render
from medsaliency.report.markdown import render_markdown
from medsaliency.report.pdf import print_pdf
from medsaliency.report.wording import without_folders

from .comparison.made import build as build_comparison
from .devtools import Page
from .test_browser import chromium

RUN = "window.hacked=1"
IMAGE = f"<img src=x onerror={RUN}>"
SCRIPT = f"</script><script>{RUN}</script>"
CLASSES = (IMAGE, SCRIPT, f"\"'><svg onload={RUN}>")
REASON = f"--><iframe srcdoc='<script>parent.{RUN}</script>'></iframe> {{{{7*7}}}} <a href=javascript:{RUN}>a</a>"
METHOD = f"x' onclick='{RUN}' \" onclick={RUN}>"
READ = """({
  hacked: window.hacked ?? 0,
  text: document.documentElement.textContent,
  images: document.querySelectorAll('img').length,
})"""
POKE = """
for (const part of document.querySelectorAll('details')) part.open = true;
for (const part of document.querySelectorAll('button, input, select, [tabindex]')) {
  part.focus(); part.click(); part.dispatchEvent(new Event('change', {bubbles: true}));
}
for (const part of document.querySelectorAll('*')) part.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}));
new Promise((done) => setTimeout(done, 200))
"""


NAMING = ("critical_difference", "method_agreement", "cost", "mixed_model")
"""Figures that name methods, or terms of a model; the others have tests of their own and take most of the time."""


@pytest.fixture(scope="module")
def hostile(contents: Contents) -> Contents:
    """The study with a script for each name of a class, method, data set, study and sample, and for each reason."""
    renamed = {"gradient": METHOD}
    tables = {}
    for name, columns in COLUMNS.items():
        rows: pd.DataFrame = getattr(contents.inference, name).replace(renamed).copy()
        for column in {"reason", "source", "term", "level"} & set(columns.split()):
            rows[column] = REASON
        tables[name] = rows
    fitted = {**contents.inference.calibration, "reason": REASON}
    inference = Inference(**tables, calibration=fitted, shortcut={**contents.inference.shortcut, "class": SCRIPT})
    case = contents.cases[0]
    case = replace(
        case,
        sample=IMAGE,
        why=REASON,
        maps={renamed.get(name, name): values for name, values in case.maps.items()},
        strips=[replace(strip, method=METHOD, why=SCRIPT) for strip in case.strips],
    )
    data = {"name": SCRIPT, "classes": list(CLASSES), "counts": {"test": dict.fromkeys(CLASSES, 3)}}
    return replace(
        contents,
        title=f"{SCRIPT}{IMAGE}",
        classes=CLASSES,
        performance={
            **contents.performance,
            "auroc": {name: {"value": 0.9, "low": 0.8, "high": 0.95} for name in CLASSES},
        },
        cases=[case],
        curves=contents.curves.replace({"method": renamed}),
        summary=contents.summary.replace({"method": renamed}),
        scores=contents.scores.replace({"method": renamed}).assign(
            sample=IMAGE + contents.scores["sample"], patient=SCRIPT + contents.scores["patient"], reason=REASON
        ),
        exclusions=contents.exclusions.assign(reason=REASON),
        seconds=contents.seconds.replace({"name": renamed}),
        inference=inference,
        config={"name": SCRIPT, "data": {"root": IMAGE}},
        provenance={**contents.provenance, "data": data, "machine": IMAGE},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def report(hostile: Contents, folder: Path) -> Path:
    path = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "DRAWN", NAMING)
        path.write_text(render(hostile), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def figures(hostile: Contents, folder: Path) -> list[Path]:
    def write(path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "FIGURES", {name: exports.FIGURES[name] for name in NAMING})
        return write_figures(hostile, folder, write)


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Page]:
    blank = folder / "blank.html"
    blank.write_text("<!doctype html>")
    with Page(chromium(), blank, folder / "profile") as page:
        yield page


def seen(browser: Page, path: Path) -> dict[str, object]:
    """What a page holds once it is loaded and each of its controls was used."""
    browser.call("Page.navigate", url=path.as_uri())
    browser.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
    browser.run(POKE)
    found: dict[str, object] = browser.run(READ)
    return found


def squeezed(text: object) -> str:
    return "".join(str(text).split())


@pytest.mark.parametrize("markup", [*CLASSES, REASON, f"<button title='{METHOD}'>"])
def test_such_a_name_would_run_if_it_were_markup(browser: Page, folder: Path, markup: str) -> None:
    path = folder / "naive.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><script></script><p>{markup}</p>", encoding="utf-8")
    assert seen(browser, path)["hacked"] == 1


def test_in_the_report_each_name_is_text_and_none_runs(browser: Page, report: Path) -> None:
    found = seen(browser, report)
    assert found["hacked"] == 0
    assert found["images"] == 0, "pictures of the report are drawn, not linked"
    for name in (*CLASSES, REASON, METHOD):
        assert squeezed(without_folders(name)) in squeezed(found["text"])
    assert "49" not in str(found["text"]).split("{{7*7}}")[0][-3:], "a template is not filled in"


def test_in_the_comparison_each_name_is_text_and_none_runs(browser: Page, folder: Path) -> None:
    made = build_comparison()

    def named(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
        return table.assign(**dict.fromkeys(columns, REASON))

    own = {**made.performance["A"], "auroc": {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in CLASSES}}
    path = folder / "comparison.html"
    page = render_comparison(
        replace(
            made,
            runs={"A": IMAGE, "B": SCRIPT, "C": METHOD},
            facts=named(made.facts, "value"),
            settings=named(made.settings, "name", "value"),
            left_out=named(made.left_out, "name"),
            pairs=named(made.pairs, "reason"),
            differences=named(made.differences, "reason"),
            rankings=named(made.rankings, "reason"),
            performance={**made.performance, "A": own},
        )
    )
    path.write_text(page, encoding="utf-8")
    found = seen(browser, path)
    assert found["hacked"] == 0
    for name in (IMAGE, SCRIPT, METHOD, REASON):
        assert squeezed(without_folders(name)) in squeezed(found["text"])


def test_in_markdown_each_name_is_text_and_none_runs(browser: Page, hostile: Contents, folder: Path) -> None:
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(render_markdown(hostile, {}))
    path = folder / "markdown.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{html}</body>", encoding="utf-8")
    found = seen(browser, path)
    assert found["hacked"] == 0
    assert found["images"] == 0
    for name in (*CLASSES, REASON):
        assert squeezed(without_folders(name)) in squeezed(found["text"])


def test_in_a_figure_a_name_is_text_and_none_runs(browser: Page, figures: list[Path]) -> None:
    drawings = [path for path in figures if path.suffix == ".svg"]
    named = 0
    for path in drawings:
        found = seen(browser, path)
        assert found["hacked"] == 0, path.name
        named += squeezed(METHOD) in squeezed(found["text"])
    assert named >= 3, "of the figures that name methods"


def test_in_print_each_class_is_text(report: Path) -> None:
    if shutil.which("pdftotext") is None:
        message = "the print is read by pdftotext: install poppler-utils"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    chromium()
    printed = report.with_suffix(".pdf")
    print_pdf(report, printed)
    done = subprocess.run(["pdftotext", "-raw", str(printed), "-"], capture_output=True, text=True, check=True)
    for name in CLASSES:
        assert squeezed(without_folders(name)) in squeezed(done.stdout)


def test_no_file_of_the_report_is_named_by_what_is_from_outside(figures: list[Path], folder: Path) -> None:
    assert {path.parent for path in figures} == {folder / "figures", folder / "tables"}
    assert all(path.stem.replace("_", "").isalnum() and path.stem.isascii() for path in figures)
