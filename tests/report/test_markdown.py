"""The Markdown report, read back by an independent renderer (markdown-it)."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from medsaliency.report.contents import Contents, Inference
from medsaliency.report.findings import findings
from medsaliency.report.markdown import code, escape, render_markdown

HOSTILE = (
    "<script>alert('x')</script> <img src=x> [a](javascript:b) ![c](d) `e` **f** | g | # h &lt; https://evil.example "
    "www.evil.example a@evil.example\n\n# i\n\n- j"
)


class Page(HTMLParser):
    """Tags, addresses, headings and cells of rendered Markdown."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for key, value in attrs if key in ("href", "src")]
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data


@pytest.fixture(scope="module")
def page(informed: Contents) -> Page:
    return Page(render_markdown(informed, {}))


def test_sections_come_in_order(page: Page) -> None:
    assert page.texts["h1"] == ["Brain MRI, ResNet-18"]
    assert page.texts["h2"] == [
        "Findings", "Trust card", "Model performance", "Scores", "Each method against the controls",
        "Methods against each other", "Exclusions", "Record", "Checklists",
    ]  # fmt: skip


def test_every_finding_is_said(page: Page, informed: Contents) -> None:
    said = findings(informed)
    assert said
    items = page.texts["li"]
    for finding in said:
        assert f"{finding.topic}. {finding.text}" in items


def test_tables_hold_the_study_s_numbers(page: Page, informed: Contents) -> None:
    cells = page.texts["td"]
    summary = informed.summary.set_index(["method", "metric"])
    mean = summary.loc[("grad_cam", "lesion_auprc"), "mean"]
    assert any(cell.startswith(f"{mean:.3f} [") for cell in cells)
    assert "90.6%" in cells
    assert {"✓ pass", "✕ fail", "– not shown"} <= set(cells)
    assert "2,421" in cells


def test_all_rows_of_a_table_are_of_one_width(informed: Contents) -> None:
    markdown = render_markdown(informed, {})
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block[:300]


def test_figures_are_linked_by_relative_addresses(informed: Contents) -> None:
    page = Page(render_markdown(informed, {"critical_difference": "figures/critical difference.svg"}))
    assert page.addresses == ["figures/critical%20difference.svg"]
    assert "critical difference" in page.texts["a"]
    assert "Figures" not in Page(render_markdown(informed, {})).texts["h2"]


def test_text_from_outside_means_nothing_but_itself(informed: Contents) -> None:
    provenance = {
        **informed.provenance,
        "machine": HOSTILE,
        "methods": {"gradient": HOSTILE, HOSTILE: "`|`"},
        "data": {**informed.provenance["data"], "name": HOSTILE},
    }
    hostile = replace(
        informed,
        title=HOSTILE,
        classes=(HOSTILE, "b", "c"),
        provenance=provenance,
        exclusions=informed.exclusions.assign(reason=HOSTILE),
        summary=informed.summary.replace({"method": {"gradient": HOSTILE}}),
    )
    harmless = Page(render_markdown(replace(hostile, title="t", exclusions=informed.exclusions), {}))
    markdown = render_markdown(hostile, {})
    page = Page(markdown)
    assert not {"script", "img", "a", "hr", "pre"} & set(page.tags)
    assert page.addresses == []
    assert page.texts["h2"] == harmless.texts["h2"]
    assert len(page.texts["h1"]) == 1
    assert page.texts["h1"][0].startswith("<script>alert('x')<…/script> <img src=x> [a](javascript:b)")
    outside_code = re.sub(r"(?<![\\`])(`+)[^`](?:.*?[^`])?\1(?!`)", "", markdown)
    assert "evil" in outside_code
    assert "https://" not in outside_code
    assert "www." not in outside_code


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=60))
def test_any_text_comes_back_from_a_paragraph_and_from_a_cell(text: str) -> None:
    line = " ".join(text.split())
    if not line or "/" in line or ":" in line or "~" in line:  # folders are left out of text on purpose
        return
    assert Page(f"x\n\n{escape(text)}").texts["p"][1] == line
    assert Page(f"| a | b |\n| --- | --- |\n| {escape(text)} | y |").texts["td"] == [line, "y"]


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "12) a", "---", "===", "1.", "0.05", "~~a~~", "&amp;"])
def test_no_text_begins_a_block(text: str) -> None:
    assert Page(escape(text)).texts == {"p": [text]}


@given(st.text("`|\\ab ", min_size=1, max_size=20))
def test_code_stays_in_its_cell(text: str) -> None:
    if text.strip():
        cells = Page(f"| a | b |\n| --- | --- |\n| {code(text)} | y |").texts
        assert cells["td"][-1] == "y"
        assert len(cells["td"]) == 2


def test_no_patient_and_no_folder_is_shown(informed: Contents) -> None:
    markdown = render_markdown(informed, {})
    assert "PATIENT-" not in markdown
    assert "somebody" not in markdown


def test_a_study_without_tables_says_so(contents: Contents) -> None:
    bare = replace(
        contents, summary=contents.summary[:0], exclusions=contents.exclusions[:0], inference=Inference(), provenance={}
    )
    markdown = render_markdown(bare, {})
    for line in (
        "No method was judged.", "No measure has a value.", "No control was compared.",
        "No methods were compared with each other.", "No image was left out.",
    ):  # fmt: skip
        assert line in markdown


def test_what_is_undefined_is_called_so(informed: Contents) -> None:
    summary = informed.summary.copy()
    one = (summary["method"] == "gradient") & (summary["metric"] == "lesion_auprc")
    summary.loc[one, ["mean", "low", "high"]] = math.nan
    markdown = render_markdown(replace(informed, summary=summary), {})
    assert "| Gradient | undefined |" in markdown
    assert not re.search(r"\bnan\b", markdown, re.IGNORECASE)
