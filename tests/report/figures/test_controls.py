from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import TALL, TONES
from medsaliency.report.figures.controls import draw


def test_each_mark_is_a_difference_with_its_verdict(contents: Contents) -> None:
    (figure,) = draw(contents)
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "SIC mean")
    table = contents.inference.against_controls.query("metric == 'sic_mean'")
    # Lines between the rows, then of each control the intervals and the marks.
    _, *drawn = axis.collections
    for turn, control in enumerate(("random", "edge")):
        rows = table[table["control"] == control]
        lines, marks = drawn[2 * turn : 2 * turn + 2]
        ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
        assert ends == [pytest.approx(list(pair)) for pair in zip(rows["low"], rows["high"], strict=True)]
        assert marks.get_offsets()[:, 0].tolist() == pytest.approx(rows["difference"].tolist())
        assert [to_hex(color) for color in marks.get_edgecolors()] == [TONES[verdict] for verdict in rows["verdict"]]
        hollow = [to_hex(color) == "#ffffff" for color in marks.get_facecolors()]
        assert hollow == [verdict == "not shown" for verdict in rows["verdict"]]
    shapes = {len(marks.get_paths()[0].vertices) for marks in drawn[1::2]}
    assert len(shapes) == 2, "a shape a control"
    assert len({"better", "worse", "not shown"} & set(table["verdict"])) == 3
    assert "n = 48 images" in axis.get_xlabel()


def test_what_is_taller_than_a_page_goes_on_to_another_sheet(contents: Contents) -> None:
    table = contents.inference.against_controls
    more = pd.concat([table.assign(method=table["method"] + f" {turn}") for turn in range(6)])
    rows = contents.summary[contents.summary["metric"] == "sic_mean"]
    names = [rows.assign(method=rows["method"] + f" {turn}") for turn in range(6)]
    summary = pd.concat([*names, contents.summary])
    many = replace(contents, summary=summary, inference=replace(contents.inference, against_controls=more))
    figures = draw(many)
    titles = [[axis.get_title(loc="left") for axis in figure.axes] for figure in figures]
    assert titles == [["SIC mean", "AIC mean"], ["Lesion AUPRC", "Pointing game"]]
    assert all(figure.get_size_inches()[1] <= TALL for figure in figures)
    assert all(figure.legends for figure in figures)
