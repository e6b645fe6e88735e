from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents, Inference
from medsaliency.report.curves import styles
from medsaliency.report.inference_tables import (
    MOST_ROWS,
    concordance_lines,
    controls_of,
    equation,
    friedman_lines,
    p_value,
    pair_tables,
    repeat_rows,
    shown_measures,
    term_rows,
)
from medsaliency.report.performance import performance
from medsaliency.report.tables import forests, score_table, timing_rows


def test_p_values_below_a_thousandth_are_not_zero() -> None:
    assert [p_value(p) for p in (0.04, 0.0004, 0.0, 1.0, math.nan)] == [
        "0.040",
        "<0.001",
        "<0.001",
        "1.000",
        "undefined",
    ]
    assert [equation(p) for p in (0.04, 0.0004)] == ["p = 0.040", "p < 0.001"]


def test_a_forest_places_the_differences_on_one_axis(contents: Contents) -> None:
    drawn = styles(verdicts.methods(contents), contents.controls)
    (forest,) = forests(contents, drawn, "edge", ["lesion_auprc"])
    numbers = {
        row["method"]: row
        for row in contents.inference.against_controls.to_dict("records")
        if row["metric"] == "lesion_auprc" and row["control"] == "edge"
    }
    assert len(forest.rows) == len(numbers) == 6
    values = [numbers[name]["difference"] for name in drawn if name in numbers]
    places = [row.x for row in forest.rows]
    # Places are a straight line of the values, and zero lies on it.
    slope = (places[1] - places[0]) / (values[1] - values[0])
    assert places == pytest.approx([forest.zero + slope * value for value in values], abs=0.02)
    words = {"better": "better", "worse": "worse", "not shown": "open"}
    assert [row.verdict for row in forest.rows] == [words[numbers[n]["verdict"]] for n in drawn if n in numbers]


def test_the_control_chooses_the_forest(contents: Contents) -> None:
    drawn = styles(verdicts.methods(contents), contents.controls)
    one, other = (forests(contents, drawn, control, ["lesion_auprc"])[0] for control in ("random", "edge"))
    assert one.rows[0].difference != other.rows[0].difference
    assert forests(contents, drawn, "no such control", ["lesion_auprc"]) == []
    assert list(controls_of(contents.inference.against_controls)) == ["random", "edge"]


def test_a_pair_is_told_in_words_and_by_its_numbers(contents: Contents) -> None:
    table = next(table for table in pair_tables(contents) if table.label == "Lesion AUPRC")
    assert len(table.rows) == 28
    row = next(row for row in table.rows if row.pair == "Gradient – Grad-CAM")
    assert (row.verdict, row.tone) == ("Grad-CAM better", "shown")
    assert row.cells[0].text == "−0.320"
    assert float(row.cells[0].sort) == pytest.approx(-0.32)
    assert [cell.text for cell in row.cells[1:]] == ["0.028", "0.60", "0.50", "80%", "0.040"]
    near = next(row for row in table.rows if row.pair == "Grad-CAM – Grad-CAM++")
    assert (near.verdict, near.tone) == ("no difference shown", "open")
    assert table.note.startswith(f"{sum(row.tone == 'shown' for row in table.rows)} pairs of 28 differ")


def test_a_pair_without_numbers_is_undefined_and_sorts_last(contents: Contents) -> None:
    pairs = contents.inference.pairwise.assign(difference=math.nan, p_corrected=math.nan, verdict="not shown")
    changed = replace(contents, inference=replace(contents.inference, pairwise=pairs))
    cells = pair_tables(changed)[0].rows[0].cells
    assert [(cell.text, cell.sort) for cell in cells[:2]] == [("undefined", "")] * 2


