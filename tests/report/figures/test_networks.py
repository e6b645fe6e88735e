from __future__ import annotations

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.networks import draw


def test_marks_are_likenesses_beside_those_of_two_images(contents: Contents) -> None:
    (figure,) = draw(contents)
    (axis,) = figure.axes
    _, marks = axis.collections
    assert marks.get_offsets()[:, 0].tolist() == pytest.approx([0.6] * 6)
    (crosses,) = axis.lines
    assert (crosses.get_marker(), list(crosses.get_xdata())) == ("x", [0.2] * 6)
    assert axis.get_title(loc="left") == "Repeatability"
    assert "n = 60 images" in axis.get_xlabel()
