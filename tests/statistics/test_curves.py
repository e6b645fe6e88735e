import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.curves import aggregate
from medsaliency.types import generator


def curves(*lines: tuple[list[float], list[float]]) -> pd.DataFrame:
    rows = [(f"s{i}", f"p{i}", "a", "m", x, y) for i, (x, y) in enumerate(lines)]
    return pd.DataFrame(rows, columns=["sample", "patient", "method", "metric", "x", "y"])


def test_the_mean_of_a_diagonal_and_a_step_is_between_them() -> None:
    (found,) = aggregate(curves(([0, 1], [0, 1]), ([0, 0, 1], [0, 1, 1])), seed=0).to_dict("records")
    assert found["images"] == 2
    assert found["auc_mean"] == pytest.approx(0.75, abs=1e-3)
    middle = found["x"].index(0.5)
    assert found["mean"][middle] == pytest.approx(0.75)
    assert found["median"][middle] == pytest.approx(0.75)
    assert (found["x"][0], found["x"][-1], found["mean"][-1]) == (0.0, 1.0, 1.0)


def test_the_median_ignores_one_outlier() -> None:
    diagonal = ([0, 1], [0, 1])
    (found,) = aggregate(curves(diagonal, diagonal, ([0, 0, 1], [0, 1, 1])), seed=0).to_dict("records")
    assert found["auc_median"] == pytest.approx(0.5, abs=1e-3)
    assert found["auc_mean"] > 0.6


def test_the_band_holds_the_mean_and_has_no_width_for_equal_curves() -> None:
    (found,) = aggregate(curves(*[([0, 0.3, 1], [0, 0.8, 1])] * 5), seed=0).to_dict("records")
    np.testing.assert_allclose(found["low"], found["mean"])
    np.testing.assert_allclose(found["high"], found["mean"])
    (wide,) = aggregate(curves(([0, 1], [0, 1]), ([0, 0, 1], [0, 1, 1])), seed=0).to_dict("records")
    assert (np.array(wide["low"]) <= np.array(wide["mean"]) + 1e-12).all()
    assert (np.array(wide["high"]) >= np.array(wide["mean"]) - 1e-12).all()
    assert max(np.subtract(wide["high"], wide["low"])) > 0.5


def test_the_band_at_each_point_is_the_interval_of_the_mean_there() -> None:
    heights = np.random.default_rng(3).random(30)
    lines = curves(*[([0, 0.5, 1], [0, height, 1]) for height in heights])
    lines = lines.assign(patient=[f"p{i // 2}" for i in range(30)], label=[i // 2 % 2 for i in range(30)])
    for stratified in (False, True):
        (found,) = aggregate(lines, seed=4, stratified=stratified).to_dict("records")
        strata = lines["label"] if stratified else None
        for place in (0.25, 0.5):
            at = found["x"].index(place)
            values = np.interp(place, [0, 0.5], [0, 1]) * heights
            expected = mean_interval(values, lines["patient"], generator(4, "bootstrap"), strata=strata)
            assert (found["low"][at], found["high"][at]) == pytest.approx((expected.low, expected.high), rel=1e-9)
