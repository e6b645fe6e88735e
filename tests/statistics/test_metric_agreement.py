from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medsaliency.statistics.metric_agreement import (
    AGREEMENT_COLUMNS,
    CONCORDANCE_COLUMNS,
    concordance,
    kendall_w,
    metric_agreement,
)
from medsaliency.types import Family, Measure

FAMILIES: dict[str, Family] = {"a": "faithfulness", "b": "faithfulness", "c": "complexity", "down": "localization"}
MEASURES = {name: Measure(name, name != "down", (0, 1), "", family) for name, family in FAMILIES.items()}


def table(**metrics: np.ndarray) -> pd.DataFrame:
    """Each metric's values as (images, methods); two images a patient."""
    parts = []
    for metric, values in metrics.items():
        wide = pd.DataFrame(np.asarray(values, dtype=float)).rename(columns="e{}".format)
        wide["sample"] = [f"s{i:02}" for i in range(len(wide))]
        wide["patient"] = [f"p{i // 2}" for i in range(len(wide))]
        parts.append(wide.melt(["sample", "patient"], var_name="method", value_name="value").assign(metric=metric))
    return pd.concat(parts, ignore_index=True)


def only(found: pd.DataFrame) -> dict[str, object]:
    (row,) = found.to_dict("records")
    return row


def random(seed: int, images: int = 12, methods: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, (images, methods)) / 8


def test_correlations_are_those_of_scipy_over_means_and_within_images() -> None:
    a, b = random(0), random(1)
    row = only(metric_agreement(table(a=a, b=b), MEASURES, seed=0))
    assert row["correlation"] == pytest.approx(stats.spearmanr(a.mean(axis=0), b.mean(axis=0)).statistic)
    within = [stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert row["image_correlation"] == pytest.approx(np.mean(within))
    assert row["low"] < row["image_correlation"] < row["high"]
    assert (row["methods"], row["images"], row["reason"]) == (6, 12, "")


def test_a_metric_and_its_reverse_agree_wholly_where_lower_is_better() -> None:
    a = random(2)
    row = only(metric_agreement(table(a=a, down=1 - a), MEASURES, seed=0))
    assert (row["correlation"], row["image_correlation"]) == pytest.approx((1, 1))
    row = only(metric_agreement(table(a=a, down=a), MEASURES, seed=0))
    assert (row["correlation"], row["image_correlation"]) == pytest.approx((-1, -1))


def test_every_pair_has_one_row_and_the_seed_decides_its_interval() -> None:
    scores = table(a=random(3), b=random(4), c=random(5))
    found = metric_agreement(scores, MEASURES, seed=0)
    assert list(found) == AGREEMENT_COLUMNS
    assert list(zip(found["metric"], found["other"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    shuffled = scores.groupby("metric", sort=False).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(metric_agreement(shuffled, MEASURES, seed=0), found)
    assert not metric_agreement(scores, MEASURES, seed=1).equals(found)
    alone = metric_agreement(scores[scores["metric"] != "b"], MEASURES, seed=0)
    pd.testing.assert_frame_equal(alone, found[1:2].reset_index(drop=True))


def test_images_are_those_that_both_metrics_have_and_rank() -> None:
    a, b = random(6), random(7)
    a[0, 0] = b[1, 1] = np.nan
    a[2] = 0.5
    row = only(metric_agreement(table(a=a, b=b), MEASURES, seed=0))
    assert row["images"] == 9
    within = [stats.spearmanr(x, y).statistic for x, y in zip(a[3:], b[3:], strict=True)]
    assert row["image_correlation"] == pytest.approx(np.mean(within))
    # Means are those of each metric's own common images.
    means = np.delete(a, 0, axis=0).mean(axis=0), np.delete(b, 1, axis=0).mean(axis=0)
    assert row["correlation"] == pytest.approx(stats.spearmanr(*means).statistic)


def test_methods_are_those_that_both_have() -> None:
    a, b = random(8), random(9)
    b[:, 4] = np.nan
    row = only(metric_agreement(table(a=a, b=b), MEASURES, seed=0))
    kept = [0, 1, 2, 3, 5]
    assert row["methods"] == 5
    assert row["correlation"] == pytest.approx(stats.spearmanr(a[:, kept].mean(axis=0), b[:, kept].mean(axis=0))[0])


def test_what_is_undefined_has_a_reason() -> None:
    few = only(metric_agreement(table(a=random(0)[:, :2], b=random(1)[:, :2]), MEASURES, seed=0))
    assert few["reason"] == "methods with a value of both: 2, at least 3 needed"
    assert np.isnan([few["correlation"], few["image_correlation"], few["low"], few["high"]]).all()
    # A third from other images: equal means, but for rounding, are no ranking.
    level = np.array([[0.1, 0.3, 0.2], [0.3, 0.2, 0.1], [0.2, 0.1, 0.3]])
    equal = only(metric_agreement(table(a=level, b=random(1)[:3, :3]), MEASURES, seed=0))
    assert equal["reason"] == "one has no mean of every method, or its means are equal"
    assert np.isnan(equal["correlation"])
    assert np.isfinite(equal["image_correlation"])
    apart = random(2)
    apart[::2, 0] = apart[1::2, 1] = np.nan
    nothing = only(metric_agreement(table(a=random(0), b=apart), MEASURES, seed=0))
    assert nothing["reason"].split("; ")[1] == "no image on which both rank the methods"
    assert np.isnan([nothing["correlation"], nothing["image_correlation"]]).all()
    assert nothing["images"] == 0


def test_w_is_that_of_the_textbook() -> None:
    # Siegel 1956, Nonparametric Statistics, chapter 9: three executives rank six applicants. The sums of ranks are 8,
    # 14, 11, 11, 11 and 8, so that s = 25.5, of at most 157.5, and W = 0.16.
    ranks = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]], dtype=float)
    assert kendall_w(ranks) == pytest.approx(25.5 / 157.5)


@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=2, max_size=5))
def test_w_with_ties_is_the_statistic_of_friedman_over_its_largest(values: list[list[int]]) -> None:
    ranked = [row for row in values if len(set(row)) > 1]
    if len(ranked) < 2:
        return
    ranks = stats.rankdata(ranked, axis=1)
    expected = stats.friedmanchisquare(*np.array(ranked).T).statistic / (len(ranked) * 3)
    assert kendall_w(ranks) == pytest.approx(expected, abs=1e-12)


