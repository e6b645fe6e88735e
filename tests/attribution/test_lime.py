from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.lime import LIME
from medsaliency.attribution.superpixels import superpixels
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def shares(weights: torch.Tensor, image: torch.Tensor, segments: int, baseline: float) -> torch.Tensor:
    """What each superpixel adds to a linear score when it is shown, at its pixels."""
    numbers = superpixels(image, segments)
    of_pixels = (weights * (image - baseline)).sum(dim=0)
    sums = torch.zeros(int(numbers.max()) + 1).index_add(0, numbers.flatten(), of_pixels.flatten())
    return sums[numbers]


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_of_a_linear_model_each_superpixel_gets_its_share(linear, linear_images, generators, baseline) -> None:
    method = LIME(samples=60, segments=6, baseline=baseline, alpha=1e-6)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    for target, (found, image) in enumerate(zip(maps, linear_images, strict=True)):
        weights = linear.module[1].weight.detach()[target].reshape(2, 5, 6)
        torch.testing.assert_close(found, shares(weights, image, 6, baseline), rtol=1e-3, atol=1e-3)


def test_the_penalty_shrinks_towards_zero(linear, linear_images, generators) -> None:
    probe = Probe(linear, linear_images, [0, 1, 2])
    sizes = [
        float(LIME(samples=60, segments=6, alpha=alpha)(probe, generators(3)).abs().sum()) for alpha in (1e-6, 0.1, 1e3)
    ]
    assert sizes[0] > sizes[1] > sizes[2] == 0


def test_a_narrow_kernel_looks_near_the_image(generators) -> None:
    """The mean's fifth power is steeper at the image than far from it, where the mean is lower."""

    class Power(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 10 * (x.mean(dim=(1, 2, 3)) ** 5)[:, None].repeat(1, 2)

    image = 1 - 0.1 * torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    probe = Probe(Classifier(Power(), ["a", "b"]), image, [0])
    near, far = (LIME(samples=60, segments=6, alpha=1e-4, width=width)(probe, generators(1)) for width in (0.1, 10.0))
    assert float(near.sum()) > 1.2 * float(far.sum()) > 0


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"width": 0.0}])
def test_what_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(MedsaliencyError, match="lime: expected alpha >= 0 and width above 0"):
        LIME(**wrong)
