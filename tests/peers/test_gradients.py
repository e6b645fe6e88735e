"""Gradient, SmoothGrad and Integrated Gradients against PAIR's `saliency` on real images (extra `test`)."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import saliency.core as pair
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.integrated_gradients import path_sum
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.attribution.smoothgrad_squared import SmoothGradSquared
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build
from medsaliency.types import generator

SIZE = 64
SETS = ("brain-mri", "breast-ultrasound", "chest-xray")
ARCHITECTURES = ("resnet18", "efficientnet_b0")


@pytest.fixture(scope="module")
def images(real_data: Path) -> Tensor:
    """One image of each set, (3, 1, H, W) in [0, 1]."""
    found = []
    for name in SETS:
        with (real_data / name / "manifest.csv").open() as file:
            row = next(csv.DictReader(file))
        with Image.open(real_data / name / row["image"]) as image:
            found.append(np.asarray(image.convert("L").resize((SIZE, SIZE)), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(found)[:, None])


@pytest.fixture(scope="module", params=ARCHITECTURES)
def probe(request: pytest.FixtureRequest, images: Tensor) -> Probe:
    module = build(request.param, classes=3, seed=0, size=SIZE)
    return Probe(Classifier(module, ["a", "b", "c"], mean=0.25, std=0.2), images, [2, 0, 1])


def call_model(probe: Probe, image: int) -> Callable[..., dict[str, np.ndarray]]:
    """PAIR's view of a model, (N, H, W, C) in float64 on its side, written without our gradients."""
    target = int(probe.targets[image])

    def call(batch: np.ndarray, call_model_args: object = None, expected_keys: object = None) -> dict[str, np.ndarray]:
        given = torch.tensor(np.moveaxis(batch, -1, 1), dtype=torch.float32, requires_grad=True)
        logits = probe.classifier.module.eval()((given - 0.25) / 0.2)
        (gradients,) = torch.autograd.grad(logits[:, target].sum(), given)
        return {pair.INPUT_OUTPUT_GRADIENTS: np.moveaxis(gradients.numpy(), 1, -1)}

    return call


def agree(ours: Tensor, theirs: list[np.ndarray]) -> None:
    """Relative error at most 1e-3 and Spearman at least 0.999, of each image."""
    for mine, other in zip(ours.numpy(), theirs, strict=True):
        assert np.linalg.norm(mine - other) <= 1e-3 * np.linalg.norm(other)
        assert spearmanr(mine.ravel(), other.ravel()).statistic >= 0.999


def theirs(probe: Probe, run: Callable[[int, np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """PAIR's map of each image (H, W, 1), without its only channel."""
    return [run(i, np.moveaxis(image.numpy(), 0, -1))[..., 0] for i, image in enumerate(probe.images)]


def test_gradient(probe: Probe) -> None:
    peer = pair.GradientSaliency()
    agree(Gradient()(probe, []), theirs(probe, lambda i, image: peer.GetMask(image, call_model(probe, i))))


def test_integrated_gradients_at_the_same_points(probe: Probe) -> None:
    # PAIR takes the mean over evenly spaced points, both ends included; ours are middles. Here at PAIR's points.
    mean = path_sum(probe, [0, 1, 2], 0.0, np.linspace(0, 1, 25), np.full(25, 1 / 25))
    peer = pair.IntegratedGradients()
    agree(
        (mean * probe.images).sum(dim=1),
        theirs(probe, lambda i, image: peer.GetMask(image, call_model(probe, i), x_steps=25, batch_size=25)),
    )


@pytest.mark.parametrize(("ours", "magnitude"), [(SmoothGrad, False), (SmoothGradSquared, True)])
def test_smoothgrad_with_the_same_noise(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, ours: type[SmoothGrad], magnitude: bool
) -> None:
    maps = ours(samples=6, noise=0.15, antithetic=False)(probe, [generator(i) for i in range(3)])

    def run(i: int, image: np.ndarray) -> np.ndarray:
        noise = iter(generator(i).standard_normal((6, 1, SIZE, SIZE), dtype=np.float32))
        monkeypatch.setattr(
            np.random, "normal", lambda mean, spread, shape: mean + spread * np.moveaxis(next(noise), 0, -1)
        )
        peer = pair.GradientSaliency()
        return peer.GetSmoothedMask(image, call_model(probe, i), stdev_spread=0.15, nsamples=6, magnitude=magnitude)

    agree(maps, theirs(probe, run))
