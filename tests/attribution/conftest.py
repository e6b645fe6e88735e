"""A small network and a few images for the tests of methods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.types import generator

MakeGenerators = Callable[[int], list[np.random.Generator]]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 2, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classifier() -> Classifier:
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 3)),
    )
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    return Classifier(module, ["a", "b", "c"], channels=2, mean=0.4, std=0.3)


@pytest.fixture
def generators() -> MakeGenerators:
    """Generators of the first N images, fresh at every call."""
    return lambda count: [generator(0, f"image-{i}", "method") for i in range(count)]


@pytest.fixture
def linear() -> Classifier:
    """Logits are weights times pixels: every gradient is the weights."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 6, 3))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return Classifier(module, ["a", "b", "c"], channels=2)


@pytest.fixture
def linear_images() -> Tensor:
    return torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def by_hand() -> Classifier:
    """A network small enough to be worked out on paper; see the tests of the CAM methods.

    Feature maps of a one-channel image x: A0 = relu(x), A1 = relu(0.5 - x), A2 = 0.3 everywhere. Their means go into
    logits z0 = 4 A0 - 2 A1 and z1 = -A0 + 3 A1; A2 counts for neither.
    """
    module = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, -1.0, 0.0])[:, None, None, None])
        module[0].bias.copy_(torch.tensor([0.0, 0.5, 0.3]))
        module[4].weight.copy_(torch.tensor([[4.0, -2.0, 0.0], [-1.0, 3.0, 0.0]]))
        module[4].bias.zero_()
    return Classifier(module, ["zero", "one"], target_layer="1")


@pytest.fixture
def by_hand_image() -> Tensor:
    """x, for which A1 = [[0, 0], [0.5, 0.25]]."""
    return torch.tensor([[1.0, 0.5], [0.0, 0.25]])[None, None]


@pytest.fixture
def unpooled() -> tuple[Classifier, Tensor]:
    """A network whose one feature map is the image, and an image: the gradient is [[1, 2], [-1, 3]], not one number."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        module[0].weight.fill_(1)
        module[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 3.0], [0.0, 0.0, 0.0, 0.0]]))
    image = torch.tensor([[0.5, 0.25], [0.25, -1.0]])[None, None]
    return Classifier(module, ["zero", "one"], target_layer="0"), image


@pytest.fixture
def smooth() -> Classifier:
    """A network without kinks, whose sums along a path converge fast."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 8), nn.Softplus(), nn.Linear(8, 2)
    )
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=draw))
    return Classifier(module, ["a", "b"], mean=0.2, std=0.5)


@pytest.fixture
def smooth_images() -> Tensor:
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(4))
