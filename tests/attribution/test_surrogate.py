from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel

from medsaliency.attribution.surrogate import Surrogate, fit, kernel

FREE = 1e5
"""Variance of a constant that is as good as free."""


@pytest.fixture
def masks() -> NDArray[np.float64]:
    return np.random.default_rng(0).random((60, 6))


@pytest.fixture
def wavy(masks) -> NDArray[np.float64]:
    """Scores of all masks: a smooth function of them, and noise."""
    noise = np.random.default_rng(1).normal(size=60)
    return 3 + np.sin(3 * masks[:, 0]) + masks[:, 1] * masks[:, 2] + 0.05 * noise


def of_sklearn(model: Surrogate, kept: list[int], asked: list[int]) -> NDArray[np.float64]:
    """Scores of these masks from those."""

    def own(left: list[int], right: list[int]) -> NDArray[np.float64]:
        a, b = model.points[left], model.points[right]
        return rbf_kernel(a, b, gamma=1 / (2 * model.length**2)) + linear_kernel(a, b) + FREE

    ridge = KernelRidge(alpha=model.ridge, kernel="precomputed").fit(own(kept, kept), model.scores[kept])
    return ridge.predict(own(asked, kept))


def test_predictions_are_those_of_kernel_ridge(masks, wavy) -> None:
    model = fit(masks, wavy[:40])
    expected = of_sklearn(model, list(range(40)), list(range(40, 60)))
    np.testing.assert_allclose(model.predicted, expected, atol=1e-4)
    assert np.std(model.predicted - wavy[40:]) < 0.5 * np.std(wavy)


def test_left_out_is_what_refits_without_each_score_miss(masks, wavy) -> None:
    model = fit(masks, wavy[:40])
    without = [of_sklearn(model, [j for j in range(40) if j != i], [i])[0] for i in range(40)]
    np.testing.assert_allclose(model.left_out, wavy[:40] - without, atol=1e-4)


def test_no_other_length_or_ridge_leaves_less_out(masks, wavy) -> None:
    model = fit(masks, wavy[:40])
    own = np.mean(model.left_out**2)
    for length, ridge in [(1.0, 1e-2), (2.0, 1e-2), (4.0, 1e-2), (1.0, 1.0), (4.0, 1e-4)]:
        inverse = np.linalg.inv(kernel(model.points[:40], model.points[:40], length) + ridge * np.eye(40))
        summed = inverse.sum(axis=0)
        inverse -= np.outer(summed, summed) / summed.sum()
        assert own <= np.mean((inverse @ wavy[:40] / np.diag(inverse)) ** 2) * (1 + 1e-9)


def test_a_linear_function_of_the_mask_is_learned(masks) -> None:
    scores = 7 + masks @ np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
    model = fit(masks, scores[:40])
    np.testing.assert_allclose(model.predicted, scores[40:], atol=1e-3)


def test_the_constant_and_the_scale_of_scores_pass_through(masks, wavy) -> None:
    model, moved = fit(masks, wavy[:40]), fit(masks, 100 + 5 * wavy[:40])
    np.testing.assert_allclose(moved.predicted, 100 + 5 * model.predicted)
    factors = np.ones((60, 1))
    assert moved.spread(factors[:40], factors[40:]) == pytest.approx(5 * model.spread(factors[:40], factors[40:]))


@pytest.mark.parametrize("same", [True, False])
def test_equal_scores_are_predicted_without_doubt(masks, same) -> None:
    model = fit(np.zeros_like(masks) if same else masks, np.full(40, 2.5))
    np.testing.assert_allclose(model.predicted, 2.5)
    assert model.spread(np.ones((40, 2)), np.ones((20, 2))) == pytest.approx(0, abs=1e-9)


def test_noise_is_averaged_and_not_followed(masks) -> None:
    noise = np.random.default_rng(2).normal(size=60)
    model = fit(masks, noise[:40])
    assert model.ridge == 10
    assert np.std(model.predicted) < 0.5


def test_spreads_are_to_each_other_as_those_of_a_gaussian_process_of_sklearn(masks, wavy) -> None:
    model = fit(masks, wavy[:40])
    own = RBF(model.length) + DotProduct(1) + ConstantKernel(FREE)
    process = GaussianProcessRegressor(own, alpha=model.ridge, optimizer=None).fit(model.points[:40], wavy[:40])
    covariance = process.predict(model.points[40:], return_cov=True)[1] + model.ridge * np.eye(20)
    draw = np.random.default_rng(3)
    scored, one, other = draw.normal(size=(40, 3)), draw.normal(size=(20, 3)), draw.random((20, 3))
    expected = np.trace(one.T @ covariance @ one) / np.trace(other.T @ covariance @ other)
    assert (model.spread(scored, one) / model.spread(scored, other)) ** 2 == pytest.approx(expected, rel=1e-4)


def test_errors_are_as_large_as_said_also_where_they_add_up() -> None:
    draw = np.random.default_rng(4)
    errors = []
    for _ in range(50):
        masks = draw.random((300, 4))
        scores = np.sin(3 * masks @ draw.normal(size=(4, 3))).sum(axis=1) + 0.02 * draw.normal(size=300)
        model = fit(masks, scores[:128])
        miss = float(np.sum(scores[128:] - model.predicted))
        errors.append(miss / model.spread(np.ones((128, 1)), np.ones((172, 1))))
    assert 0.7 < np.mean(np.square(errors)) ** 0.5 < 1.3
    assert np.mean(np.abs(errors) < 1.645) >= 0.8
