"""ROAD against Gildenblat's `grad-cam`, whose imputation is the authors' own (extra `test`), with the noise off."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics import perturbation_confidence as confidence
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy import ndimage
from torch import nn

from medsaliency.evaluation.road import ROAD, grid_laplacian, impute
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

TARGETS = [2, 0, 1]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [0, 4])
def test_imputation(share, width) -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((3, 40, 33)), (0, 2, 2)).astype(np.float32)
    value = ndimage.gaussian_filter(rng.random((40, 33)), width)  # scattered pixels, then spots that touch the rim
    removed = value <= np.quantile(value, share)
    theirs = NoisyLinearImputer(noise=0)(torch.from_numpy(image), torch.from_numpy(~removed).float())
    np.testing.assert_allclose(impute(image, removed, grid_laplacian(40, 33)), theirs.numpy(), atol=2e-5)


@pytest.fixture
def network() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    draw = torch.Generator().manual_seed(0)
    for values in module.parameters():
        values.data = torch.randn(values.shape, generator=draw)
    return module.eval()


def test_the_metric(network) -> None:
    images = torch.rand(3, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    # No two pixels alike, within [0, 1], where the peer's reversal of a map is exact enough to keep that.
    maps = torch.stack([torch.randperm(400, generator=torch.Generator().manual_seed(i)) / 512 for i in range(3)])
    maps = maps.reshape(3, 20, 20)
    fractions = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    percentiles = [
        round(100 * (1 - fraction)) for fraction in fractions
    ]  # a percentile of what stays, not of what goes
    theirs = ROADCombined(percentiles)
    for name, order in (("morf_averager", "Most"), ("lerf_averager", "Least")):
        remove = getattr(confidence, f"Remove{order}RelevantFirst")
        make = partial(_without_noise, remove)
        setattr(theirs, name, confidence.AveragerAcrossThresholds(make, percentiles))
    targets = [ClassifierOutputSoftmaxTarget(index) for index in TARGETS]
    expected = theirs(images, maps.numpy(), targets, network)

    probe = Probe(Classifier(network, ["a", "b", "c"]), images, TARGETS)
    scores = ROAD(fractions, noise=0)(probe, maps, [generator(0, str(i)) for i in range(3)])
    found = [score.value for score in scores["road"]]
    assert max(map(abs, found)) > 0.01
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def _without_noise(remove, percentile: int) -> confidence.PerturbationConfidenceMetric:
    return confidence.PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0)))
