from __future__ import annotations

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import TONES
from medsaliency.report.figures.sanity import draw, side


def test_a_margin_is_judged_by_its_whole_interval() -> None:
    assert [side(0.1, 0.3), side(-0.3, -0.1), side(-0.1, 0.3), side(0.0, 0.3)] == [
        "better", "worse", "not shown", "not shown",
    ]  # fmt: skip
    assert side(float("nan"), float("nan")) == "not shown"


def test_marks_are_margins_and_undefined_ones_are_absent(checked: Contents) -> None:
    figure = draw(checked)
    assert figure is not None
    axis = figure.axes[0]
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([0.2, -0.2, 0.05])
    assert [mark.get_color() for mark in marks] == [TONES["better"], TONES["worse"], TONES["not shown"]]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "Gradient", "SmoothGrad", "Grad-CAM", "Score-CAM",
    ]  # fmt: skip


def test_a_study_without_checks_has_no_figure(contents: Contents) -> None:
    assert draw(contents) is None
