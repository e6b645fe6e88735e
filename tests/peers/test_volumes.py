"""Volumes against captum called directly, on a network with three-dimensional convolutions (extra `captum`)."""

from __future__ import annotations

import captum.attr as peer
import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution import make_method
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

MEAN, STD = 0.4, 0.3
SIDES = (8, 12, 16)
TARGETS = [2, 0, 1]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """With preprocessing, as a user of captum would write it."""
    module = nn.Sequential(
        nn.Conv3d(2, 6, 3, padding=1),
        nn.BatchNorm3d(6),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    draw = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return Normalized(module).eval()


class Normalized(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, volumes: Tensor) -> Tensor:
        return self.module((volumes - MEAN) / STD)


@pytest.fixture(scope="module")
def volumes() -> Tensor:
    return torch.rand(3, 2, *SIDES, generator=torch.Generator().manual_seed(1))


def ours(name: str, model: nn.Module, volumes: Tensor, **parameters: object) -> Tensor:
    classifier = Classifier(model.module, ["a", "b", "c"], channels=2, mean=MEAN, std=STD, target_layer="5")
    probe = Probe(classifier, volumes, TARGETS)
    return make_method(name, parameters)(probe, [generator(0, str(i)) for i in range(3)])


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_gradient_is_captums(model, volumes) -> None:
    theirs = peer.Saliency(model).attribute(volumes, target=TARGETS, abs=True)
    assert close(ours("gradient", model, volumes, sign="absolute"), theirs.sum(dim=1))


def test_integrated_gradients_are_captums(model, volumes) -> None:
    theirs = peer.IntegratedGradients(model).attribute(
        volumes, baselines=0.1, target=TARGETS, n_steps=200, method="riemann_middle", internal_batch_size=64
    )
    found = ours("integrated_gradients", model, volumes, baseline=0.1, steps=200, tolerance=None)
    assert close(found, theirs.sum(dim=1))


def test_occlusion_is_captums_where_windows_lie_side_by_side(model, volumes) -> None:
    """Captum takes a weighted mean where windows overlap, we the plain one: side by side there is nothing to weigh."""
    window = (2, *(side // 4 for side in SIDES))
    theirs = peer.Occlusion(model).attribute(
        volumes, window, strides=window, baselines=0.2, target=TARGETS, perturbations_per_eval=8
    )
    found = ours("occlusion", model, volumes, window=0.25, stride=0.25, baseline=0.2)
    assert close(found, theirs.mean(dim=1))


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_is_captums(model, volumes, relu) -> None:
    theirs = peer.LayerGradCam(model, model.module[5]).attribute(volumes, target=TARGETS, relu_attributions=relu)
    theirs = peer.LayerAttribution.interpolate(theirs, SIDES, interpolate_mode="trilinear")[:, 0].detach()
    assert close(ours("grad_cam", model, volumes, sign="positive" if relu else "signed"), theirs)


@pytest.mark.parametrize(
    ("name", "method"),
    [("guided_backprop", peer.GuidedBackprop), ("input_x_gradient", peer.InputXGradient)],
)
def test_so_are_others(name, method, model, volumes) -> None:
    theirs = method(model).attribute(volumes.clone().requires_grad_(), target=TARGETS).sum(dim=1).detach()
    assert close(ours(name, model, volumes), theirs)
