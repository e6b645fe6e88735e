import numpy as np
import pytest

from medsaliency.statistics import detectable as module
from medsaliency.statistics.detectable import detectable, permutation_critical, signed_rank_critical
from medsaliency.statistics.signed_rank import signed_rank
from medsaliency.types import generator


def normal(patients: int) -> np.ndarray:
    """Differences that are as normal, and as free of a mean, as so many can be."""
    values = np.random.default_rng(patients).normal(size=(2000, patients))
    values = np.sort(values, axis=1).mean(axis=0)
    return np.asarray(values / values.std())


def rejected(values: np.ndarray, level: float) -> float:
    """Share of samples (S, P) that are significant and in favor."""
    p, correlation = signed_rank(values)
    return float(np.mean((p <= level) & (correlation > 0)))


@pytest.mark.parametrize("patients", [1, 4, 5, 6, 9, 30])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_critical_values_are_those_of_the_exact_test(patients: int, level: float) -> None:
    critical = signed_rank_critical(patients, level)
    assert critical.shape == (patients + 1,)
    ranks = np.arange(1.0, patients + 1)
    rng = np.random.default_rng(0)
    samples = np.where(rng.random((300, patients)) < np.linspace(0.5, 1, 300)[:, None], ranks, -ranks)
    statistic = np.abs(samples.sum(axis=1)) / np.sqrt((ranks**2).sum())
    assert ((statistic >= critical[-1] - 1e-9) == (signed_rank(samples)[0] <= level)).all()


@pytest.mark.parametrize(("patients", "level"), [(30, 0.05), (60, 0.05), (60, 0.05 / 66)])
def test_new_normal_samples_of_the_difference_are_shown_as_often_as_asked(patients: int, level: float) -> None:
    least = detectable(normal(patients), signed_rank_critical(patients, level), generator(0, "power"))
    samples = np.random.default_rng(1).normal(least, 1, size=(1500, patients))
    assert rejected(samples, level) == pytest.approx(0.8, abs=0.06)


def test_more_power_and_a_stricter_level_need_a_larger_difference() -> None:
    values, critical = normal(30), signed_rank_critical(30, 0.05)
    usual = detectable(values, critical, generator(0, "power"))
    assert detectable(values, critical, generator(0, "power"), power=0.95) > 1.2 * usual
    assert detectable(values, critical, generator(0, "power"), power=0.5) < 0.8 * usual
    assert detectable(values, signed_rank_critical(30, 0.001), generator(0, "power")) > 1.2 * usual


@pytest.mark.parametrize("scale", [1e-6, 7.0])
def test_it_is_in_the_units_of_the_differences_and_has_no_sign(scale: float) -> None:
    values, critical = np.random.default_rng(0).normal(0.1, 1, 20), signed_rank_critical(20, 0.05)
    usual = detectable(values, critical, generator(0, "power"))
    assert detectable(-scale * values, critical, generator(0, "power")) == pytest.approx(scale * usual)


@pytest.mark.parametrize("scores", ["ranks", "values"])
def test_ties_are_no_evidence(scores: module.Scores) -> None:
    # 60 patients, of whom 2 differ. A shift by any constant would be shown at once. To be significant, 6 patients of
    # one sign and none of the other are needed; so the mean must be well above 6 / 60, for power.
    values = np.zeros(60)
    values[:2] = [1, -1]
    critical = signed_rank_critical(60, 0.05) if scores == "ranks" else np.full(61, np.sqrt(6))
    least = detectable(values, critical, generator(0, "power"), scores=scores)
    assert 0.1 < least < 0.2
    rng = np.random.default_rng(0)
    chances = [0.002, 1 - 0.004 - least, least + 0.002]
    assert rejected(rng.choice([-1.0, 0.0, 1.0], p=chances, size=(2000, 60)), 0.05) == pytest.approx(0.8, abs=0.1)


def test_a_bounded_difference_stays_in_its_bounds() -> None:
    values = np.array([1.0, -1, 1, -1, 1, -1])
    assert 0.8 < detectable(values, signed_rank_critical(6, 0.05), generator(0, "power")) <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(30),
        np.arange(1.0, 6.0),  # five patients reach no p-value below 2 / 32
        np.array([2.0]),
    ],
)
def test_where_it_cannot_be_said_it_is_undefined(values: np.ndarray) -> None:
    assert np.isnan(detectable(values, signed_rank_critical(len(values), 0.05), generator(0, "power")))


def test_a_statistic_that_no_sample_reaches_is_undefined() -> None:
    values = np.random.default_rng(0).normal(size=9)
    assert np.isnan(detectable(values, np.full(10, 3.01), generator(0, "power"), scores="values"))
    assert np.isnan(detectable(values, np.full(10, np.inf), generator(0, "power"), scores="values"))
    assert detectable(values, np.full(10, 2.9), generator(0, "power"), scores="values") > 0


def test_values_in_place_of_ranks_are_students_test() -> None:
    from statsmodels.stats.power import TTestPower

    critical, values = permutation_critical(30, 0.05), normal(30)
    found = [detectable(values, critical, generator(seed, "power"), scores="values") for seed in range(20)]
    expected = TTestPower().solve_power(nobs=30, alpha=0.05, power=0.8)
    # A little less: thirty values have no far tails for the tilt to reach.
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("patients", "level"), [(16, 0.01), (30, 0.001)])
def test_flipped_signs_reach_the_critical_value_as_often_as_the_level_says(patients: int, level: float) -> None:
    # Means over samples with a difference, such as are simulated.
    samples = np.random.default_rng(0).normal(0.8, 1, (20, patients))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(20000, patients))
    reached = np.abs(signs @ samples.T) / np.sqrt((samples**2).sum(axis=1)) >= permutation_critical(patients, level)[-1]
    assert reached.mean() == pytest.approx(level, rel=0.3)


def test_permutation_critical_values_by_hand() -> None:
    # 2.0452 is the 97.5 % quantile of t with 29 degrees of freedom; 2 / 2^6 is the first below 0.05.
    critical = permutation_critical(30, 0.05)
    assert critical.shape == (31,)
    assert np.isinf(critical).tolist() == [True] * 6 + [False] * 25
    np.testing.assert_allclose(critical[6:], 2.0452 * np.sqrt(30 / (29 + 2.0452**2)), rtol=1e-4)
    for patients, level in ((1, 0.05), (10, 0.0), (10, 2 / 1025)):
        assert np.isinf(permutation_critical(patients, level)).all()
