from __future__ import annotations

import numpy as np
import pytest
import torch

from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients, blur_path
from medsaliency.attribution.smooth_blur_integrated_gradients import SmoothBlurIntegratedGradients
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("samples", [1, 7, 25, 100])
def test_without_noise_a_linear_model_gives_weight_times_all_that_blur_takes(
    samples, linear, linear_images, generators
) -> None:
    """The pieces of a part of the path add up to it, however many they are."""
    probe = Probe(linear, linear_images, [0, 1, 2])
    maps = SmoothBlurIntegratedGradients(samples=samples, noise=0, max_sigma=6)(probe, generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    taken = linear_images.double() - gaussian_blur(linear_images.double(), 6)
    torch.testing.assert_close(maps, (weights * taken.float()).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_without_noise_it_comes_near_blur_integrated_gradients(smooth, smooth_images, generators) -> None:
    probe = Probe(smooth, smooth_images, [0, 1, 0])
    maps = SmoothBlurIntegratedGradients(samples=400, noise=0, max_sigma=6)(probe, generators(3))
    expected = BlurIntegratedGradients(steps=400, max_sigma=6)(probe, generators(3))
    assert float((maps - expected).norm()) < 5e-3 * float(expected.norm())


def test_a_linear_model_gives_weight_times_what_is_taken_of_each_copy(linear, linear_images, generators) -> None:
    maps = SmoothBlurIntegratedGradients(samples=4, noise=0.5)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    path = blur_path(50, 4, "midpoint", torch.device("cpu"))
    for i, rng in enumerate(generators(3)):
        rng.random(4)
        spread = 0.5 * float(linear_images[i].max() - linear_images[i].min())
        first, second = torch.from_numpy(rng.standard_normal((2, 2, 5, 6), dtype=np.float32))
        copies = linear_images[i] + spread * torch.stack([first, -first, second, -second])
        taken = gaussian_blur(copies, path.sharper) - gaussian_blur(copies, path.blurrier)
        torch.testing.assert_close(maps[i], (weights[i] * taken.sum(dim=0)).sum(dim=0), rtol=1e-4, atol=1e-5)


def test_it_estimates_what_the_nested_sums_estimate(smooth, smooth_images, generators) -> None:
    smooth.batch_size = 400
    probe = Probe(smooth, smooth_images[:1], [0])
    nested = SmoothGrad(samples=200, of="blur_integrated_gradients", parameters={"steps": 60})
    expected = nested(probe, generators(1))

    def error(samples: int) -> float:
        found = SmoothBlurIntegratedGradients(samples=samples)(probe, generators(1))
        return float((found - expected).norm() / expected.norm())

    assert error(1600) < 0.03
    assert error(32) > 4 * error(1600)


@pytest.mark.parametrize("parameters", [{"samples": 0}, {"noise": -1.0}, {"max_sigma": 0.0}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="smooth_blur_integrated_gradients: expected samples >= 1, noise >= 0"):
        SmoothBlurIntegratedGradients(**parameters)
