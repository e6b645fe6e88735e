import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medsaliency.statistics.friedman import critical_difference, friedman, friedman_test, holm, mean_ranks
from medsaliency.types import Measure

MEASURES = {"m": Measure("m", True, (0, 1), ""), "low": Measure("low", False, (0, 1), "")}

# Seconds of 22 players to round first base in three ways, Hollander & Wolfe 1973, p. 140, as in R's friedman.test.
ROUNDING_TIMES = np.array(
    [
        *((5.40, 5.50, 5.55), (5.85, 5.70, 5.75), (5.20, 5.60, 5.50), (5.55, 5.50, 5.40), (5.90, 5.85, 5.70)),
        *((5.45, 5.55, 5.60), (5.40, 5.40, 5.35), (5.45, 5.50, 5.35), (5.25, 5.15, 5.00), (5.85, 5.80, 5.70)),
        *((5.25, 5.20, 5.10), (5.65, 5.55, 5.45), (5.60, 5.35, 5.45), (5.05, 5.00, 4.95), (5.50, 5.50, 5.40)),
        *((5.45, 5.55, 5.50), (5.55, 5.55, 5.35), (5.45, 5.50, 5.55), (5.50, 5.45, 5.25), (5.65, 5.60, 5.40)),
        *((5.70, 5.65, 5.55), (6.30, 6.30, 6.25)),
    ]
)


def table(values: np.ndarray, metric: str = "m", images: int = 1) -> pd.DataFrame:
    """Scores of (P, k) values: methods a, b, ...; the images of a patient differ around its value."""
    rows = [
        (f"s{i}-{j}", f"p{i:02d}", "abcdefgh"[k], metric, value + (j - (images - 1) / 2) * 0.01)
        for i, row in enumerate(values)
        for k, value in enumerate(row)
        for j in range(images)
    ]
    return pd.DataFrame(rows, columns=["sample", "patient", "method", "metric", "value"])


def test_the_example_of_r() -> None:
    found = friedman_test(ROUNDING_TIMES)
    assert found.statistic == pytest.approx(11.143, abs=5e-4)
    assert found.p == pytest.approx(0.003805, abs=5e-7)
    assert found.kendall_w == pytest.approx(11.142857 / (22 * 2))
    assert found.reason == ""


def test_patients_are_the_blocks_and_not_their_images() -> None:
    tests, ranks = friedman(table(ROUNDING_TIMES, images=3), MEASURES)
    (row,) = tests.to_dict("records")
    assert (row["metric"], row["methods"], row["patients"], row["reason"]) == ("m", 3, 22, "")
    assert row["statistic"] == pytest.approx(11.143, abs=5e-4)
    assert row["p_corrected"] == row["p"]
    expected = stats.rankdata(-ROUNDING_TIMES, axis=1).mean(axis=0)
    np.testing.assert_allclose(ranks["rank"], expected)
    assert ranks["method"].tolist() == ["a", "b", "c"]


def test_the_critical_values_of_demsar() -> None:
    # Table 5a, q at 0.05 for 2 to 10 classifiers; and the example of section 3.2.2: 4 on 14 data sets.
    known = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(known, start=2):
        assert critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_kendalls_w_is_one_where_all_patients_agree() -> None:
    values = np.random.default_rng(0).normal(size=(9, 1)) + np.array([0, 5, 10, 20])
    assert friedman_test(values).kendall_w == pytest.approx(1)


def test_rank_one_is_best_in_the_metrics_direction() -> None:
    values = np.array([[1.0, 2.0, 2.0], [3.0, 9.0, 4.0]])
    np.testing.assert_allclose(mean_ranks(values, True), [3, 1.25, 1.75])
    np.testing.assert_allclose(mean_ranks(values, False), [1, 2.75, 2.25])


@given(st.integers(0, 1000))
def test_only_ranks_within_a_patient_count(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 4, size=(6, 4)).astype(float)
    moved = np.exp(values) + np.arange(6)[:, None] * 100
    first, second = friedman_test(values), friedman_test(moved)
    np.testing.assert_allclose([first.statistic, first.p], [second.statistic, second.p])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.random.default_rng(0).random((5, 2)), "fewer than three methods"),
        (np.random.default_rng(0).random((1, 4)), "fewer than two patients"),
        (np.tile(np.random.default_rng(0).random((5, 1)), 3), "all methods tie on every patient"),
        (np.array([[0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.6], [1, 1, 1]]), "all methods tie on every patient"),
    ],
)
def test_where_it_is_undefined_it_says_why(values: np.ndarray, reason: str) -> None:
    tests, ranks = friedman(table(values), MEASURES)
    (row,) = tests.to_dict("records")
    assert row["reason"] == reason
    assert all(np.isnan(row[key]) for key in ("statistic", "p", "p_corrected", "kendall_w", "critical_difference"))
    assert len(ranks) == values.shape[1]


def test_a_metric_without_common_images_has_a_row() -> None:
    scores = table(ROUNDING_TIMES[:4])
    # Every method has values, and no image has all of them.
    scores = scores[scores["sample"].map({f"s{i}-0": "abca"[i] for i in range(4)}) == scores["method"]]
    tests, _ = friedman(scores, MEASURES)
    assert tests["reason"].tolist() == ["no image has a value of every method"]


def test_holm_is_over_the_metrics_that_have_a_test() -> None:
    scores = pd.concat(
        [
            table(ROUNDING_TIMES),
            table(np.random.default_rng(0).random((8, 3)), "low"),
            table(np.ones((4, 3)), "tied"),
        ]
    )
    measures = MEASURES | {"tied": Measure("tied", True, (0, 1), "")}
    tests = friedman(scores, measures)[0].set_index("metric")
    assert tests.loc["m", "p_corrected"] == pytest.approx(2 * tests.loc["m", "p"])
    assert tests.loc["low", "p_corrected"] == tests.loc["low", "p"]
    assert np.isnan(tests.loc["tied", "p_corrected"])


def test_chosen_methods_keep_the_images_of_all() -> None:
    values = ROUNDING_TIMES.copy()
    values[3, 2] = np.nan
    scores = table(np.hstack([values, ROUNDING_TIMES[:, :1]]))
    (row,) = friedman(scores, MEASURES, methods=["a", "b", "d"])[0].to_dict("records")
    assert (row["methods"], row["patients"]) == (3, 21)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, np.nan, 0.04, 0.03])), [0.03, np.nan, 0.06, 0.06])
    assert holm(np.array([0.9, 0.9])).tolist() == [1, 1]
    assert np.isnan(holm(np.array([np.nan]))).all()
