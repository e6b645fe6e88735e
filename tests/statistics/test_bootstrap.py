import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.statistics.bootstrap import mean_interval, patient_weights, percentile_interval


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_images_of_a_patient_are_drawn_together_and_patients_keep_their_number(patients: list[int]) -> None:
    weights = patient_weights(patients, rng(), 20)
    if len(set(patients)) == 1:
        assert np.isnan(weights).all()
        return
    _, first, owner = np.unique(np.array(patients, dtype=str), return_index=True, return_inverse=True)
    assert weights.shape == (20, len(patients))
    np.testing.assert_array_equal(weights, weights[:, first][:, owner])
    np.testing.assert_array_equal(weights[:, first].sum(axis=1), len(first))


def test_a_constant_has_an_interval_of_no_width() -> None:
    found = mean_interval([0.25] * 6, list("aabbcc"), rng())
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_undefined_values_are_left_out_and_nothing_defined_is_undefined() -> None:
    found = mean_interval([1.0, float("nan"), 3.0], list("abc"), rng())
    assert found.value == 2.0
    assert 1.0 <= found.low <= found.high <= 3.0
    empty = mean_interval([float("nan")] * 2, list("ab"), rng())
    assert np.isnan([empty.value, empty.low, empty.high]).all()


def test_one_patient_shows_no_spread_and_gives_no_interval() -> None:
    found = mean_interval([0.2, 0.4, 0.6], list("aaa"), rng())
    assert found.value == pytest.approx(0.4)
    assert np.isnan([found.low, found.high]).all()


def test_dependent_images_widen_the_interval() -> None:
    values = np.repeat(np.linspace(0, 1, 10), 10)
    alone = mean_interval(values, [str(i) for i in range(100)], rng())
    patients = mean_interval(values, [str(i // 10) for i in range(100)], rng())
    assert patients.high - patients.low > 2 * (alone.high - alone.low)


def test_one_image_a_patient_gives_the_normal_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = mean_interval(values, [str(i) for i in range(400)], rng(), draws=5000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.015)
    assert found.high == pytest.approx(values.mean() + half, abs=0.015)


def test_values_and_patients_must_match() -> None:
    with pytest.raises(ValueError, match="one patient a value"):
        mean_interval([1.0, 2.0], ["a"], rng())


def test_percentiles_are_those_of_the_defined_draws() -> None:
    drawn = np.append(np.arange(101.0), np.nan)
    found = percentile_interval(50.0, drawn, 0.9)
    assert (found.low, found.high) == pytest.approx((5.0, 95.0))
