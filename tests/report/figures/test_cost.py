from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.cost import draw, points, table
from medsaliency.report.wording import method_label


def test_a_point_is_seconds_an_image_and_the_mean(contents: Contents) -> None:
    metric, found = points(contents)
    assert metric == "sic_mean"
    (point,) = [p for p in found if p.method == "score_cam"]
    assert point.seconds == pytest.approx((1.7 * 5 + 0.4) / 60)
    row = contents.summary.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0]
    assert (point.value, point.low, point.high) == (row["mean"], row["low"], row["high"])
    assert len(table(contents)) == len(found) == 8


def test_the_marks_are_the_points_and_the_axis_is_logarithmic(contents: Contents) -> None:
    (figure,) = draw(contents)
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() in ("o", "s")}
    assert marks == {(p.seconds, p.value) for p in points(contents)[1]}
    assert "SIC mean" in axis.get_ylabel()


def test_labels_stand_in_the_order_of_the_means(contents: Contents) -> None:
    (figure,) = draw(contents)
    labels = sorted(figure.axes[0].texts, key=lambda text: text.get_position()[1])
    order = [method_label(point.method) for point in sorted(points(contents)[1], key=lambda point: point.value)]
    assert [text.get_text() for text in labels] == order
    # Each name is tied to its own mark: in shares of the axis, which the limits turn into the point.
    axis = figure.axes[0]
    (ties,) = axis.collections
    (left, right), (low, high) = np.log10(axis.get_xlim()), axis.get_ylim()
    for tie, point in zip(ties.get_segments(), sorted(points(contents)[1], key=lambda point: point.value), strict=True):
        x, y = tie[0]
        assert left + x * (right - left) == pytest.approx(np.log10(point.seconds))
        assert low + y * (high - low) == pytest.approx(point.value)


def test_a_method_without_a_time_is_left_out(contents: Contents) -> None:
    seconds = contents.seconds[contents.seconds["name"] != "edge"]
    assert "edge" not in {p.method for p in points(replace(contents, seconds=seconds))[1]}
