from __future__ import annotations

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.networks import draw


def test_marks_are_likenesses_beside_those_of_two_images(contents: Contents) -> None:
    figure = draw(contents)
    assert figure is not None
    (axis,) = figure.axes
    assert [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"] == pytest.approx([0.6] * 6)
    assert [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "x"] == pytest.approx([0.2] * 6)
    assert axis.get_title(loc="left") == "Repeatability"
    assert "n = 60 images" in axis.get_xlabel()
