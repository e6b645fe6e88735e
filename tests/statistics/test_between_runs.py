from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from medsaliency.statistics.between_runs import (
    independent_difference,
    kendall_tau,
    paired_differences,
    ranking_agreement,
)

METHODS = ("gradient", "grad_cam", "rise")


def table(values: dict[tuple[str, str], list[float]], patients: list[str] | None = None) -> pd.DataFrame:
    """Scores from lists of one value an image, by (metric, method)."""
    return pd.DataFrame(
        [
            {
                "sample": f"s{place}",
                "patient": patients[place] if patients else f"p{place}",
                "method": method,
                "metric": metric,
                "value": value,
            }
            for (metric, method), own in values.items()
            for place, value in enumerate(own)
        ]
    )


def random_scores(rng: np.random.Generator, images: int, shift: float = 0.0, spread: float = 0.1) -> pd.DataFrame:
    levels = {method: 0.3 + 0.2 * place for place, method in enumerate(METHODS)}
    return table({("evidence", m): (levels[m] + shift + rng.normal(0, spread, images)).tolist() for m in METHODS})


def test_difference_and_exact_p_by_hand() -> None:
    # All eight differences are positive: of 2^8 signs, two are as extreme.
    one = table({("evidence", "rise"): [0.1] * 8})
    other = table({("evidence", "rise"): [0.2, 0.3, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3]})
    (found,) = paired_differences([(one, other)], seed=0, draws=200)
    row = found.iloc[0]
    assert (row["metric"], row["method"], row["patients"], row["images"]) == ("evidence", "rise", 8, 8)
    assert row["difference"] == pytest.approx(0.15)
    assert row["p"] == pytest.approx(2 / 256)
    assert row["p_corrected"] == pytest.approx(2 / 256), "one hypothesis needs no correction"
    assert row["verdict"] == "higher"
    assert 0.1 <= row["low"] < 0.15 < row["high"] <= 0.2
    assert math.isnan(row["detectable"])


def test_turning_the_pair_turns_the_verdict() -> None:
    rng = np.random.default_rng(3)
    one, other = random_scores(rng, 20), random_scores(rng, 20, shift=0.3)
    there, back = paired_differences([(one, other)], seed=0, draws=200)[0], paired_differences(
        [(other, one)], seed=0, draws=200
    )[0]  # fmt: skip
    assert set(there["verdict"]) == {"higher"}
    assert set(back["verdict"]) == {"lower"}
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["low"], -back["high"], atol=0.01)
    np.testing.assert_allclose(there["p"], back["p"], atol=0.002)


def test_images_of_one_patient_are_one_observation() -> None:
    # Twelve images of three patients: of 2^3 signs no p is below 2 / 8.
    patients = [f"p{place // 4}" for place in range(12)]
    one = table({("evidence", "rise"): [0.1] * 12}, patients)
    other = table({("evidence", "rise"): [0.9] * 11 + [0.8]}, patients)
    (found,) = paired_differences([(one, other)], seed=0, draws=200)
    row = found.iloc[0]
    assert (row["patients"], row["images"]) == (3, 12)
    assert row["p"] == pytest.approx(0.25)
    assert row["verdict"] == "not shown"


def test_images_are_those_that_both_have_for_all_common_methods() -> None:
    nan = math.nan
    one = table({("evidence", "rise"): [0.1, 0.2, 0.3, nan], ("evidence", "lime"): [0.1] * 4})
    other = table(
        {
            ("evidence", "rise"): [0.2, 0.4, 0.6, 0.8],
            ("evidence", "lime"): [nan, 0.1, 0.1, 0.1],
            ("evidence", "edge"): [nan] * 4,
            ("gini", "rise"): [0.1] * 4,
        }
    )
    (found,) = paired_differences([(one, other)], seed=0, draws=200)
    assert list(zip(found["metric"], found["method"], strict=True)) == [("evidence", "rise"), ("evidence", "lime")]
    assert found["images"].tolist() == [2, 2]
    assert found["difference"].tolist() == pytest.approx([0.25, 0.0])


