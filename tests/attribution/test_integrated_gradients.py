from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("steps", [1, 5, 25])
@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_a_linear_model_gives_weight_times_difference(linear, linear_images, generators, steps, baseline) -> None:
    maps = IntegratedGradients(steps=steps, baseline=baseline)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - baseline)).sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_a_smooth_network_is_complete(generators, baseline) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 8), nn.Softplus(), nn.Linear(8, 2)
    )
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=draw))
    classifier = Classifier(module, ["a", "b"], mean=0.2, std=0.5)
    images = torch.rand(3, 1, 8, 8, generator=draw)
    targets = torch.tensor([0, 1, 1])
    maps = IntegratedGradients(baseline=baseline)(Probe(classifier, images, targets), generators(3))
    rise = classifier.logits(images) - classifier.logits(torch.full_like(images, baseline))
    expected = rise.gather(1, targets[:, None])[:, 0]
    assert float(expected.abs().min()) > 0.01
    torch.testing.assert_close(maps.sum(dim=(1, 2)), expected, rtol=0, atol=1e-3)


def test_the_sum_is_exact_for_polynomials(generators) -> None:
    class Cubic(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x**4).sum(dim=(1, 2, 3))[:, None].repeat(1, 2)

    image = torch.tensor([[0.5, 1.0], [0.25, 0.0]])[None, None]
    # The gradient is a polynomial of degree 3, exact with two points: the attribution of a pixel is its x^4.
    maps = IntegratedGradients(steps=2)(Probe(Classifier(Cubic(), ["a", "b"]), image, [0]), generators(1))
    torch.testing.assert_close(maps[0], image[0, 0] ** 4)


def test_absolute_sums_magnitudes_over_channels(linear, linear_images, generators) -> None:
    maps = IntegratedGradients(absolute=True)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * linear_images).abs().sum(dim=1), rtol=1e-5, atol=1e-5)


def test_no_steps_are_refused() -> None:
    with pytest.raises(MedsaliencyError, match="steps >= 1, got 0"):
        IntegratedGradients(steps=0)
