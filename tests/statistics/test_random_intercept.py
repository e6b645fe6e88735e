from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from medsaliency.statistics.random_intercept import RandomIntercept, fit

# Potthoff & Roy 1964, doi:10.1093/biomet/51.3-4.313: a distance in the skull of 16 boys, then 11 girls, at 8, 10, 12
# and 14 years; `Orthodont` of R's nlme.
DISTANCES = np.array(
    [
        *([26, 25, 29, 31], [21.5, 22.5, 23, 26.5], [23, 22.5, 24, 27.5], [25.5, 27.5, 26.5, 27], [20, 23.5, 22.5, 26]),
        *(
            [24.5, 25.5, 27, 28.5],
            [22, 22, 24.5, 26.5],
            [24, 21.5, 24.5, 25.5],
            [23, 20.5, 31, 26],
            [27.5, 28, 31, 31.5],
        ),
        *([23, 23, 23.5, 25], [21.5, 23.5, 24, 28], [17, 24.5, 26, 29.5], [22.5, 25.5, 25.5, 26], [23, 24.5, 26, 30]),
        *([22, 21.5, 23.5, 25], [21, 20, 21.5, 23], [21, 21.5, 24, 25.5], [20.5, 24, 24.5, 26], [23.5, 24.5, 25, 26.5]),
        *([21.5, 23, 22.5, 23.5], [20, 21, 21, 22.5], [21.5, 22.5, 23, 25], [23, 23, 23.5, 24], [20, 21, 22, 21.5]),
        *([16.5, 19, 19, 19.5], [24.5, 25, 28, 28]),
    ],
    dtype=float,
)
CHILDREN = np.repeat(np.arange(27), 4)
AGE = np.tile([8.0, 10, 12, 14], 27)
ONE = np.eye(1)


def orthodont() -> RandomIntercept:
    return fit(DISTANCES.reshape(-1, 1), np.column_stack([np.ones(108), AGE]), CHILDREN)


def unbalanced(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A response, a design and patients with one to five images."""
    patients = np.repeat(np.arange(25), rng.integers(1, 6, 25))
    x = rng.normal(size=len(patients)) + rng.normal(size=25)[patients]
    y = 1 + 0.5 * x + rng.normal(size=25)[patients] + rng.normal(size=len(patients))
    return y[:, None], np.column_stack([np.ones(len(x)), x]), patients


def test_the_model_is_that_of_r_nlme_on_its_documented_data() -> None:
    # lme(distance ~ age, Orthodont, random = ~ 1 | Subject): intercept 16.761111 (0.8023952), age 0.660185 (0.0616059),
    # standard deviations 2.114724 between children and 1.431592 within.
    found = orthodont()
    np.testing.assert_allclose(found.coefficients.ravel(), [16.761111, 0.660185], rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors(np.eye(2), ONE).ravel(), [0.8023952, 0.0616059], rtol=1e-5)
    within = found.covariance[0, 0]
    assert within**0.5 == pytest.approx(1.431592, rel=1e-5)
    assert (within * found.ratio) ** 0.5 == pytest.approx(2.114724, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_unequal_size_as_statsmodels(seed: int) -> None:
    y, design, patients = unbalanced(np.random.default_rng(seed))
    found = fit(y, design, patients)
    table = pd.DataFrame({"y": y[:, 0], "x": design[:, 1], "patient": patients})
    peer = smf.mixedlm("y ~ x", table, groups="patient").fit()
    between = float(peer.cov_re.iloc[0, 0])
    assert found.covariance[0, 0] == pytest.approx(peer.scale, rel=1e-3)
    assert found.ratio == pytest.approx(between / peer.scale, rel=1e-2, abs=1e-4)
    np.testing.assert_allclose(found.coefficients.ravel(), peer.fe_params, rtol=1e-3)
    # Standard errors of generalized least squares, by the full covariance matrix of the images.
    covariance = peer.scale * np.eye(len(y)) + between * (patients[:, None] == patients)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ np.linalg.solve(covariance, design))))
    np.testing.assert_allclose(found.standard_errors(np.eye(2), ONE).ravel(), errors, rtol=1e-3)


def test_one_image_a_patient_is_least_squares_with_its_exact_f_test() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 20))
    found = fit(y[:, None], np.column_stack([np.ones(20), x]), np.arange(20))
    line = stats.linregress(x, y)
    assert found.ratio == 0.0
    assert found.coefficients[1, 0] == pytest.approx(line.slope)
    test = found.test(np.array([False, True]))
    assert (test.df, test.df_error) == (1, 18)
    assert test.p == pytest.approx(line.pvalue)


def test_no_variance_between_patients_is_an_answer() -> None:
    # All patients have the same mean, so that they are more alike than chance makes them.
    y = np.tile([0.0, 1.0, 2.0], 8)[:, None]
    found = fit(y, np.ones((24, 1)), np.repeat(np.arange(8), 3))
    assert found.ratio == 0.0
    assert found.standard_errors(ONE, ONE)[0, 0] == pytest.approx(y.std(ddof=1) / np.sqrt(24))


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3])
def test_images_that_repeat_a_patient_add_nothing(noise: float) -> None:
    means = np.random.default_rng(2).normal(size=12)
    y = np.repeat(means, 2) + noise * np.tile([1.0, -1.0], 12)
    found = fit(y[:, None], np.ones((24, 1)), np.repeat(np.arange(12), 2))
    assert found.standard_errors(ONE, ONE)[0, 0] == pytest.approx(means.std(ddof=1) / np.sqrt(12), rel=1e-4)
    assert found.freedom == 11


def test_a_design_of_deficient_rank_tests_the_same() -> None:
    rng = np.random.default_rng(3)
    y, _, patients = unbalanced(rng)
    group = rng.integers(0, 3, len(patients))
    indicators = np.eye(3)[group]
    full = fit(y, np.column_stack([np.ones(len(y)), indicators[:, 1:]]), patients)
    more = fit(y, np.column_stack([np.ones(len(y)), indicators]), patients)
    assert more.rank == full.rank == 3
    first, second = full.test(np.array([False, True, True])), more.test(np.array([False, True, True, True]))
    assert (first.statistic, first.df, first.p) == pytest.approx((second.statistic, second.df, second.p), rel=1e-5)


def test_several_responses_of_one_patient_are_unlike_as_they_are() -> None:
    # Epsilon from the eigenvalues of their covariance, corrected by hand: n = 6, one group.
    responses = np.random.default_rng(4).normal(size=(6, 2)) * [1.0, 3.0]
    values = np.linalg.eigvalsh(np.cov(responses.T))
    geisser = values.sum() ** 2 / (2 * (values**2).sum())
    found = fit(responses, np.ones((6, 1)), np.arange(6))
    assert found.sphericity == pytest.approx((6 * 2 * geisser - 2) / (2 * (5 - 2 * geisser)))
    test = found.test(np.array([True]))
    assert (test.df, test.df_error) == pytest.approx((2 * found.sphericity, 10 * found.sphericity))


def test_epsilon_is_one_where_responses_outnumber_what_shows_their_covariance() -> None:
    responses = np.eye(3) - 1 / 3
    assert fit(np.column_stack([responses, 1 - responses]), np.ones((3, 1)), np.arange(3)).sphericity <= 1
    assert fit(np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]), np.ones((3, 1)), np.arange(3)).sphericity <= 1