def test_a_method_without_any_value_in_one_run_has_no_row_and_costs_no_image() -> None:
    one = table({("evidence", "rise"): [0.1, 0.2], ("evidence", "lime"): [math.nan] * 2})
    other = table({("evidence", "rise"): [0.1, 0.3], ("evidence", "lime"): [0.5] * 2})
    (found,) = paired_differences([(one, other)], seed=0, draws=200)
    assert found["method"].tolist() == ["rise"]
    assert found["images"].tolist() == [2]


def test_nothing_in_common_gives_an_empty_table_for_each_pair() -> None:
    one, other = table({("evidence", "rise"): [0.1]}), table({("evidence", "lime"): [0.1]})
    found = paired_differences([(one, other), (other, one)], seed=0)
    assert [len(part) for part in found] == [0, 0]
    assert "verdict" in found[0]


def test_rows_keep_their_own_p_when_metrics_have_other_patients() -> None:
    gain = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    one = table({("evidence", "rise"): [0.0] * 6, ("gini", "rise"): [0.0] * 6})
    other = table({("evidence", "rise"): gain, ("gini", "rise"): [0.1, -0.2, *[math.nan] * 4]})
    (found,) = paired_differences([(one, other)], seed=0, draws=200)
    rows = found.set_index("metric")
    assert rows.loc["evidence", "p"] == pytest.approx(2 / 64)
    assert rows.loc["gini", "patients"] == 2
    assert rows.loc["gini", "p"] == 1.0, "0.1 less 0.2 is the smaller of the two sums that signs can give"
    assert (found["p_corrected"] >= found["p"]).all()


def test_the_correction_is_over_all_pairs_methods_and_metrics() -> None:
    rng = np.random.default_rng(11)
    null = [(random_scores(rng, 10), random_scores(rng, 10)) for _ in range(4)]
    alone = paired_differences(null[:1], seed=0, draws=200)[0]
    among = paired_differences(null, seed=0, draws=200, permutations=4000)[0]
    assert (among["p_corrected"] > alone["p_corrected"] - 0.02).all()
    assert among["p_corrected"].sum() > alone["p_corrected"].sum()


def test_false_positives_of_the_whole_comparison() -> None:
    # Two runs without a difference, three methods, two metrics: something is said in at most 5 % of comparisons.
    rng, said, repeats = np.random.default_rng(7), 0, 120
    for _ in range(repeats):
        parts = []
        for _run in range(2):
            values = {(metric, m): rng.normal(0, 1, 8).tolist() for metric in ("evidence", "gini") for m in METHODS}
            parts.append(table(values))
        found = paired_differences([(parts[0], parts[1])], seed=0, draws=20, power=0.2)[0]
        said += (found["verdict"] != "not shown").any()
    assert said <= 12, "the probability of more is below 2 % at a rate of 5 %"


def test_what_is_not_shown_tells_what_would_have_been() -> None:
    rng = np.random.default_rng(1)
    one, other = random_scores(rng, 30), random_scores(rng, 30)
    found = paired_differences([(one, other)], seed=0, draws=200)[0]
    assert set(found["verdict"]) == {"not shown"}
    least = found["detectable"].max()
    moved = other.assign(value=other["value"] + 2 * least)
    assert set(paired_differences([(one, moved)], seed=0, draws=200)[0]["verdict"]) == {"higher"}


def test_order_of_rows_changes_no_number() -> None:
    rng = np.random.default_rng(2)
    one, other = random_scores(rng, 12), random_scores(rng, 12, 0.05)
    found = paired_differences([(one, other)], seed=0, draws=200)[0]
    again = paired_differences([(one, other.sample(frac=1, random_state=0))], seed=0, draws=200)[0]
    pd.testing.assert_frame_equal(found, again)


def test_independent_difference_by_hand() -> None:
    # d = 0.5 - 0.2; down = hypot(0.5 - 0.4, 0.24 - 0.2), up = hypot(0.53 - 0.5, 0.2 - 0.16).
    one = pd.DataFrame({"mean": [0.2, 0.2], "low": [0.16, math.nan], "high": [0.24, math.nan]})
    other = pd.DataFrame({"mean": [0.5, 0.5], "low": [0.4, 0.4], "high": [0.53, 0.53]})
    found = independent_difference(one, other)
    assert found["difference"].tolist() == pytest.approx([0.3, 0.3])
    assert found.loc[0, "low"] == pytest.approx(0.3 - math.hypot(0.1, 0.04))
    assert found.loc[0, "high"] == pytest.approx(0.3 + 0.05)
    assert found.loc[1, ["low", "high"]].isna().all()


