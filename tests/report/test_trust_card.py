"""The card as the page shows it: every verdict with its word, sign, evidence and source."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medsaliency.report import trust_card as module
from medsaliency.report.contents import COLUMNS, Contents, Inference
from medsaliency.report.findings import findings
from medsaliency.report.trust_card import LABELS, QUESTIONS, SIGNS, measure_label, trust_card
from medsaliency.statistics.trust import CRITERIA

NAN, PAGE = math.nan, Path(module.__file__).parent / "page"
UNASKED = ("data_randomization", "not shown", "", NAN, NAN, NAN, NAN, NAN, "Adebayo et al. 2018", "not run")
ROWS: list[tuple[Any, ...]] = [
    ("grad_cam", "localizes", "pass", "lesion_auprc - random", 0.3, 0.2, 0.4, 0.0, 0.0004, "Arun et al. 2021", ""),
    ("grad_cam", "localizes", "fail", "lesion_auprc - edge", -0.1, -0.2, -0.05, 0.0, 0.02, "Arun et al. 2021", ""),
    ("grad_cam", *UNASKED),
    ("gradient", "localizes", "not shown", "lesion_auprc - random", 0.01, -0.1, 0.1, 0.0, 0.7, "Arun", "why"),
    ("gradient", *UNASKED),
    ("<b>odd</b>", *UNASKED),
]  # fmt: skip


@pytest.fixture
def judged(contents: Contents) -> Contents:
    table = pd.DataFrame(ROWS, columns=COLUMNS["trust"].split())
    return replace(contents, inference=replace(contents.inference, trust=table))


def card(contents: Contents) -> dict[str, Any]:
    found = trust_card(contents)
    assert found is not None
    return found


def page(contents: Contents) -> str:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = {"findings": findings(contents), "card": trust_card(contents), "coverage": "95%"}
    return environment.get_template("findings.html.j2").render(**shown)


def test_every_criterion_has_a_name_and_a_question() -> None:
    assert list(LABELS) == list(QUESTIONS) == list(CRITERIA)


def test_the_matrix_keeps_the_order_and_combines_the_measures(judged: Contents) -> None:
    shown = card(judged)
    assert [row["method"] for row in shown["rows"]] == ["Grad-CAM", "Gradient", "<b>odd</b>"]
    assert [head["label"] for head in shown["criteria"]] == ["Localizes", "Data randomization"]
    verdicts = [[(cell.verdict, cell.sign) for cell in row["cells"]] for row in shown["rows"]]
    none = ("not shown", SIGNS["not shown"])
    assert verdicts == [[("fail", SIGNS["fail"]), none], [none, none], [none, none]]


def test_a_cell_leads_to_its_evidence_and_what_was_not_run_is_told_once(judged: Contents) -> None:
    shown = card(judged)
    entries = {entry.id: entry for entry in shown["entries"]}
    first, second, third = (row["cells"] for row in shown["rows"])
    assert len(entries) == 3
    assert {cells[1].entry for cells in (first, second, third)} == {first[1].entry}
    assert entries[first[1].entry].method == "All methods"
    assert entries[first[0].entry].method == "Grad-CAM"
    assert third[0].entry == ""  # of a method that the table does not judge by the criterion there is nothing to show
    lines = entries[first[0].entry].lines
    assert lines[0] == {
        "measure": "Lesion AUPRC less Random", "verdict": "pass", "sign": SIGNS["pass"],
        "value": "0.300 [0.200, 0.400]", "threshold": "0", "p": "< 0.001", "source": "Arun et al. 2021", "reason": "",
    }  # fmt: skip
    assert lines[1]["p"] == "= 0.020"
    assert entries[first[1].entry].lines[0]["value"] == ""


def test_an_interval_without_width_is_not_shown_as_one(judged: Contents) -> None:
    flat = judged.inference.trust.assign(value=1.0, low=1.0, high=1.0)
    shown = card(replace(judged, inference=replace(judged.inference, trust=flat)))
    assert {line["value"] for entry in shown["entries"] for line in entry.lines} == {"1.000 [no spread]"}


def test_without_a_table_there_is_no_card(contents: Contents) -> None:
    assert trust_card(replace(contents, inference=Inference())) is None


@pytest.mark.parametrize(
    ("measure", "label"),
    [
        ("evidence - center_gaussian", "Evidence less Center Gaussian"), ("spearman", "rank correlation"),
        ("seconds", "seconds an image"), ("max_sensitivity", "Max-sensitivity"), ("of_my_own", "of_my_own"),
    ],
)  # fmt: skip
def test_measures_are_named_as_readers_know_them(measure: str, label: str) -> None:
    assert measure_label(measure) == label


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.popovers: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "button" and "popovertargetaction" not in given:
            self.targets.append(given["popovertarget"] or "")
            self.labels.append(given["aria-label"] or "")
        if "popover" in given:
            self.popovers.append(given["id"] or "")


def test_every_button_opens_an_entry_and_says_whose(judged: Contents) -> None:
    found = Page(page(judged))
    assert set(found.targets) == set(found.popovers)
    assert len(found.popovers) == len(set(found.popovers))
    assert "Grad-CAM, Localizes: fail. Show the evidence." in found.labels
    assert len(found.labels) == len(ROWS) - 1  # two rows are one cell


def test_names_are_escaped_and_nothing_is_nan(judged: Contents) -> None:
    text = page(judged)
    assert "<b>odd</b>" not in text
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_folders_in_a_reason_are_left_out(judged: Contents) -> None:
    table = judged.inference.trust.assign(reason="cannot read /home/somebody/x.png")
    shown = card(replace(judged, inference=replace(judged.inference, trust=table)))
    assert all("somebody" not in line["reason"] for entry in shown["entries"] for line in entry.lines)


def test_the_page_without_a_card_still_tells_the_findings(contents: Contents) -> None:
    text = page(replace(contents, inference=Inference()))
    assert 'class="trust"' not in text
    assert "In short" in text
