from __future__ import annotations

import torch
from torch import nn

from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


def test_a_linear_model_gives_weight_times_pixel(linear, linear_images, generators) -> None:
    maps = InputXGradient()(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * linear_images).sum(dim=1))


def test_absolute_sums_magnitudes_over_channels(linear, linear_images, generators) -> None:
    maps = InputXGradient(sign="absolute")(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * linear_images).abs().sum(dim=1))


def test_without_biases_a_relu_network_is_complete(generators) -> None:
    """Such a network is homogeneous of degree one: by Euler's theorem the products sum to the logit."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2, bias=False)
    )
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    classifier = Classifier(module, ["a", "b"], std=0.5)
    images = torch.rand(2, 1, 8, 8, generator=draw)
    maps = InputXGradient()(Probe(classifier, images, [0, 1]), generators(2))
    torch.testing.assert_close(maps.sum(dim=(1, 2)), classifier.logits(images).diagonal(), rtol=1e-4, atol=1e-4)
