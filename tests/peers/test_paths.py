"""Guided and Blur Integrated Gradients against PAIR's `saliency` on real images (extra `test`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import saliency.core as pair
from scipy import ndimage
from scipy.stats import spearmanr
from torch import Tensor

from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients
from medsaliency.attribution.guided_integrated_gradients import GuidedIntegratedGradients
from medsaliency.model.probe import Probe

CallModel = Callable[[int], Callable[..., dict[str, np.ndarray]]]


def assert_agree(
    probe: Probe, call_model: CallModel, maps: Tensor, peer: pair.CoreSaliency, **parameters: object
) -> None:
    """Relative error at most 1e-3 and Spearman at least 0.999 for each image."""
    for i, (image, mine) in enumerate(zip(probe.images.double().numpy(), maps.numpy(), strict=True)):
        theirs = peer.GetMask(np.moveaxis(image, 0, -1), call_model(i), **parameters)[..., 0]
        assert np.linalg.norm(mine - theirs) <= 1e-3 * np.linalg.norm(theirs)
        assert spearmanr(mine.ravel(), theirs.ravel()).statistic >= 0.999


@pytest.fixture
def quantile(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 2.4 has dropped the name of the argument that PAIR passes."""
    original = np.quantile
    monkeypatch.setattr(np, "quantile", lambda values, q, interpolation: original(values, q, method=interpolation))


@pytest.mark.usefixtures("quantile")
def test_guided_integrated_gradients(probe: Probe, call_model: CallModel) -> None:
    maps = GuidedIntegratedGradients(steps=25, fraction=0.5, max_dist=1.0)(probe, [])
    assert_agree(probe, call_model, maps, pair.GuidedIG(), x_steps=25, fraction=0.5, max_dist=1.0)


@pytest.mark.usefixtures("quantile")
def test_guided_integrated_gradients_near_the_line_from_gray(probe: Probe, call_model: CallModel) -> None:
    maps = GuidedIntegratedGradients(steps=12, fraction=0.1, max_dist=0.02, baseline=0.5)(probe, [])
    gray = np.full((*probe.images.shape[2:], 1), 0.5)
    assert_agree(probe, call_model, maps, pair.GuidedIG(), x_baseline=gray, x_steps=12, fraction=0.1, max_dist=0.02)


@pytest.mark.parametrize(("max_sigma", "steps"), [(50, 24), (5, 10)])
def test_blur_integrated_gradients_by_the_authors_sum(
    probe: Probe, call_model: CallModel, max_sigma: float, steps: int
) -> None:
    maps = BlurIntegratedGradients(rule="left", max_sigma=max_sigma, steps=steps)(probe, [])
    assert_agree(probe, call_model, maps, pair.BlurIG(), max_sigma=max_sigma, steps=steps, batch_size=steps)


@pytest.mark.parametrize("sigma", [0, 0.1, 0.4, 1, 3.7, 50])
def test_the_blur_is_scipys(one_of_each: Tensor, sigma: float) -> None:
    wide = one_of_each[:, :, :40].double()
    expected = ndimage.gaussian_filter(wide.numpy(), (0, 0, sigma, sigma), mode="constant")
    np.testing.assert_allclose(gaussian_blur(wide, sigma), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gaussian_blur(wide.float(), sigma), expected, rtol=0, atol=1e-6)
