from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medsaliency.attribution.vargrad import VarGrad
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_a_linear_model_has_no_variance(linear, linear_images, generators) -> None:
    maps = VarGrad(samples=5)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    torch.testing.assert_close(maps, torch.zeros(3, 5, 6), rtol=0, atol=1e-5)


def test_the_variance_is_the_unbiased_one_of_the_drawn_gradients(generators) -> None:
    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x**2).sum(dim=(1, 2, 3))[:, None].repeat(1, 2)

    image = torch.linspace(0, 1, 12).reshape(1, 1, 3, 4)
    maps = VarGrad(samples=6, noise=0.2)(Probe(Classifier(Squares(), ["a", "b"]), image, [0]), generators(1))
    # The gradient is twice the noisy pixel, so its variance is four times that of the noise, 0.2 of a range of 1.
    noise = generators(1)[0].standard_normal((6, 3, 4), dtype=np.float32)
    torch.testing.assert_close(maps[0], torch.from_numpy(4 * 0.04 * noise.var(axis=0, ddof=1)), rtol=1e-3, atol=1e-5)


def test_one_sample_has_no_variance() -> None:
    with pytest.raises(MedsaliencyError, match="vargrad: expected samples >= 2, to have a variance, got 1"):
        VarGrad(samples=1)