def test_w_follows_the_mean_of_the_correlations() -> None:
    # Without ties, mean Spearman = (m W - 1) / (m - 1).
    rng = np.random.default_rng(10)
    scores = table(a=rng.random((4, 7)), b=rng.random((4, 7)), c=rng.random((4, 7)))
    mean = metric_agreement(scores, MEASURES, seed=0)["correlation"].mean()
    found = concordance(scores, MEASURES, seed=0).set_index("family")
    assert found.loc["all", "kendall_w"] == pytest.approx((2 * mean + 1) / 3)


def test_metrics_that_agree_and_that_do_not() -> None:
    order = np.arange(7.0)
    rng = np.random.default_rng(11)
    scores = table(a=order + rng.random((6, 7)), b=order + rng.random((6, 7)), c=-order + rng.random((6, 7)))
    found = concordance(scores, MEASURES, seed=0)
    assert list(found) == CONCORDANCE_COLUMNS
    assert found["family"].tolist() == ["all", "faithfulness", "complexity"]
    everything, faithful, single = found.to_dict("records")
    assert (everything["metrics"], everything["methods"]) == (3, 7)
    assert everything["kendall_w"] < 0.3
    assert everything["p"] > 0.3
    assert faithful["kendall_w"] > 0.95
    assert faithful["p"] < 0.01
    assert single["reason"] == "metrics that rank the methods: 1, at least 2 needed"
    assert np.isnan([single["kendall_w"], single["p"]]).all()


def test_the_scale_of_a_metric_does_not_matter() -> None:
    a, b = random(0), random(1)
    first = concordance(table(a=a, b=b), MEASURES, seed=0)
    pd.testing.assert_frame_equal(concordance(table(a=1e14 * a, b=1e-6 * b), MEASURES, seed=0), first)
    first = metric_agreement(table(a=a, b=b), MEASURES, seed=0)
    pd.testing.assert_frame_equal(metric_agreement(table(a=1e14 * a, b=1e-6 * b), MEASURES, seed=0), first)


def test_the_permutations_give_the_exact_p() -> None:
    # Two rankings of three methods in the same order: one of six permutations.
    same = np.array([[0.1, 0.2, 0.3]])
    (p, *_) = concordance(table(a=same, b=same), MEASURES, seed=0)["p"]
    assert p == pytest.approx(1 / 6, abs=0.015)
    many = concordance(table(a=random(0), b=random(1), c=random(2)), MEASURES, seed=0).iloc[0]
    large = concordance(table(a=random(0), b=random(1), c=random(2)), MEASURES, seed=1, draws=40000).iloc[0]
    assert many["p"] == pytest.approx(large["p"], abs=0.02)


def test_without_metrics_or_methods_that_rank_there_is_a_reason() -> None:
    flat = np.full((4, 5), 0.1) + 0.2
    found = concordance(table(a=random(0)[:4, :5], b=flat), MEASURES, seed=0).iloc[0]
    assert (found["metrics"], found["reason"]) == (1, "metrics that rank the methods: 1, at least 2 needed")
    few = concordance(table(a=random(0)[:, :2], b=random(1)[:, :2]), MEASURES, seed=0).iloc[0]
    assert few["reason"] == "methods that every metric has: 2, at least 3 needed"
    apart = np.where(np.eye(4, 5) > 0, np.nan, 0.5)
    apart[:, 4] = [np.nan, 1, 1, 1]
    none = concordance(table(a=apart, b=random(0)[:4, :5]), MEASURES, seed=0).iloc[0]
    assert none["reason"] == "methods that every metric has: 0, at least 3 needed"


def test_no_scores_give_empty_tables() -> None:
    scores = table(a=np.full((2, 3), np.nan))
    assert list(metric_agreement(scores, MEASURES, seed=0)) == AGREEMENT_COLUMNS
    assert metric_agreement(scores, MEASURES, seed=0).empty
    nothing = only(concordance(scores, MEASURES, seed=0))
    assert (nothing["family"], nothing["reason"]) == ("all", "methods that every metric has: 0, at least 3 needed")
