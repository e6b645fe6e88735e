import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.friedman import friedman, holm
from medsaliency.statistics.pairwise import COLUMNS, pair_tests, pairwise
from medsaliency.types import Measure, generator

MEASURES = {"up": Measure("up", True, (0, 1), ""), "down": Measure("down", False, (0, 1), "")}
METHODS = ("c", "a", "b", "random")


def study(
    seed: int = 0, patients: int = 14, effect: float = 2.5, metrics: tuple[str, ...] = ("up", "down")
) -> pd.DataFrame:
    """Patients with one to three images; method c has the higher values by ``effect``."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        level = rng.normal()
        for image in range(1 + patient % 3):
            for metric in metrics:
                for method in METHODS:
                    value = level + rng.normal() + effect * (method == "c")
                    rows.append((f"s{patient}-{image}", f"p{patient}", 0, method, metric, value, ""))
    return pd.DataFrame(rows, columns=["sample", "patient", "label", "method", "metric", "value", "reason"])


SCORES = study()


def means(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    return scores[scores["metric"] == metric].pivot_table(index="patient", columns="method", values="value")


def test_one_row_a_metric_and_pair_in_the_order_of_the_study() -> None:
    found = pairwise(SCORES, MEASURES, seed=0, draws=200)
    assert found.columns.tolist() == COLUMNS
    expected = [(metric, *pair) for metric in ("up", "down") for pair in itertools.combinations(METHODS, 2)]
    assert list(found[["metric", "method", "other"]].itertuples(index=False, name=None)) == expected
    assert (found["patients"] == 14).all()
    assert (found["images"] == SCORES["sample"].nunique()).all()


def test_numbers_are_those_of_the_parts() -> None:
    found = pairwise(SCORES, MEASURES, seed=5, draws=300, level=0.9)
    row = found[(found["metric"] == "down") & (found["method"] == "c") & (found["other"] == "b")].iloc[0]
    table = means(SCORES, "down")
    assert row["p"] == pytest.approx(stats.wilcoxon(table["c"], table["b"]).pvalue)
    assert row["superiority"] == pytest.approx((table["c"] < table["b"]).mean())
    images = SCORES[SCORES["metric"] == "down"].pivot(index="sample", columns="method", values="value")
    owner = SCORES.drop_duplicates("sample").set_index("sample")["patient"].loc[images.index]
    rng = generator(5, "pairwise", "down")
    interval = mean_interval(images["c"] - images["b"], owner, rng, draws=300, level=0.9)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((interval.value, interval.low, interval.high))
    for effect in ("rank_biserial", "cliffs_delta"):
        assert row[f"{effect}_low"] <= row[effect] <= row[f"{effect}_high"]


def test_verdicts_follow_the_direction_of_the_metric() -> None:
    found = pairwise(SCORES, MEASURES, seed=0, draws=200).set_index(["metric", "method", "other"])
    assert found.loc[("up", "c", "a"), "verdict"] == "better"
    assert found.loc[("down", "c", "a"), "verdict"] == "worse"
    assert found.loc[("up", "c", "a"), "difference"] > 0
    assert found.loc[("down", "c", "a"), "difference"] > 0
    assert found.loc[("up", "c", "a"), "rank_biserial"] > 0.5
    assert found.loc[("down", "c", "a"), "cliffs_delta"] < -0.2
    assert found.loc[("up", "a", "b"), "verdict"] == "not shown"


def test_what_is_not_shown_has_a_detectable_difference_and_the_rest_none() -> None:
    found = pairwise(SCORES, MEASURES, seed=0, draws=200)
    shown = found["verdict"] != "not shown"
    assert shown.any()
    assert not shown.all()
    assert (found["detectable"].isna() == shown).all()
    assert (found.loc[~shown, "detectable"] > 0).all()


def test_holm_over_the_pairs_and_never_below_the_metrics_own_test() -> None:
    found = pairwise(SCORES, MEASURES, seed=0, draws=200, families=1)
    gates = friedman(SCORES, MEASURES)[0].set_index("metric")["p_corrected"]
    for metric, group in found.groupby("metric"):
        expected = np.maximum(holm(group["p"].to_numpy()), gates[metric])
        np.testing.assert_allclose(group["p_corrected"], expected)
    twice = pairwise(SCORES, MEASURES, seed=0, draws=200, families=2)
    np.testing.assert_allclose(twice["p_corrected"], (2 * found["p_corrected"]).clip(upper=1))


def test_pairs_of_a_metric_that_shows_nothing_are_not_shown() -> None:
    # A pair that is significant by itself and by Holm, among methods that Friedman's test does not tell apart.
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = rng.normal(size=(12, 3))
        (found,) = pair_tests([values])
        gate = stats.friedmanchisquare(*values.T).pvalue
        assert (found.p_corrected >= gate - 1e-12).all()
        if holm(found.p).min() <= 0.05 < gate:
            assert (found.p_corrected > 0.05).all()
            break
    else:
        pytest.fail("no such case was drawn")


def test_two_methods_are_corrected_over_metrics() -> None:
    scores = SCORES[SCORES["method"].isin(["c", "a"])]
    found = pairwise(scores, MEASURES, seed=0, draws=200, families=1)
    np.testing.assert_allclose(found["p_corrected"], holm(found["p"].to_numpy()))


def test_the_order_of_rows_changes_nothing() -> None:
    first = pairwise(SCORES, MEASURES, seed=0, draws=200)
    shuffled = SCORES.sample(frac=1, random_state=1)
    order = {name: place for place, name in enumerate(METHODS)}
    shuffled = shuffled.sort_values("method", key=lambda names: names.map(order), kind="stable")
    shuffled = shuffled.sort_values("metric", ascending=False, kind="stable")
    pd.testing.assert_frame_equal(first, pairwise(shuffled, MEASURES, seed=0, draws=200))


def test_chosen_methods_and_a_missing_image() -> None:
    scores = SCORES.copy()
    scores.loc[(scores["sample"] == "s1-0") & (scores["method"] == "random"), "value"] = np.nan
    found = pairwise(scores, MEASURES, methods=["a", "b"], seed=0, draws=200)
    assert found[["method", "other"]].drop_duplicates().to_numpy().tolist() == [["a", "b"]]
    assert (found["images"] == SCORES["sample"].nunique() - 1).all()


def test_ties_and_a_single_patient() -> None:
    tied = SCORES.assign(value=1.0)
    found = pairwise(tied, MEASURES, seed=0, draws=200)
    assert (found["p_corrected"] == 1).all()
    assert (found["superiority"] == 0.5).all()
    assert (found["verdict"] == "not shown").all()
    assert found["detectable"].isna().all()
    single = pairwise(SCORES[SCORES["patient"] == "p2"], MEASURES, seed=0, draws=200)
    assert (single["p"] == 1).all()
    assert single[["low", "high", "detectable"]].isna().all(axis=None)


def test_nothing_to_compare() -> None:
    one = SCORES[SCORES["method"] == "a"]
    assert pairwise(one, MEASURES, seed=0).columns.tolist() == COLUMNS
    assert pairwise(one, MEASURES, seed=0).empty
    assert pairwise(SCORES.assign(value=np.nan), MEASURES, seed=0).empty
