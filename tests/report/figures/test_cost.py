from __future__ import annotations

from dataclasses import replace

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.cost import draw, points, table


def test_a_point_is_seconds_an_image_and_the_mean(contents: Contents) -> None:
    metric, found = points(contents)
    assert metric == "sic_mean"
    (point,) = [p for p in found if p.method == "score_cam"]
    assert point.seconds == pytest.approx((1.7 * 5 + 0.4) / 60)
    row = contents.summary.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0]
    assert (point.value, point.low, point.high) == (row["mean"], row["low"], row["high"])
    assert len(table(contents)) == len(found) == 8


def test_the_marks_are_the_points_and_the_axis_is_logarithmic(contents: Contents) -> None:
    figure = draw(contents)
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() in ("o", "s")}
    assert marks == {(p.seconds, p.value) for p in points(contents)[1]}
    assert "SIC mean" in axis.get_ylabel()


def test_labels_stand_in_the_order_of_the_means(contents: Contents) -> None:
    figure = draw(contents)
    assert figure is not None
    labels = sorted(figure.axes[0].texts, key=lambda text: text.xyann[1])
    means = [text.xy[1] for text in labels]
    assert means == sorted(means)


def test_a_method_without_a_time_is_left_out(contents: Contents) -> None:
    seconds = contents.seconds[contents.seconds["name"] != "edge"]
    assert "edge" not in {p.method for p in points(replace(contents, seconds=seconds))[1]}
