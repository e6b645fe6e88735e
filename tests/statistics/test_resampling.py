"""Sums by patients are those of a matrix with a row a draw and a column an image, in little memory."""

import tracemalloc

import numpy as np
import pytest

from medsaliency.statistics import bootstrap, resampling
from medsaliency.statistics.bootstrap import leave_one_out, mean_limits, patient_weights
from medsaliency.statistics.resampling import Patients, resampled_sums

OWNER = np.repeat(np.arange(30), [1, 2, 3] * 10)
STRATA = np.repeat(np.arange(3), 20)


def multinomials(owner: Patients, rng: np.random.Generator, draws: int) -> np.ndarray:
    """All draws of a stratum in one call of NumPy."""
    times = np.empty((draws, owner.count))
    for part in owner.members:
        times[:, part] = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), size=draws)
    return times


@pytest.mark.parametrize("strata", [None, STRATA], ids=["", "in strata"])
@pytest.mark.parametrize("at_once", [1, 7, 64, 1000])
def test_draws_do_not_depend_on_how_many_are_made_at_a_time(
    strata: np.ndarray | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "AT_ONCE", at_once)
    resampling._drawn.cache_clear()
    owner = Patients.of(OWNER, strata)
    one, other = np.random.default_rng(4), np.random.default_rng(4)
    np.testing.assert_array_equal(owner.draw(one, 150), multinomials(owner, other, 150))
    assert one.bit_generator.state == other.bit_generator.state


def test_draws_that_are_kept_are_those_of_the_same_state_and_patients_only() -> None:
    owner, rng = Patients.of(OWNER), np.random.default_rng(4)
    first = owner.draw(rng, 50)
    again = np.random.default_rng(4)
    assert owner.draw(again, 50) is first
    assert again.bit_generator.state == rng.bit_generator.state
    assert not np.array_equal(owner.draw(again, 50), first)
    assert owner.draw(np.random.default_rng(4), 51).shape == (51, 30)
    assert Patients.of(OWNER[:20]).draw(np.random.default_rng(4), 50).shape[1] < 30
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


@pytest.mark.parametrize("strata", [None, STRATA], ids=["", "in strata"])
@pytest.mark.parametrize("at_once", [1, 7, 64, 1000])
def test_sums_are_those_of_weights_of_images(
    strata: np.ndarray | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "AT_ONCE", at_once)
    whole = np.random.default_rng(1).integers(-99, 99, (60, 4)).astype(np.float64)
    real = np.random.default_rng(1).normal(size=(60, 4))
    weights = patient_weights(OWNER, np.random.default_rng(2), 150, strata)
    left = leave_one_out(OWNER, strata)
    for values, tolerance in ((whole, 0.0), (real, 1e-12)):
        drawn, without = resampled_sums(values, Patients.of(OWNER, strata), np.random.default_rng(2), 150)
        np.testing.assert_allclose(drawn, weights @ values, rtol=tolerance, atol=tolerance)  # whole sums are exact
        np.testing.assert_allclose(without, left @ values, rtol=1e-12, atol=1e-12)


def test_columns_in_parts_share_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(60, 9))
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    whole = mean_limits(values, OWNER, one)
    monkeypatch.setattr(bootstrap, "COLUMNS", 120)
    parts = mean_limits(values, OWNER, other)
    np.testing.assert_allclose(np.stack(parts), np.stack(whole), rtol=1e-12)
    assert one.bit_generator.state == other.bit_generator.state


def test_one_patient_has_no_sums() -> None:
    drawn, left = resampled_sums(np.ones((3, 2)), Patients.of(list("aaa")), np.random.default_rng(0), 5)
    assert drawn.shape == (5, 2)
    assert left.shape == (1, 2)
    assert np.isnan(drawn).all()
    assert np.isnan(left).all()


def test_memory_of_an_interval_is_far_below_that_of_weights() -> None:
    values = np.random.default_rng(0).normal(size=(6000, 1))
    tracemalloc.start()
    try:
        mean_limits(values, np.repeat(np.arange(3000), 2), np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Weights of 2,000 draws are 96 MB, and those of a jackknife 144 MB; draws in bytes are 6 MB.
    assert peak < 24e6
