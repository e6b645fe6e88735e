from __future__ import annotations

import torch

from medsaliency.attribution.gradient import Gradient
from medsaliency.model.probe import Probe


def test_the_gradient_of_a_linear_model_is_its_weights(linear, linear_images, generators) -> None:
    maps = Gradient()(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    torch.testing.assert_close(maps, linear.module[1].weight.detach().reshape(3, 2, 5, 6).sum(dim=1))


def test_absolute_sums_magnitudes_over_channels(linear, linear_images, generators) -> None:
    maps = Gradient(sign="absolute")(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    torch.testing.assert_close(maps, linear.module[1].weight.detach().reshape(3, 2, 5, 6).abs().sum(dim=1))