def test_an_interval_without_width_tells_nothing_of_the_difference() -> None:
    flat = pd.DataFrame({"mean": [1.0], "low": [1.0], "high": [1.0]})
    wide = pd.DataFrame({"mean": [0.5], "low": [0.4], "high": [0.6]})
    for found in (independent_difference(flat, wide), independent_difference(wide, flat)):
        assert abs(found["difference"][0]) == 0.5
        assert found[["low", "high"]].isna().all(axis=None)


def test_independent_difference_is_the_normal_interval_where_both_are() -> None:
    # Symmetric limits of known standard errors: those of the difference add in squares.
    one = pd.DataFrame({"mean": [1.0], "low": [1.0 - 1.96 * 3], "high": [1.0 + 1.96 * 3]})
    other = pd.DataFrame({"mean": [2.0], "low": [2.0 - 1.96 * 4], "high": [2.0 + 1.96 * 4]})
    found = independent_difference(one, other).iloc[0]
    assert (found["low"], found["high"]) == pytest.approx((1 - 1.96 * 5, 1 + 1.96 * 5))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_kendall_tau_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=np.float64).T
    expected = kendalltau(first, second).statistic
    assert kendall_tau(first[None], second[None])[0] == pytest.approx(expected, nan_ok=True)


def test_ranking_by_hand() -> None:
    # Means a < b < c < d against a < c < b < d: five of six pairs agree, (5 - 1) / 6.
    levels = {"a": (1, 1), "b": (2, 3), "c": (3, 2), "d": (4, 4)}
    one = table({("evidence", name): [own[0]] * 5 for name, own in levels.items()})
    other = table({("evidence", name): [own[1]] * 5 for name, own in levels.items()})
    found = ranking_agreement(one, other, paired=True, seed=0, draws=100).iloc[0]
    assert (found["methods"], found["reason"]) == (4, "")
    assert found["tau"] == pytest.approx(4 / 6)
    assert (found["low"], found["high"]) == pytest.approx((4 / 6, 4 / 6)), "without spread all draws are alike"


def test_a_clear_ranking_carries_over_and_a_blurred_one_is_not_shown_to() -> None:
    rng = np.random.default_rng(5)
    clear = ranking_agreement(random_scores(rng, 20), random_scores(rng, 25), paired=False, seed=0, draws=300).iloc[0]
    assert (clear["tau"], clear["low"], clear["high"]) == (1, 1, 1)
    noise = [random_scores(rng, 20, spread=2.0) for _ in range(2)]
    blurred = ranking_agreement(*noise, paired=False, seed=0, draws=300).iloc[0]
    assert blurred["low"] < 0 < blurred["high"]


def test_runs_of_the_same_images_are_drawn_together() -> None:
    # A run against itself has the same order in every draw, but only if both draw the same patients.
    noisy = random_scores(np.random.default_rng(6), 15, spread=1.0)
    together = ranking_agreement(noisy, noisy, paired=True, seed=0, draws=300).iloc[0]
    apart = ranking_agreement(noisy, noisy, paired=False, seed=0, draws=300).iloc[0]
    assert together["low"] == 1
    assert apart["low"] < 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"a": [1.0, 2.0], "b": [1.0, 2.0]}, "methods with a value in both: 2, at least 3 needed"),
        ({"a": [1.0, math.nan], "b": [math.nan, 2.0], "c": [1.0, 1.0]}, "no image on which all methods have a value"),
        ({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}, "all means of one run are equal"),
    ],
)
def test_what_cannot_be_ranked_says_why(values: dict[str, list[float]], reason: str) -> None:
    one = table({("evidence", name): own for name, own in values.items()})
    found = ranking_agreement(one, one, paired=True, seed=0, draws=100).iloc[0]
    assert math.isnan(found["tau"])
    assert found["reason"] == reason


def test_a_single_patient_gives_no_interval() -> None:
    one = table(
        {("evidence", name): [value, value + 1] for name, value in zip("abc", (1, 2, 3), strict=True)}, ["p"] * 2
    )
    found = ranking_agreement(one, one, paired=True, seed=0, draws=100).iloc[0]
    assert found["tau"] == 1
    assert math.isnan(found["low"])
    assert found["reason"] == "a single patient"
