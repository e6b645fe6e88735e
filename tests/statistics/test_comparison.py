import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.comparison import against, common_images, exclusions, summarize
from medsaliency.types import Measure

UP = {"m": Measure("m", True, (0, 1), "")}
DOWN = {"m": Measure("m", False, (0, 1), "")}


def table(values: dict[str, list[float]]) -> pd.DataFrame:
    rows = []
    for method, column in values.items():
        for i, value in enumerate(column):
            reason = "none" if np.isnan(value) else ""
            rows.append((f"s{i}", f"p{i // 2}", i % 2, method, "m", value, reason))
    return pd.DataFrame(rows, columns=["sample", "patient", "label", "method", "metric", "value", "reason"])


SCORES = table({"a": [0.5, 0.7, 0.9, float("nan")], "random": [0.1, 0.7, 0.2, 0.4]})


def test_means_are_of_the_images_that_all_methods_have() -> None:
    found = summarize(SCORES, seed=0).set_index("method")
    assert found.loc["a", "mean"] == pytest.approx(0.7)
    assert (found.loc["a", "images"], found.loc["a", "undefined"]) == (3, 1)
    # The fourth image has a value by random alone.
    assert found.loc["random", "mean"] == pytest.approx((0.1 + 0.7 + 0.2) / 3)
    assert (found.loc["random", "images"], found.loc["random", "undefined"]) == (3, 0)
    assert found.loc["a", "low"] <= 0.7 <= found.loc["a", "high"]


def test_a_method_without_any_value_takes_no_image_from_the_others() -> None:
    scores = table({"a": [0.5, 0.7], "none": [float("nan")] * 2})
    assert common_images(scores)["value"].tolist() == [0.5, 0.7]
    found = summarize(scores, seed=0).set_index("method")
    assert (found.loc["a", "images"], found.loc["none", "images"]) == (2, 0)
    assert np.isnan(found.loc["none", "mean"])


def test_each_metric_has_a_common_set_of_its_own() -> None:
    other = table({"a": [0.5, 0.7, 0.9, 0.1], "random": [float("nan"), 0.7, 0.2, 0.4]}).assign(metric="other")
    found = common_images(pd.concat([SCORES, other]))
    samples = found.groupby("metric")["sample"].unique().map(sorted).to_dict()
    assert samples == {"m": ["s0", "s1", "s2"], "other": ["s1", "s2", "s3"]}


def test_the_seed_decides_the_interval_and_the_order_of_rows_does_not() -> None:
    scores = table({"a": np.random.default_rng(1).random(40).tolist()})
    first = summarize(scores, seed=0)
    pd.testing.assert_frame_equal(first, summarize(scores, seed=0))
    assert not first.equals(summarize(scores, seed=1))


def test_methods_are_compared_on_the_images_that_all_have() -> None:
    (found,) = against(SCORES, "random", UP, seed=0).to_dict("records")
    third = table({"b": [float("nan"), 0.1, 0.2, 0.3]})
    assert set(against(pd.concat([SCORES, third]), "random", UP, seed=0)["images"]) == {2}
    assert found["images"] == 3
    assert found["difference"] == pytest.approx((0.4 + 0.0 + 0.7) / 3)
    assert found["wins"] == pytest.approx(2.5 / 3)
    (turned,) = against(SCORES, "random", DOWN, seed=0).to_dict("records")
    assert turned["wins"] == pytest.approx(0.5 / 3)
    assert turned["difference"] == found["difference"]


def test_without_the_reference_there_is_no_comparison() -> None:
    assert against(table({"a": [0.1, 0.2]}), "random", UP, seed=0).empty


def test_every_undefined_image_is_in_the_ledger_by_class_and_reason() -> None:
    scores = table({"a": [float("nan"), 0.1, float("nan"), 0.2], "b": [float("nan"), 0.1, 0.3, 0.2]})
    (found,) = exclusions(scores).to_dict("records")
    assert found == {"metric": "m", "label": 0, "reason": "none", "images": 2, "of": 2, "methods": 2}
