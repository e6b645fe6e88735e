import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.comparison import common_images, exclusions, summarize
from medsaliency.statistics.controls import against_controls
from medsaliency.types import Measure, generator

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
    pd.testing.assert_frame_equal(first, summarize(scores.sample(frac=1, random_state=2), seed=0))
    assert not first.equals(summarize(scores, seed=1))


@pytest.fixture
def made() -> pd.DataFrame:
    """Two methods and a twin of the first, whose scores differ by class; three images are missing for one method."""
    rng = np.random.default_rng(4)
    label = np.arange(40) % 2
    first, other = label + 0.2 * rng.random(40), label + 0.2 * rng.random(40)
    other[[3, 8, 30]] = np.nan
    return table({"a": first.tolist(), "twin": first.tolist(), "random": other.tolist()})


def test_intervals_are_those_of_the_values(made: pd.DataFrame) -> None:
    scores = pd.concat([made, made.assign(metric="again")])
    common = common_images(made)
    values = {name: group.set_index("sample")["value"] for name, group in common.groupby("method")}
    patients = common.drop_duplicates("sample").set_index("sample")["patient"]
    for stratified in (False, True):
        strata = common.drop_duplicates("sample")["label"] if stratified else None
        summary = summarize(scores, seed=5, stratified=stratified).set_index(["metric", "method"])
        expected = mean_interval(values["a"], patients, generator(5, "bootstrap"), strata=strata)
        for metric in ("m", "again"):
            for method in ("a", "twin"):
                own = summary.loc[metric, method]
                assert (own["mean"], own["low"], own["high"]) == pytest.approx(
                    (expected.value, expected.low, expected.high), rel=1e-9
                )


def test_within_classes_their_difference_is_no_uncertainty(made: pd.DataFrame) -> None:
    alone = made.assign(patient=made["sample"])
    free, within = (
        summarize(alone, seed=0, stratified=choice).set_index("method").loc["a"] for choice in (False, True)
    )
    assert within["mean"] == free["mean"]
    assert within["high"] - within["low"] < 0.3 * (free["high"] - free["low"])
    # Patients of both classes are one stratum: where all are, nothing changes.
    both = made[~made["patient"].isin(["p1", "p4", "p15"])]
    pd.testing.assert_frame_equal(summarize(both, seed=0, stratified=True), summarize(both, seed=0))


def compared(scores: pd.DataFrame, measures: dict[str, Measure] = UP) -> pd.DataFrame:
    none = pd.DataFrame(columns=["sample", "patient", "metric", "draw", "value"])
    return against_controls(scores, none, measures, ["random"], seed=0, draws=200, permutations=100)


def test_methods_are_compared_on_the_images_that_all_have() -> None:
    (found,) = compared(SCORES).to_dict("records")
    third = table({"b": [float("nan"), 0.1, 0.2, 0.3]})
    assert set(compared(pd.concat([SCORES, third]))["images"]) == {2}
    assert found["images"] == 3
    assert found["difference"] == pytest.approx((0.4 + 0.0 + 0.7) / 3)
    (turned,) = compared(SCORES, DOWN).to_dict("records")
    assert turned["superiority"] == pytest.approx(1 - found["superiority"])
    assert turned["difference"] == found["difference"]


def test_a_method_without_difference_has_an_interval_without_width(made: pd.DataFrame) -> None:
    equal = compared(made.replace({"method": {"random": "b", "twin": "random"}})).set_index("method").loc["a"]
    assert (equal["difference"], equal["low"], equal["high"], equal["superiority"]) == (0, 0, 0, 0.5)


def test_without_the_reference_there_is_no_comparison() -> None:
    assert compared(table({"a": [0.1, 0.2]})).empty


def test_every_undefined_image_is_in_the_ledger_by_class_and_reason() -> None:
    scores = table({"a": [float("nan"), 0.1, float("nan"), 0.2], "b": [float("nan"), 0.1, 0.3, 0.2]})
    (found,) = exclusions(scores).to_dict("records")
    assert found == {"metric": "m", "label": 0, "reason": "none", "images": 2, "of": 2, "methods": 2}
