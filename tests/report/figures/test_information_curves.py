from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.figures.information_curves import POINTS, draw, overlay, table, thinned


def test_each_method_has_a_band_a_mean_and_a_median(contents: Contents) -> None:
    (axis,) = overlay(contents, "sic_mean").axes
    found = [artist.get_gid() for artist in (*axis.lines, *axis.collections)]
    methods = contents.summary["method"].unique()
    assert sorted(found) == sorted(f"series:{role}:{m}" for role in ("band", "mean", "median") for m in methods)


def test_controls_lie_behind(contents: Contents) -> None:
    (axis,) = overlay(contents, "sic_mean").axes
    means = [line.get_gid().split(":")[2] for line in axis.lines if ":mean:" in line.get_gid()]
    assert means[:2] == ["random", "edge"]


def test_thinning_keeps_the_ends_and_the_values(contents: Contents) -> None:
    row = dict(contents.curves.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0])
    x, mean, *_ = thinned(row)
    assert len(x) == POINTS
    assert (x[0], x[-1]) == (0, 1)
    assert mean == pytest.approx(np.interp(x, row["x"], row["mean"]), abs=1e-9)
    assert len(thinned({key: [0.0, 1.0] for key in ("x", "mean", "median", "low", "high")})[0]) == 2


def test_a_panel_a_method_holds_its_curve_over_the_others(contents: Contents) -> None:
    (figure,) = draw(contents)
    axes = [axis for axis in figure.axes if axis.get_title(loc="left") == "Score-CAM"]
    assert len(axes) == 2, "one a headline measure"
    row = dict(contents.curves.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0])
    assert axes[0].lines[-1].get_ydata() == pytest.approx(thinned(row)[1])
    others, _ = axes[0].collections
    assert len(others.get_segments()) == 6, "all but random, which is dashed, and the method itself"


def test_nan_in_a_curve_is_a_gap(contents: Contents) -> None:
    curves = contents.curves.copy()
    curves["mean"] = [[float("nan")] * len(values) for values in curves["mean"]]
    changed = replace(contents, curves=curves)
    assert len(draw(changed)) == 1
    assert table(changed)["mean"].isna().all()


def test_the_table_holds_what_is_drawn(contents: Contents) -> None:
    found = table(contents)
    assert len(found) == 6 * 8 * POINTS
    part = found.query("metric == 'sic_mean' and method == 'score_cam'")
    row = dict(contents.curves.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0])
    assert part["high"].to_numpy() == pytest.approx(thinned(row)[4], abs=1e-4)
