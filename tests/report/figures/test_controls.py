from __future__ import annotations

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import TONES
from medsaliency.report.figures.controls import MARKS, draw


def test_each_mark_is_a_difference_with_its_verdict(contents: Contents) -> None:
    figure = draw(contents)
    assert figure is not None
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "SIC mean")
    table = contents.inference.against_controls.query("metric == 'sic_mean'")
    for turn, control in enumerate(("random", "edge")):
        rows = table[table["control"] == control]
        marks = [line for line in axis.lines if line.get_marker() == MARKS[turn]]
        assert [mark.get_xdata()[0] for mark in marks] == pytest.approx(rows["difference"].tolist())
        assert [mark.get_color() for mark in marks] == [TONES[verdict] for verdict in rows["verdict"]]
        hollow = [mark.get_markerfacecolor() == "white" for mark in marks]
        assert hollow == [verdict == "not shown" for verdict in rows["verdict"]]
    assert len({"better", "worse", "not shown"} & set(table["verdict"])) == 3
    assert "n = 48 images" in axis.get_xlabel()
