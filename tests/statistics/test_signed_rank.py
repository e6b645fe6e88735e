import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medsaliency.statistics.signed_rank import EXACT, signed_rank, signed_ranks

# Depression scores of nine patients at two visits, Hollander & Wolfe 1973, p. 29, as in R's help of wilcox.test.
FIRST_VISIT = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND_VISIT = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_the_example_of_r() -> None:
    (p,), (correlation,) = signed_rank(np.round(FIRST_VISIT - SECOND_VISIT, 6)[None])
    assert p == pytest.approx(2 * 0.01953125)  # R: V = 40, p-value = 0.01953, one-sided
    assert correlation == pytest.approx((40 - 5) / 45)


@pytest.mark.parametrize("patients", [1, 2, 5, 12, 40])
def test_without_ties_it_is_the_exact_test_of_scipy(patients: int) -> None:
    differences = np.random.default_rng(patients).normal(0.3, 1, size=(20, patients))
    expected = [stats.wilcoxon(row, method="exact").pvalue for row in differences]
    np.testing.assert_allclose(signed_rank(differences)[0], expected, rtol=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_with_ties_and_zeros_it_counts_all_signs(row: list[int]) -> None:
    differences = np.array(row, dtype=np.float64)
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product((-1, 1), repeat=len(ranks))])
    seen = np.dot(ranks, np.sign(differences[differences != 0]))
    (p,), (correlation,) = signed_rank(differences[None])
    assert p == pytest.approx(np.mean(np.abs(sums) >= abs(seen) - 1e-9))
    assert correlation == pytest.approx(seen / ranks.sum() if len(ranks) else 0)


def test_many_patients_are_taken_as_normal_with_ties_corrected() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(0.1, 1, EXACT + 20), rng.integers(-3, 5, 2 * EXACT).astype(float)):
        expected = stats.wilcoxon(values, method="asymptotic", correction=True, zero_method="wilcox").pvalue
        assert signed_rank(values[None])[0][0] == pytest.approx(expected)


def test_the_two_ways_agree_where_they_meet() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, EXACT)
    exact = signed_rank(values[None])[0][0]
    assert exact == pytest.approx(stats.wilcoxon(values, method="asymptotic", correction=True).pvalue, rel=0.03)


def test_ranks_have_signs_and_zeros_none() -> None:
    found = signed_ranks(np.array([[0.0, -2.0, 1.0, 2.0, -5.0]]))
    np.testing.assert_array_equal(found, [[0, -2.5, 1, 2.5, -4]])


def test_all_zero_says_nothing() -> None:
    p, correlation = signed_rank(np.zeros((1, 8)))
    assert (p[0], correlation[0]) == (1, 0)


def test_tied_scores_keep_the_level() -> None:
    # Share of 4,000 samples without any difference that are significant; SE 0.3 %.
    rng = np.random.default_rng(2)
    p, _ = signed_rank(rng.choice([-1.0, 0.0, 0.0, 1.0, 2.0, -2.0], size=(4000, 12)))
    assert 0.02 < np.mean(p <= 0.05) <= 0.055
