from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.evaluation.ranking import counts, places, rank


@given(values=st.lists(st.sampled_from([-1.0, 0.0, 0.5, math.nan]), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_ranking_descends_and_puts_what_is_no_number_last(values: list[float], seed: int) -> None:
    saliency = np.array([values], dtype=np.float32)
    order = rank(saliency, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(values)))
    ranked = saliency.ravel()[order]
    numbers = ranked[~np.isnan(ranked)]
    assert np.isnan(ranked[len(numbers) :]).all()
    assert (np.diff(numbers) <= 0).all()


def test_ties_fall_evenly() -> None:
    first = [rank(np.zeros((2, 2)), np.random.default_rng(seed))[0] for seed in range(400)]
    assert np.bincount(first, minlength=4) == pytest.approx([100] * 4, abs=35)


def test_a_place_is_where_a_pixel_stands_in_the_ranking() -> None:
    order = rank(np.array([[0.1, 0.9], [0.5, 0.3]]), np.random.default_rng(0))
    assert order.tolist() == [1, 2, 3, 0]
    assert places(order).tolist() == [3, 0, 1, 2]
    assert (places(order) < 2).tolist() == [False, True, True, False]


def test_shares_are_rounded_to_whole_pixels() -> None:
    assert counts((0.0, 0.1, 0.26, 1.0), 10).tolist() == [0, 1, 3, 10]
