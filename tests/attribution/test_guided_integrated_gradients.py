from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution.guided_integrated_gradients import GuidedIntegratedGradients
from medsaliency.attribution.integrated_gradients import path_sum
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


class Product(nn.Module):
    """a (1 + b) of an image of two pixels a and b, whose gradient is (1 + b, a)."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.flatten(1).unbind(1)
        return torch.stack([a * (1 + b), a], dim=1)


@pytest.mark.parametrize(
    ("max_dist", "expected"),
    [
        # From (0, 0) along the flatter b to (0, 1), where a has gradient 2, and on to (1, 1).
        (1.0, [2.0, 0.0]),
        # To (0.25, 0.75), as b may go no further; at gradient (1.75, 0.25) a catches up to 0.75, then both go to 1.
        (0.25, [0.25 + 0.75 * 1.75, 0.25 * 0.25]),
        # The straight line, at the starts of its two halves: gradients (1, 0) and (1.5, 0.5).
        (0.0, [1.25, 0.25]),
    ],
)
def test_two_pixels_worked_out_by_hand(generators, max_dist: float, expected: list[float]) -> None:
    probe = Probe(Classifier(Product(), ["a", "b"]), torch.ones(1, 1, 1, 2), [0])
    maps = GuidedIntegratedGradients(steps=2, max_dist=max_dist)(probe, generators(1))
    torch.testing.assert_close(maps, torch.tensor([[expected]]))


@pytest.mark.parametrize("parameters", [{}, {"fraction": 0.05}, {"max_dist": 0.1}, {"fraction": 1.0}, {"steps": 3}])
def test_a_linear_model_gives_weight_times_difference(linear, linear_images, generators, parameters) -> None:
    method = GuidedIntegratedGradients(baseline=0.3, **parameters)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - 0.3)).sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parameters", [{"max_dist": 0.0}, {"fraction": 1.0}])
def test_no_freedom_leaves_the_straight_line(smooth, smooth_images, generators, parameters) -> None:
    probe = Probe(smooth, smooth_images, [0, 1, 1])
    maps = GuidedIntegratedGradients(steps=5, **parameters)(probe, generators(3))
    mean = path_sum(probe, [0, 1, 2], 0.0, np.arange(5) / 5, np.full(5, 1 / 5))
    torch.testing.assert_close(maps, (mean * smooth_images).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_an_image_of_mostly_background_is_left_unguided(smooth, smooth_images, generators) -> None:
    images = smooth_images * (smooth_images > 0.75)
    assert float((images == 0).float().mean(dim=(1, 2, 3)).min()) > 0.5
    probe = Probe(smooth, images, [0, 1, 1])
    line, guided = ({"max_dist": 0.0}, {"fraction": 0.2})
    maps = [GuidedIntegratedGradients(**parameters)(probe, generators(3)) for parameters in ({}, line, guided)]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(maps[2], maps[1], rtol=0.1)


def test_it_is_complete_and_meets_less_gradient_than_the_straight_line(smooth, smooth_images, generators) -> None:
    probe = Probe(smooth, smooth_images, [0, 1, 1])
    rise = probe.scores(smooth_images, range(3)) - probe.scores(torch.zeros_like(smooth_images), range(3))
    maps = GuidedIntegratedGradients(steps=300)(probe, generators(3))
    total = maps.abs().sum(dim=(1, 2))
    assert bool(((maps.sum(dim=(1, 2)) - rise).abs() < 0.005 * total).all())
    line = GuidedIntegratedGradients(steps=300, max_dist=0)(probe, generators(3))
    assert bool((total < 0.95 * line.abs().sum(dim=(1, 2))).all())


def test_an_image_that_is_the_baseline_gets_nothing(linear, generators) -> None:
    images = torch.stack([torch.full((2, 5, 6), 0.5), torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))])
    maps = GuidedIntegratedGradients(baseline=0.5)(Probe(linear, images, [0, 1]), generators(2))
    assert float(maps[0].abs().max()) == 0
    assert float(maps[1].abs().max()) > 0


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"fraction": 0.0}, {"fraction": 1.1}, {"max_dist": -0.1}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match=r"guided_integrated_gradients: expected steps >= 1, fraction above 0"):
        GuidedIntegratedGradients(**parameters)