def test_a_long_table_shows_the_headline_measures(contents: Contents) -> None:
    table = contents.inference.pairwise
    assert len(shown_measures(contents, table)) == table["metric"].nunique()
    long = table.loc[table.index.repeat(1 + MOST_ROWS // len(table))]
    assert shown_measures(contents, long) == ["sic_mean", "aic_mean", "lesion_auprc", "pointing_game"]
    # Of the headline measures as many as fit; the first always.
    rows = len(table) // table["metric"].nunique()
    for most in (2, 1, 0):
        longer = table.loc[table.index.repeat(1 + MOST_ROWS // (rows * (most + 1)))]
        assert len(shown_measures(contents, longer)) == max(most, 1)


def test_the_friedman_line_follows_the_corrected_p(contents: Contents) -> None:
    assert all("the methods differ" in line for line in friedman_lines(contents))
    table = contents.inference.friedman.assign(p_corrected=0.2)
    lines = friedman_lines(replace(contents, inference=replace(contents.inference, friedman=table)))
    assert all("no difference among the methods is shown" in line for line in lines)
    assert "corrected p = 0.200" in lines[0]
    undefined = table.assign(p_corrected=math.nan, reason="fewer than 2 patients")
    (first, *_) = friedman_lines(replace(contents, inference=replace(contents.inference, friedman=undefined)))
    assert "undefined" in first
    assert "fewer than 2 patients" in first


def test_terms_say_their_verdict_or_why_there_is_none(contents: Contents) -> None:
    rows = {row.term: row for row in term_rows(contents)}
    assert (rows["Method"].verdict, rows["Method"].tone) == ("goes with the score", "shown")
    assert (rows["Confidence"].verdict, rows["Confidence"].tone) == ("no dependence shown", "open")
    assert rows["Lesion place"].verdict == "undefined"
    assert rows["Lesion place"].note == "it does not vary"
    assert rows["Lesion place"].p.sort == ""


def test_concordance_and_repeats_are_told(contents: Contents) -> None:
    assert concordance_lines(contents)[1] == "All measures: Kendall's W 0.55, p = 0.020 (8 measures, 6 methods)."
    assert {row.icc.text for row in repeat_rows(contents)} == {"0.93"}


def test_measures_without_a_value_are_left_out_and_named(without_lesions: Contents) -> None:
    table = score_table(without_lesions, styles(verdicts.methods(without_lesions), without_lesions.controls))
    assert len(table.columns) == 6
    assert table.omitted[0] == "Lesion AUPRC: undefined (n = 60), no lesion mask"


def test_nothing_gives_nothing(contents: Contents) -> None:
    empty = replace(contents, inference=Inference())
    assert pair_tables(empty) == term_rows(empty) == repeat_rows(empty) == friedman_lines(empty) == []


def test_cells_are_those_of_the_tables_row_by_row(contents: Contents) -> None:
    shown = score_table(contents, styles(verdicts.methods(contents), contents.controls))
    for row, method in zip(shown.rows, verdicts.methods(contents), strict=True):
        for cell, metric in zip(row.cells, verdicts.metrics(contents), strict=True):
            numbers = verdicts.row(contents.summary, method, metric)
            lost, images = verdicts.undefined_images(contents, method, metric)
            assert numbers is not None
            assert cell.sort == repr(numbers["mean"])
            assert cell.note == (f"on {images - lost} of {images}, {lost} undefined" if lost else "")


def test_a_forests_verdicts_are_those_of_the_tests(contents: Contents) -> None:
    drawn = styles(verdicts.methods(contents), contents.controls)
    table = contents.inference.against_controls.copy()
    table.loc[table["method"] == "gradient", "difference"] = math.nan
    changed = replace(contents, inference=replace(contents.inference, against_controls=table))
    (forest,) = forests(changed, drawn, "random", ["sic_mean"])
    methods = [name for name in drawn if name in set(table["method"])]
    expected = [verdicts.against_verdict(changed, name, "sic_mean", "random") for name in methods]
    assert [row.verdict for row in forest.rows] == expected
    assert "undefined" in expected


def test_an_interval_without_width_is_said_to_have_none(contents: Contents) -> None:
    summary = contents.summary.assign(mean=0.5, low=0.5, high=0.5)
    shown = score_table(replace(contents, summary=summary), styles(verdicts.methods(contents), contents.controls))
    assert {cell.interval for row in shown.rows for cell in row.cells} == {"[no spread]"}
    known = {**contents.performance, "accuracy": {"value": 1.0, "low": 1.0, "high": 1.0}}
    assert performance(replace(contents, performance=known)).tiles[0].interval == "[no spread]"


def test_timings_name_what_was_timed() -> None:
    kinds = [
        ("method", "grad_cam"),
        ("metric", "lesion_auprc"),
        ("draw", "pointing_game"),
        ("repeat", "road"),
        ("check", "x"),
    ]
    rows = [{"kind": kind, "name": name, "images": 4, "seconds": 2.0, "peak_bytes": 3e6} for kind, name in kinds]
    found = timing_rows(pd.DataFrame(rows))
    assert [row[1] for row in found] == ["Grad-CAM", "Lesion AUPRC", "Pointing game", "ROAD", "x"]
    assert found[0][2:] == ("4", "2.0", "0.500", "3")
