from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_a_blur_by_hand() -> None:
    image = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[None, None]
    # One pixel of width 0.3 reaches one neighbor on each side, with exp(-1 / 0.18) of the middle's weight.
    side = torch.tensor(-1 / 0.18).exp()
    middle = 1 / (1 + 2 * side)
    line = torch.tensor([side * middle, middle, side * middle])
    expected = torch.stack([line * side * middle, line * middle])
    torch.testing.assert_close(gaussian_blur(image, 0.3)[0, 0], expected)
    assert torch.equal(gaussian_blur(image, 0), image)


def test_every_image_may_have_its_own_blur(images) -> None:
    sigmas = torch.tensor([0.0, 0.7, 3.0, 40.0])
    together = gaussian_blur(images, sigmas)
    for i, sigma in enumerate(sigmas.tolist()):
        torch.testing.assert_close(together[i : i + 1], gaussian_blur(images[i : i + 1], sigma))


def test_volumes_are_blurred_along_every_axis_as_by_scipy() -> None:
    volumes = torch.rand(2, 2, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    for volume, sigma, found in zip(volumes, (0.7, 3.0), gaussian_blur(volumes, torch.tensor([0.7, 3.0])), strict=True):
        wanted = ndimage.gaussian_filter(volume.numpy(), (0, sigma, sigma, sigma), mode="constant")
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 9])
def test_a_linear_model_gives_weight_times_what_the_blur_takes(linear, linear_images, generators, steps) -> None:
    maps = BlurIntegratedGradients(steps=steps, max_sigma=3)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    taken = linear_images - gaussian_blur(linear_images, 3)
    torch.testing.assert_close(maps, (weights * taken).sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("max_sigma", "steps"), [(4.0, 25), (50.0, 200)])
def test_a_smooth_network_is_complete(smooth, smooth_images, generators, max_sigma, steps) -> None:
    probe = Probe(smooth, smooth_images, [0, 1, 1])
    rise = probe.scores(smooth_images, range(3)) - probe.scores(gaussian_blur(smooth_images, max_sigma), range(3))
    assert float(rise.abs().min()) > 0.01
    maps = BlurIntegratedGradients(max_sigma=max_sigma, steps=steps)(probe, generators(3))
    torch.testing.assert_close(maps.sum(dim=(1, 2)), rise, rtol=0.01, atol=0)


def test_the_authors_sum_comes_to_the_same_but_needs_more_steps(smooth, smooth_images, generators) -> None:
    smooth.batch_size = 500
    probe = Probe(smooth, smooth_images, [0, 1, 1])
    exact = BlurIntegratedGradients(steps=400)(probe, generators(3))

    def error(**parameters: object) -> float:
        maps = BlurIntegratedGradients(**parameters)(probe, generators(3))
        return float((maps - exact).norm() / exact.norm())

    assert error(rule="left", steps=2000) < 0.02
    assert error(steps=25) < 0.1 * error(rule="left", steps=100)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"max_sigma": 0.0}, {"rule": "right"}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match=r"blur_integrated_gradients: expected max_sigma above 0, steps >= 1"):
        BlurIntegratedGradients(**parameters)
