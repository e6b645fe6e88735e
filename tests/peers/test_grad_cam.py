"""Against Gildenblat's `grad-cam` (extra `test`)."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam as peer
import torch
from torch import Tensor, nn

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

TARGETS = [2, 1, 2, 1]


def scaled(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low)


@pytest.fixture
def module() -> nn.Sequential:
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 3),
    )
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
        module[6].weight.mul_(100)  # makes grad-cam's epsilon of 1e-6 in Grad-CAM++ vanish beside squared gradients
    return module.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("ours", "name"), [(GradCAM(), "GradCAM"), (GradCAMPlusPlus(), "GradCAMPlusPlus")])
def test_maps_equal_after_scaling(module: nn.Sequential, images: Tensor, ours: GradCAM, name: str) -> None:
    maps = ours(Probe(Classifier(module, ["a", "b", "c"], target_layer="4"), images, TARGETS), []).numpy()
    with getattr(peer, name)(model=module, target_layers=[module[4]]) as cam:
        theirs = cam(input_tensor=images, targets=[lambda logits, k=k: logits[k] for k in TARGETS])
    assert maps.std(axis=(1, 2)).min() > 0
    np.testing.assert_allclose(scaled(maps), scaled(theirs), atol=1e-4)
