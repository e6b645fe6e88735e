"""Guided and Blur Integrated Gradients against PAIR's `saliency` on real images (extra `test`)."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import saliency.core as pair
import torch
from PIL import Image
from scipy import ndimage
from scipy.stats import spearmanr
from torch import Tensor

from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients
from medsaliency.attribution.guided_integrated_gradients import GuidedIntegratedGradients
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build

SIZE = 64
SETS = ("brain-mri", "breast-ultrasound", "chest-xray")
MEAN, STD = 0.25, 0.2


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


@pytest.fixture(scope="module", params=["resnet18", "efficientnet_b0"])
def probe(request: pytest.FixtureRequest, images: Tensor) -> Probe:
    module = build(request.param, classes=3, seed=0, size=SIZE)
    return Probe(Classifier(module, ["a", "b", "c"], mean=MEAN, std=STD), images, [2, 0, 1])


def call_model(probe: Probe, image: int) -> Callable[..., dict[str, np.ndarray]]:
    """PAIR's view of a model, (N, H, W, C) in float64 on its side, written without our gradients."""
    target = int(probe.targets[image])

    def call(batch: np.ndarray, call_model_args: object = None, expected_keys: object = None) -> dict[str, np.ndarray]:
        given = torch.tensor(np.moveaxis(batch, -1, 1), dtype=torch.float32, requires_grad=True)
        logits = probe.classifier.module.eval()((given - MEAN) / STD)
        (gradients,) = torch.autograd.grad(logits[:, target].sum(), given)
        return {pair.INPUT_OUTPUT_GRADIENTS: np.moveaxis(gradients.numpy(), 1, -1)}

    return call


def agree(probe: Probe, maps: Tensor, peer: pair.CoreSaliency, **parameters: object) -> None:
    """Relative error at most 1e-3 and Spearman at least 0.999 for each image."""
    for i, (image, mine) in enumerate(zip(probe.images.double().numpy(), maps.numpy(), strict=True)):
        theirs = peer.GetMask(np.moveaxis(image, 0, -1), call_model(probe, i), **parameters)[..., 0]
        assert np.linalg.norm(mine - theirs) <= 1e-3 * np.linalg.norm(theirs)
        assert spearmanr(mine.ravel(), theirs.ravel()).statistic >= 0.999


@pytest.fixture
def quantile(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 2.4 has dropped the name of the argument that PAIR passes."""
    original = np.quantile
    monkeypatch.setattr(np, "quantile", lambda values, q, interpolation: original(values, q, method=interpolation))


@pytest.mark.usefixtures("quantile")
def test_guided_integrated_gradients(probe: Probe) -> None:
    maps = GuidedIntegratedGradients(steps=25, fraction=0.5, max_dist=1.0)(probe, [])
    agree(probe, maps, pair.GuidedIG(), x_steps=25, fraction=0.5, max_dist=1.0)


@pytest.mark.usefixtures("quantile")
def test_guided_integrated_gradients_near_the_line_from_gray(probe: Probe) -> None:
    maps = GuidedIntegratedGradients(steps=12, fraction=0.1, max_dist=0.02, baseline=0.5)(probe, [])
    gray = np.full((SIZE, SIZE, 1), 0.5)
    agree(probe, maps, pair.GuidedIG(), x_baseline=gray, x_steps=12, fraction=0.1, max_dist=0.02)


@pytest.mark.parametrize(("max_sigma", "steps"), [(50, 24), (5, 10)])
def test_blur_integrated_gradients_by_the_authors_sum(probe: Probe, max_sigma: float, steps: int) -> None:
    maps = BlurIntegratedGradients(rule="left", max_sigma=max_sigma, steps=steps)(probe, [])
    agree(probe, maps, pair.BlurIG(), max_sigma=max_sigma, steps=steps, batch_size=steps)


@pytest.mark.parametrize("sigma", [0, 0.1, 0.4, 1, 3.7, 50])
def test_the_blur_is_scipys(images: Tensor, sigma: float) -> None:
    wide = images[:, :, :40].double()
    expected = ndimage.gaussian_filter(wide.numpy(), (0, 0, sigma, sigma), mode="constant")
    np.testing.assert_allclose(gaussian_blur(wide, sigma), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gaussian_blur(wide.float(), sigma), expected, rtol=0, atol=1e-6)
