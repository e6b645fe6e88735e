"""Gradient, SmoothGrad and Integrated Gradients against PAIR's `saliency` on real images (extra `test`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import saliency.core as pair
from scipy.stats import spearmanr
from torch import Tensor

from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.integrated_gradients import path_sum
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.attribution.smoothgrad_squared import SmoothGradSquared
from medsaliency.model.probe import Probe
from medsaliency.types import generator

CallModel = Callable[[int], Callable[..., dict[str, np.ndarray]]]


def assert_agree(ours: Tensor, theirs: list[np.ndarray]) -> None:
    """Relative error at most 1e-3 and Spearman at least 0.999, of each image."""
    for mine, other in zip(ours.numpy(), theirs, strict=True):
        assert np.linalg.norm(mine - other) <= 1e-3 * np.linalg.norm(other)
        assert spearmanr(mine.ravel(), other.ravel()).statistic >= 0.999


def theirs(probe: Probe, run: Callable[[int, np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """PAIR's map of each image (H, W, 1), without its only channel."""
    return [run(i, np.moveaxis(image.numpy(), 0, -1))[..., 0] for i, image in enumerate(probe.images)]


def test_gradient(probe: Probe, call_model: CallModel) -> None:
    peer = pair.GradientSaliency()
    assert_agree(Gradient()(probe, []), theirs(probe, lambda i, image: peer.GetMask(image, call_model(i))))


def test_integrated_gradients_at_the_same_points(probe: Probe, call_model: CallModel) -> None:
    # PAIR takes the mean over evenly spaced points, both ends included; ours are middles. Here at PAIR's points.
    mean = path_sum(probe, [0, 1, 2], 0.0, np.linspace(0, 1, 25), np.full(25, 1 / 25))
    peer = pair.IntegratedGradients()
    assert_agree(
        (mean * probe.images).sum(dim=1),
        theirs(probe, lambda i, image: peer.GetMask(image, call_model(i), x_steps=25, batch_size=25)),
    )


@pytest.mark.parametrize(("ours", "magnitude"), [(SmoothGrad, False), (SmoothGradSquared, True)])
def test_smoothgrad_with_the_same_noise(
    probe: Probe, call_model: CallModel, monkeypatch: pytest.MonkeyPatch, ours: type[SmoothGrad], magnitude: bool
) -> None:
    maps = ours(samples=6, noise=0.15, antithetic=False)(probe, [generator(i) for i in range(3)])

    def run(i: int, image: np.ndarray) -> np.ndarray:
        noise = iter(generator(i).standard_normal((6, *image.shape[2:], *image.shape[:2]), dtype=np.float32))
        monkeypatch.setattr(
            np.random, "normal", lambda mean, spread, shape: mean + spread * np.moveaxis(next(noise), 0, -1)
        )
        peer = pair.GradientSaliency()
        return peer.GetSmoothedMask(image, call_model(i), stdev_spread=0.15, nsamples=6, magnitude=magnitude)

    assert_agree(maps, theirs(probe, run))
