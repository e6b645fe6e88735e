import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.statistics import resampling
from medsaliency.statistics.bootstrap import bca_interval, patient_weights
from medsaliency.statistics.effects import cliffs_delta, effect_sizes, rank_biserial, superiority
from medsaliency.statistics.signed_rank import signed_rank

ONCE = np.ones((1, 6))


def test_by_hand() -> None:
    first = np.array([[3.0, 5.0, 1.0, 4.0, 2.0, 2.0]])
    second = np.array([[1.0, 4.0, 4.0, 4.0, 0.0, 7.0]])
    # Differences 2, 1, -3, 0, 2, -5: ranks 2.5, 1, 4, none, 2.5, 5; for 6, against 9.
    assert rank_biserial(first - second, ONCE)[0, 0] == pytest.approx(-3 / 15)
    # Of the 36 pairs 3, 5, 1, 4, 2 and 2 are above 2, 5, 1, 2, 2 and 2 of the others, and below 4, 1, 4, 1, 4 and 4.
    assert cliffs_delta(first, second, ONCE)[0, 0] == pytest.approx((14 - 18) / 36)
    assert superiority(first - second, ONCE)[0, 0] == pytest.approx((3 + 0.5) / 6)


def test_extremes() -> None:
    zeros, ones = np.zeros((1, 6)), np.ones((1, 6))
    found = effect_sizes(ones, zeros, np.random.default_rng(0), draws=200)
    assert [float(found[name].value[0]) for name in ("rank_biserial", "cliffs_delta", "superiority")] == [1, 1, 1]
    found = effect_sizes(ones, ones, np.random.default_rng(0), draws=200)
    assert [float(found[name].value[0]) for name in ("rank_biserial", "cliffs_delta", "superiority")] == [0, 0, 0.5]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_weights_are_patients_drawn_so_often(drawn: list[tuple[int, int]]) -> None:
    differences = np.array([[value for value, _ in drawn]], dtype=np.float64)
    times = [count for _, count in drawn]
    repeated = np.repeat(differences, times, axis=1)
    found = rank_biserial(differences, np.array([times], dtype=np.float64))[0, 0]
    expected = signed_rank(repeated)[1][0] if repeated.size else 0
    assert found == pytest.approx(expected)


def test_weighted_cliffs_delta_is_that_of_repeated_patients() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 3, 7)).astype(np.float64)
    times = rng.integers(0, 3, (4, 7))
    found = cliffs_delta(first, second, times.astype(np.float64))
    for b, count in enumerate(times):
        again = cliffs_delta(np.repeat(first, count, 1), np.repeat(second, count, 1), np.ones((1, count.sum())))
        np.testing.assert_allclose(found[b], again[0])


def test_intervals_are_bca_of_draws_of_patients() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.5, 1, (2, 15)), rng.normal(size=(2, 15))
    found = effect_sizes(first, second, np.random.default_rng(3), draws=300, level=0.9)
    again = patient_weights(np.arange(15), np.random.default_rng(3), 300).astype(int)
    differences = first - second
    for pair in range(2):
        drawn = [signed_rank(np.repeat(differences[pair : pair + 1], count, axis=1))[1][0] for count in again]
        jackknife = [signed_rank(np.delete(differences[pair : pair + 1], i, axis=1))[1][0] for i in range(15)]
        value = signed_rank(differences[pair : pair + 1])[1][0]
        expected = bca_interval(value, np.array(drawn), np.array(jackknife), 0.9)
        own = found["rank_biserial"]
        np.testing.assert_allclose([own.low[pair], own.high[pair]], [expected.low, expected.high], atol=1e-9)


def test_values_that_differ_by_rounding_alone_tie() -> None:
    first, second = np.full((1, 5), 0.1 + 0.2 + 0.3), np.full((1, 5), 0.3 + 0.2 + 0.1)
    found = effect_sizes(first, second, np.random.default_rng(0), draws=100)
    assert [found[name].value[0] for name in ("rank_biserial", "cliffs_delta", "superiority")] == [0, 0, 0.5]


def test_one_patient_has_no_interval() -> None:
    found = effect_sizes(np.ones((1, 1)), np.zeros((1, 1)), np.random.default_rng(0), draws=100)["rank_biserial"]
    assert found.value[0] == 1
    assert np.isnan([found.low[0], found.high[0]]).all()


def test_work_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 9, 11))
    whole = effect_sizes(first, second, np.random.default_rng(0), draws=50)
    monkeypatch.setattr(resampling, "AT_ONCE", 7)
    parts = effect_sizes(first, second, np.random.default_rng(0), draws=50)
    for name, effect in whole.items():
        np.testing.assert_array_equal(effect.low, parts[name].low)


def test_406_pairs_on_60_patients_take_less_than_2_seconds() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 406, 60))
    begin = time.process_time()
    effect_sizes(first, second, np.random.default_rng(0), draws=2000)
    assert time.process_time() - begin < 2
