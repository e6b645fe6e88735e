from __future__ import annotations

import math

import numpy as np
import pytest

from medsaliency.statistics.reliability import auroc, icc


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
