from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.reliability import auroc, icc, reliability, weighted_icc


def test_the_auroc_counts_pairs_and_leaves_out_what_is_no_number() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40) + 1.0, rng.integers(0, 9, 31).astype(float)
    expected = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert auroc(a, b) == pytest.approx(expected)
    assert auroc(np.r_[a, np.nan], np.r_[np.nan, b]) == pytest.approx(expected)
    assert auroc(b, a) == pytest.approx(1 - expected)


def test_groups_that_are_alike_apart_or_empty() -> None:
    assert auroc([1, 1], [1, 1, 1]) == 0.5
    assert auroc([2, 3], [0, 1]) == 1.0
    assert math.isnan(auroc([], [1.0]))
    assert math.isnan(auroc([np.nan], [1.0]))


def test_the_icc_is_that_of_shrout_and_fleiss() -> None:
    # Six things rated by four judges: their worked example, whose ICC(2,1) is 0.29.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc(ratings) == pytest.approx(0.29, abs=0.005)
    assert icc([*ratings, [np.nan, 1, 2, 3]]) == pytest.approx(icc(ratings))


def test_equal_measurements_agree_wholly_and_noise_does_not() -> None:
    values = np.random.default_rng(0).normal(size=(200, 1))
    assert icc(np.repeat(values, 3, axis=1)) == pytest.approx(1.0)
    assert icc(values + np.array([[0.0, 5.0]])) < 0.2  # absolute agreement: a shift counts
    assert abs(icc(np.random.default_rng(1).normal(size=(500, 3)))) < 0.1


def test_where_nothing_can_be_said_it_is_not_a_number() -> None:
    assert math.isnan(icc([[1.0, 2.0]]))
    assert math.isnan(icc([[1.0], [2.0]]))
    assert math.isnan(icc(np.ones((5, 3))))


def repeated(values: np.ndarray, *, methods: int = 2, metric: str = "m") -> pd.DataFrame:
    """A table of repeats from (n, k) values of n maps, ``methods`` an image, two images a patient."""
    rows = []
    for place, row in enumerate(np.asarray(values, dtype=float)):
        image, method = divmod(place, methods)
        for repeat, value in enumerate(row):
            rows.append((f"s{image:02}", f"p{image // 2}", f"e{method}", metric, repeat, value))
    return pd.DataFrame(rows, columns=["sample", "patient", "method", "metric", "repeat", "value"])


def only(found: pd.DataFrame) -> dict[str, object]:
    (row,) = found.to_dict("records")
    return row


def measured(seed: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(40, 1)) + noise * rng.normal(size=(40, 3))


def test_reliability_is_the_icc_of_maps_over_repeats() -> None:
    values = measured(0, 0.5)
    row = only(reliability(repeated(values), source="seed", seed=0))
    assert (row["metric"], row["source"], row["repeats"], row["images"], row["reason"]) == ("m", "seed", 3, 20, "")
    assert row["icc"] == pytest.approx(icc(values))
    assert row["low"] < row["icc"] < row["high"] <= 1


def test_a_map_without_a_value_in_every_repeat_is_left_out() -> None:
    values = measured(1, 0.5)
    values[4, 1] = values[6, 0] = values[7, 2] = np.nan  # both maps of the fourth image
    row = only(reliability(repeated(values), source="seed", seed=0))
    assert row["icc"] == pytest.approx(icc(values))
    assert row["images"] == 19
    short = repeated(values).dropna()  # a missing row is a missing value
    assert only(reliability(short, source="seed", seed=0)) == row


def test_rows_in_any_order_give_the_same_and_each_metric_its_own() -> None:
    first, second = repeated(measured(2, 0.2)), repeated(measured(3, 2.0), metric="other")
    both = reliability(pd.concat([first, second]), source="retrained", seed=0)
    assert both["metric"].tolist() == ["m", "other"]
    assert both["icc"].is_monotonic_decreasing
    assert only(reliability(first.sample(frac=1, random_state=0), source="retrained", seed=0)) == only(both[:1])


def test_repeats_that_are_equal_agree_wholly() -> None:
    row = only(reliability(repeated(np.repeat(measured(4, 0)[:, :1], 3, axis=1)), source="seed", seed=0))
    assert (row["icc"], row["low"], row["high"]) == pytest.approx((1, 1, 1))


def test_an_undefined_reliability_has_a_reason_and_one_patient_no_interval() -> None:
    values = measured(5, 0.5)
    for wrong, reason in (
        (values[:, :1], "a single repeat"),
        (np.where(np.eye(40, 3) + np.eye(40, 3, -3) == 1, np.nan, np.full((40, 3), 0.3)), "scores do not vary"),
        (values[:1], "maps with a value in every repeat: 1, at least 2 needed"),
        (np.full((40, 3), 0.1) + 0.2, "scores do not vary"),
    ):
        row = only(reliability(repeated(wrong), source="seed", seed=0))
        assert row["reason"] == reason
        assert np.isnan([row["icc"], row["low"], row["high"]]).all()
    row = only(reliability(repeated(values[:4]), source="seed", seed=0))
    assert row["icc"] == pytest.approx(icc(values[:4]))
    assert (np.isnan([row["low"], row["high"]]).all(), row["reason"]) == (True, "")


def test_weights_count_things_as_often_as_they_say() -> None:
    rng = np.random.default_rng(6)
    values, weights = rng.normal(5, 1, (9, 4)), rng.integers(0, 3, (20, 9))
    expected = [icc(np.repeat(values, row, axis=0)) for row in weights]
    np.testing.assert_allclose(weighted_icc(values, weights.astype(float)), expected)
    nothing = np.zeros((2, 9))
    nothing[1, 0] = 1
    assert np.isnan(weighted_icc(values, nothing)).all()
