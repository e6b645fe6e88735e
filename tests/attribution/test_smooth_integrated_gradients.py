from __future__ import annotations

import numpy as np
import pytest
import torch

from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.smooth_integrated_gradients import SmoothIntegratedGradients
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_without_noise_it_is_integrated_gradients_at_the_same_middles(classifier, images, generators) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    maps = SmoothIntegratedGradients(samples=7, noise=0, baseline=0.3)(probe, generators(4))
    expected = IntegratedGradients(steps=7, tolerance=None, baseline=0.3)(probe, generators(4))
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_linear_model_gives_weight_times_the_mean_difference(linear, linear_images, generators) -> None:
    maps = SmoothIntegratedGradients(samples=6, noise=0.5, antithetic=False)(
        Probe(linear, linear_images, [0, 1, 2]), generators(3)
    )
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    for i, rng in enumerate(generators(3)):
        rng.permutation(6)
        spread = 0.5 * float(linear_images[i].max() - linear_images[i].min())
        noise = torch.from_numpy(rng.standard_normal((6, 2, 5, 6), dtype=np.float32)).mean(dim=0)
        torch.testing.assert_close(maps[i], (weights[i] * (linear_images[i] + spread * noise)).sum(dim=0))


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
