from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.smoothgrad_squared import SmoothGradSquared
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_a_linear_model_gives_its_squared_weights(linear, linear_images, generators) -> None:
    maps = SmoothGradSquared(samples=3)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, weights.square().sum(dim=1))


def test_one_sample_without_noise_is_the_squared_gradient(classifier, images, generators) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    maps = SmoothGradSquared(samples=1, noise=0)(probe, generators(4))
    torch.testing.assert_close(maps, probe.input_gradients.square().sum(dim=1), rtol=1e-4, atol=1e-6)


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(MedsaliencyError, match="expected samples >= 1 and noise >= 0"):
        SmoothGradSquared(samples=0)
