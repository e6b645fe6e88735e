"""The tables of a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medsaliency.report.comparison import COLUMNS, Comparison, overview, render
from medsaliency.report.comparison.measures import measure_tables
from medsaliency.report.comparison.tables import agreement, difference, fact_rows, left_out, ranking_rows

from .made import NAN, row_of, said


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["pass", "pass"], "same"),
        (["not shown", "pass"], "differs"),
        (["not shown", "fail"], "differs"),
        (["pass", "not shown", "fail"], "opposite"),
    ],
)
def test_agreement_of_verdicts(verdicts: list[str], state: str) -> None:
    assert agreement(verdicts) == state


def test_a_ranking_that_is_undefined_is_no_finding_and_says_why_in_its_table(comparison: Comparison) -> None:
    rankings = comparison.rankings.assign(tau=NAN, low=NAN, high=NAN, reason="all means of one run are equal")
    changed = replace(comparison, rankings=rankings)
    assert said(changed, "Ranking") == []
    assert ranking_rows(changed)[0]["cells"][0] == {
        "mean": "undefined", "interval": "", "methods": "3 methods", "reason": "all means of one run are equal",
    }  # fmt: skip


def test_a_difference_is_written_with_sign_and_words() -> None:
    def written(verdict: str, reason: str = "") -> dict[str, object]:
        row = row_of("A", "B", "evidence", "rise", verdict, reason)
        return difference(dict(zip(COLUMNS["differences"].split(), row, strict=True)))

    assert written("higher") == {
        "value": "+0.100", "interval": "[0.060, 0.140]", "verdict": "higher", "sign": "↑", "words": "higher",
        "more": "p < 0.001",
    }  # fmt: skip
    assert written("lower")["words"] == "lower"
    assert written("not shown")["more"] == "p = 0.610; detectable 0.050"
    untested = written("", "other settings of the method")
    assert (untested["words"], untested["more"]) == ("not tested", "other settings of the method")


def test_marks_stand_where_the_numbers_are(comparison: Comparison) -> None:
    shown = measure_tables(comparison)[0]
    # From -0.04 (B's random, its lower end) to 0.67 (B's RISE, its upper end), within margins of 5 of 160 units.
    assert shown["ends"] == ["−0.040", "0.670"]
    rise = next(row for row in shown["rows"] if row["method"] == "RISE")
    mark = next(mark for mark in rise["marks"] if mark["run"] == 1)
    assert mark["high"] == 155
    assert mark["x"] == pytest.approx(5 + 150 * (0.62 + 0.04) / 0.71, abs=0.06)
    assert [mark["shape"] for mark in rise["marks"]] == [0, 1, 2], "runs are told apart by shape"


def test_undefined_means_are_said_to_be(comparison: Comparison) -> None:
    means = comparison.means.copy()
    means.loc[means["metric"] == "gini", ["mean", "low", "high"]] = NAN
    shown = next(table for table in measure_tables(replace(comparison, means=means)) if table["name"] == "Gini")
    assert {cell["mean"] for row in shown["rows"] for cell in row["cells"]} == {"undefined"}
    assert (shown["ends"], [row["marks"] for row in shown["rows"]]) == ([], [[]] * 4)
    assert "undefined" in render(replace(comparison, means=means))


def test_facts_say_whether_they_differ(comparison: Comparison) -> None:
    assert {row["fact"]: row["differs"] for row in fact_rows(comparison)} == {"Data": True, "Image size": False}
    assert left_out(comparison) == ["Methods of A and B only: LIME.", "Measures of C only: ROAD."]


def test_the_overview_is_of_the_measure_read_first(comparison: Comparison) -> None:
    title, heads, rows = overview(comparison)
    assert title == "Evidence, higher is better"
    assert heads == ["mean of", "A", "B", "C", "B to A", "C to A", "C to B"]
    assert rows[0] == ["Gradient", "0.100", "0.200", "0.500", "lower", "not tested", "not tested"]
    assert rows[-1][0] == "Random"
