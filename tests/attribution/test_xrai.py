from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medsaliency.attribution.xrai import XRAI, integrated, xrai
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.fixture
def image() -> np.ndarray:
    """Blurred noise (64, 48, 2) in [0, 1], with segments of many sizes."""
    coarse = torch.rand(1, 2, 8, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, scale_factor=8, mode="nearest")[0].permute(1, 2, 0).numpy()


@pytest.fixture
def attribution() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(64, 48, 2))


def test_the_halves_of_an_image_by_hand() -> None:
    image = np.zeros((224, 224, 1))
    image[:, 112:] = 1
    attribution = np.where(image == 1, 2.0, -1.0)
    # A Gaussian of 0.8 pixels, cut off beyond 3, leaves columns up to 108 black and those from 115 white. The white
    # segment grows by 5 columns to 110: 112 columns of 2 and 2 of -1. All others then add nothing but -1.
    expected = np.full((224, 224), -1.0)
    expected[:, 110:] = (112 * 2 - 2) / 114
    for fast in (False, True):
        np.testing.assert_allclose(xrai(image, attribution, fast=fast), expected, rtol=1e-12)


def test_a_pixel_counts_with_its_highest_channel(image, attribution) -> None:
    found = xrai(image, attribution)
    np.testing.assert_array_equal(found, xrai(image, attribution.max(axis=-1, keepdims=True)))
    assert len(np.unique(found)) > 5


def test_the_range_of_the_image_does_not_matter(image, attribution) -> None:
    # A power of two and a sum that is exact in float32, so that not a bit of the scaled image differs.
    image = (image * 256).round()
    np.testing.assert_array_equal(xrai(image * 8 - 512, attribution), xrai(image, attribution))


def test_a_constant_image_is_one_segment(attribution) -> None:
    found = xrai(np.full((64, 48, 2), 0.3), attribution)
    np.testing.assert_allclose(found, attribution.max(axis=-1).mean(), rtol=1e-12)


def test_the_halves_of_a_volume_by_hand() -> None:
    volume = np.zeros((64, 64, 64, 1))
    volume[:, :, 32:] = 1
    attribution = np.where(volume == 1, 2.0, -1.0)
    # A Gaussian of 0.8 voxels, cut off beyond 3, leaves planes up to 28 black and those from 35 white. At the smallest
    # scales each of the six between, 4,096 voxels of one gray, is a segment of its own and grows by a plane: none of
    # them mixes both sides but the two in the middle, whose own planes others have covered by then.
    for fast in (False, True):
        np.testing.assert_allclose(xrai(volume, attribution, fast=fast), attribution[..., 0], rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_an_image(image, attribution, axis) -> None:
    thin = xrai(np.expand_dims(image, axis), np.expand_dims(attribution, axis))
    np.testing.assert_array_equal(thin.squeeze(axis), xrai(image, attribution))


def test_a_bright_ball_stands_out() -> None:
    grid = np.indices((20, 24, 28))
    ball = ((grid - np.array([6, 15, 20]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 16
    volume = 0.2 + 0.6 * ball + np.random.default_rng(0).normal(scale=0.02, size=ball.shape)
    found = xrai(volume[..., None], np.where(ball, 1.0, 0.0)[..., None])
    assert roc_auc_score(ball.ravel(), found.ravel()) > 0.995
    assert found[~ball].mean() < 0.01 * found[ball].mean()


def test_an_image_too_small_for_segments_has_one_value() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 6, 1))
    np.testing.assert_allclose(xrai(*values), values[1].mean(), rtol=1e-12)


def test_a_linear_model_has_the_mean_of_both_baselines(linear, linear_images) -> None:
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    # From black a pixel's attribution is weight * x, from white it is weight * (x - 1).
    found = integrated(Probe(linear, linear_images, [0, 1, 2]), steps=4)
    torch.testing.assert_close(found, weights * (linear_images - 0.5))


@pytest.mark.parametrize("options", [{}, {"fast": True}, {"area_threshold": 0.4}])
def test_the_method_is_xrai_of_integrated_gradients(classifier, images, generators, options) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    maps = XRAI(steps=4, **options)(probe, generators(4))
    for i, (image, base) in enumerate(zip(images, integrated(probe, steps=4), strict=True)):
        wanted = xrai(image.permute(1, 2, 0).numpy(), base.permute(1, 2, 0).numpy(), **options)
        np.testing.assert_allclose(maps[i], wanted, rtol=1e-6)
        assert len(np.unique(wanted)) > 1


def test_signs(classifier, images, generators) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    signed, positive, absolute = (
        XRAI(steps=4, sign=sign)(probe, generators(4)) for sign in ("signed", "positive", "absolute")
    )
    assert float(signed.min()) < 0
    assert torch.equal(positive, signed.clamp(min=0))
    magnitude = integrated(probe, steps=4)[0].abs().permute(1, 2, 0).numpy()
    np.testing.assert_allclose(absolute[0], xrai(images[0].permute(1, 2, 0).numpy(), magnitude), rtol=1e-6)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(MedsaliencyError, match="xrai: expected steps >= 1, got 0"):
        XRAI(steps=0)
    for area in (0.0, 1.5):
        with pytest.raises(MedsaliencyError, match=f"area_threshold above 0 and up to 1, got {area}"):
            XRAI(area_threshold=area)


def test_full_and_fast_share_their_passes(classifier, images, generators, monkeypatch) -> None:
    probe = Probe(classifier, images[:1], [0])
    seen: list[int] = []
    gradients = probe.gradients

    def counted(points, owners, **options):
        seen.append(len(points))
        return gradients(points, owners, **options)

    monkeypatch.setattr(probe, "gradients", counted)
    XRAI(steps=4)(probe, generators(1))
    assert sum(seen) == 8
    XRAI(steps=4, fast=True)(probe, generators(1))
    assert sum(seen) == 8
