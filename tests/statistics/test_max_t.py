import itertools

import numpy as np
import pytest
from scipy import stats

from medsaliency.statistics import max_t
from medsaliency.statistics.max_t import OneAmongDraws, SignFlips, step_down


def statistic(differences: np.ndarray) -> float:
    known = differences[np.isfinite(differences)]
    return float(known.sum() / np.sqrt((known**2).sum())) if known.any() else 0.0


def stepped(observed: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    """Westfall and Young's p-values, one hypothesis at a time."""
    order = sorted(range(len(observed)), key=lambda j: -abs(observed[j]))
    corrected, worst = np.empty(len(observed)), 0.0
    for place, j in enumerate(order):
        highest = np.abs(permuted[:, order[place:]]).max(axis=1)
        worst = max(worst, float(np.mean(highest >= abs(observed[j]) - 1e-9)))
        corrected[j] = worst
    return corrected


def test_all_signs_of_few_patients_are_counted() -> None:
    differences = np.random.default_rng(0).normal(0.7, 1, (7, 4))
    differences[2, 1] = np.nan  # a patient whom this metric lacks
    differences[:, 3] = 0
    signs = np.array(list(itertools.product((-1, 1), repeat=7)))
    permuted = np.array([[statistic(sign * column) for column in differences.T] for sign in signs])
    observed = np.array([statistic(column) for column in differences.T])
    found = step_down([SignFlips(differences)], np.random.default_rng(0), permutations=200, alpha=0.05)
    np.testing.assert_allclose(found.p, (np.abs(permuted) >= np.abs(observed) - 1e-9).mean(axis=0))
    np.testing.assert_allclose(found.p_corrected, stepped(observed, permuted))
    assert (found.p[3], found.p_corrected[3]) == (1, 1)


def test_it_is_the_permutation_test_of_scipy() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 8)) + np.array([[1.0], [0.0]])
    found = step_down([SignFlips((first - second)[:, None])], np.random.default_rng(0), permutations=256, alpha=0.05)

    def mean(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(x - y, axis=axis)

    expected = stats.permutation_test((first, second), mean, permutation_type="samples", vectorized=True)
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.p_corrected[0] == found.p[0]


def test_drawn_signs_come_near_all_signs() -> None:
    differences = np.random.default_rng(2).normal(0.4, 1, (12, 5))
    exact = step_down([SignFlips(differences)], np.random.default_rng(0), permutations=4096, alpha=0.05)
    drawn = step_down([SignFlips(differences)], np.random.default_rng(0), permutations=4095, alpha=0.05)
    np.testing.assert_allclose(drawn.p, exact.p, atol=0.03)
    np.testing.assert_allclose(drawn.p_corrected, exact.p_corrected, atol=0.03)
    assert drawn.critical == pytest.approx(exact.critical, abs=0.1)


def test_a_method_among_draws_by_hand() -> None:
    own, draws = np.array([5.0, 1.0]), np.array([[1.0, 3.0], [2.0, 6.0]])
    values = np.concatenate([own[:, None], draws], axis=1)
    differences = np.array([[v - np.delete(row, i).mean() for i, v in enumerate(row)] for row in values])
    block = OneAmongDraws(differences[:, :, None])
    # The first patient's method, then its second draw, each with the second patient's method.
    expected = [[statistic(np.array([3.0, -3.0]))], [statistic(np.array([0.0, -3.0]))]]
    np.testing.assert_allclose(block.chosen(np.array([[0, 0], [2, 0]])), expected)
    np.testing.assert_allclose(block.observed(), expected[0], atol=1e-12)


def test_choices_come_near_all_choices() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(size=(4, 3, 2))
    differences[:, 0] += 1
    differences -= differences.mean(axis=1, keepdims=True)
    differences[1, :, 1] = np.nan
    choices = np.array(list(itertools.product(range(3), repeat=4)))
    permuted = OneAmongDraws(differences).chosen(choices)
    by_hand = [[statistic(differences[range(4), row, k]) for k in range(2)] for row in choices]
    np.testing.assert_allclose(permuted, by_hand, atol=1e-12)
    found = step_down([OneAmongDraws(differences)], rng, permutations=20000, alpha=0.05)
    np.testing.assert_allclose(found.p_corrected, stepped(permuted[0], permuted), atol=0.02)


def test_no_drawn_p_value_is_zero() -> None:
    differences = np.ones((30, 1)) + np.random.default_rng(0).normal(0, 0.01, (30, 1))
    found = step_down([SignFlips(differences)], np.random.default_rng(0), permutations=99, alpha=0.05)
    assert found.p[0] == found.p_corrected[0] == 1 / 100


def test_metrics_that_say_the_same_cost_nothing() -> None:
    one = np.random.default_rng(4).normal(0.8, 1, (12, 1))
    alone = step_down([SignFlips(one)], np.random.default_rng(0), permutations=4096, alpha=0.05)
    many = step_down([SignFlips(np.repeat(one, 50, 1))], np.random.default_rng(0), permutations=4096, alpha=0.05)
    np.testing.assert_allclose(many.p_corrected, alone.p[0])


def test_the_critical_value_is_that_of_the_corrected_p() -> None:
    differences = np.random.default_rng(5).normal(0.9, 1, (10, 8))
    for permutations in (1024, 999):
        found = step_down([SignFlips(differences)], np.random.default_rng(0), permutations=permutations, alpha=0.05)
        largest = np.abs(SignFlips(differences).observed()).argmax()
        value = abs(SignFlips(differences).observed()[largest])
        assert (value >= found.critical - 1e-9) == (found.p_corrected[largest] <= 0.05)
        assert 2 < found.critical < np.sqrt(10)


def test_too_few_patients_reach_no_level() -> None:
    found = step_down([SignFlips(np.ones((4, 2)))], np.random.default_rng(0), permutations=100, alpha=0.05)
    assert found.critical == np.inf
    np.testing.assert_allclose(found.p, 2 / 16)


def test_work_in_parts_gives_the_same_where_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [SignFlips(np.random.default_rng(6).normal(0.5, 1, (9, 3)))]
    whole = step_down(blocks, np.random.default_rng(0), permutations=512, alpha=0.05)
    monkeypatch.setattr(max_t, "CHUNK", 100)
    parts = step_down(blocks, np.random.default_rng(0), permutations=512, alpha=0.05)
    np.testing.assert_array_equal(whole.p_corrected, parts.p_corrected)
    assert whole.critical == parts.critical


def test_unlike_methods_must_not_share_their_choices() -> None:
    # Ten unrelated methods and twenty draws, nothing differs. SE 1.3 % of the share of studies with a false statement.
    def false(together: bool) -> float:
        found = []
        for seed in range(250):
            rng = np.random.default_rng(seed)
            values = np.concatenate([rng.normal(size=(15, 1, 10)), np.repeat(rng.normal(size=(15, 20, 1)), 10, 2)], 1)
            away = values - values.mean(axis=1, keepdims=True)
            parts = [away] if together else np.split(away, 10, axis=2)
            corrected = step_down([OneAmongDraws(part) for part in parts], rng, permutations=199, alpha=0.05)
            found.append((corrected.p_corrected <= 0.05).any())
        return float(np.mean(found))

    assert false(together=False) <= 0.05 + 3 * 0.0138
    assert false(together=True) > 0.12
