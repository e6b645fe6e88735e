from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.curves import POINTS, curve_figure, figure_data, styles


def drawn(contents: Contents, metric: str = "sic_mean") -> list[dict]:
    names = styles(dict.fromkeys(contents.curves["method"]), contents.controls)
    return figure_data(curve_figure(contents.curves, metric, names))["data"]


def test_each_method_has_a_band_a_mean_and_a_hidden_median(contents: Contents) -> None:
    traces = drawn(contents)
    roles = {(t["meta"]["method"], t["meta"]["role"]): t for t in traces}
    assert len(roles) == len(traces) == 3 * 8
    assert roles["score_cam", "median"]["visible"] is False
    assert roles["score_cam", "mean"]["visible"] is True
    assert traces[0]["meta"] == {"method": "random", "role": "band"}, "controls lie behind"


def test_thinning_keeps_the_ends_and_the_values(contents: Contents) -> None:
    (line,) = [t for t in drawn(contents) if t["meta"] == {"method": "score_cam", "role": "mean"}]
    assert len(line["x"]) == POINTS
    assert (line["x"][0], line["x"][-1]) == (0, 1)
    source = contents.curves.query("method == 'score_cam' and metric == 'sic_mean'").iloc[0]
    assert line["y"] == pytest.approx(np.interp(line["x"], source["x"], source["mean"]), abs=1e-3)


def test_nan_in_a_curve_is_a_gap_and_valid_json(contents: Contents) -> None:
    curves = contents.curves.copy()
    curves["mean"] = [[float("nan")] * len(values) for values in curves["mean"]]
    traces = drawn(replace(contents, curves=curves))
    json.dumps(traces, allow_nan=False)
    assert all(set(t["y"]) == {None} for t in traces if t["meta"]["role"] == "mean")


def test_a_method_name_is_text_to_plotly(contents: Contents) -> None:
    curves = contents.curves.replace({"method": {"gradient": "<b>bold</b>"}})
    names = {t.get("name") for t in drawn(replace(contents, curves=curves))}
    assert "&lt;b&gt;bold&lt;/b&gt;" in names


def test_controls_are_gray_and_methods_differ(contents: Contents) -> None:
    found = styles(["a", "b", "random"], frozenset({"random"}))
    assert found["random"].control
    assert len({style.color for style in found.values()}) == 3
