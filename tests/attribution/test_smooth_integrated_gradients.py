from __future__ import annotations

import numpy as np
import pytest
import torch

from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.smooth_integrated_gradients import SmoothIntegratedGradients
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("samples", [1, 7, 25, 100])
def test_without_noise_a_linear_model_gives_weight_times_difference(samples, linear, linear_images, generators) -> None:
    maps = SmoothIntegratedGradients(samples=samples, noise=0, baseline=0.3)(
        Probe(linear, linear_images, [0, 1, 2]), generators(3)
    )
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - 0.3)).sum(dim=1))


@pytest.mark.parametrize("samples", [16, 40, 100])
def test_pairs_of_opposite_noise_cancel_in_a_linear_model(samples, linear, linear_images, generators) -> None:
    """However many pairs a part of the path has, each cancels."""
    maps = SmoothIntegratedGradients(samples=samples, noise=0.5)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * linear_images).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_a_linear_model_gives_weight_times_the_mean_difference(linear, linear_images, generators) -> None:
    maps = SmoothIntegratedGradients(samples=6, noise=0.5, antithetic=False)(
        Probe(linear, linear_images, [0, 1, 2]), generators(3)
    )
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    for i, rng in enumerate(generators(3)):
        rng.random(6)
        spread = 0.5 * float(linear_images[i].max() - linear_images[i].min())
        noise = torch.from_numpy(rng.standard_normal((6, 2, 5, 6), dtype=np.float32)).mean(dim=0)
        torch.testing.assert_close(maps[i], (weights[i] * (linear_images[i] + spread * noise)).sum(dim=0))


def test_without_noise_it_comes_near_integrated_gradients(smooth, smooth_images, generators) -> None:
    probe = Probe(smooth, smooth_images, [0, 1, 0])
    maps = SmoothIntegratedGradients(samples=400, noise=0, baseline=0.3)(probe, generators(3))
    expected = IntegratedGradients(steps=400, tolerance=None, baseline=0.3)(probe, generators(3))
    assert float((maps - expected).norm()) < 2e-3 * float(expected.norm())


def test_it_estimates_what_the_nested_sums_estimate(classifier, images, generators) -> None:
    probe = Probe(classifier, images[:1], [1])
    nested = SmoothGrad(samples=1000, of="integrated_gradients", parameters={"steps": 8, "tolerance": None})
    expected = nested(probe, generators(1))

    def error(samples: int) -> float:
        found = SmoothIntegratedGradients(samples=samples)(probe, generators(1))
        return float((found - expected).norm() / expected.norm())

    assert error(1600) < 0.06
    assert error(16) > 3 * error(1600)


@pytest.mark.parametrize("parameters", [{"samples": 0}, {"noise": -1.0}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="smooth_integrated_gradients: expected samples >= 1 and noise >= 0"):
        SmoothIntegratedGradients(**parameters)
