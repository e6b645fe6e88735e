from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from medsaliency.evaluation.baselines import check_baseline, make_baseline
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(2, 3, 28, 20, generator=torch.Generator().manual_seed(0))


def test_the_mean_is_that_of_every_image_and_channel() -> None:
    found = make_baseline(IMAGES, "mean")
    assert found.shape == IMAGES.shape
    torch.testing.assert_close(found[1, 2], torch.full((28, 20), float(IMAGES[1, 2].mean())))


def test_black_is_black() -> None:
    assert make_baseline(IMAGES, "black").abs().max() == 0


def test_a_blur_keeps_the_brightness_and_is_as_wide_as_the_side_says() -> None:
    found = make_baseline(IMAGES, "blur", sigma=0.1)
    expected = ndimage.gaussian_filter(IMAGES[1, 2].numpy(), 2.0, mode="nearest")
    torch.testing.assert_close(found[1, 2], torch.from_numpy(expected))
    flat = torch.full((1, 1, 16, 16), 0.4)
    torch.testing.assert_close(make_baseline(flat, "blur"), flat)  # no dark rim
    assert make_baseline(IMAGES, "blur", sigma=0.5).std() < found.std() < IMAGES.std()


def test_an_unknown_baseline_is_refused() -> None:
    check_baseline("some_metric", "mean")
    with pytest.raises(MedsaliencyError, match="some_metric: expected baseline mean, blur, black, got 'gray'"):
        check_baseline("some_metric", "gray")


def test_a_volume_is_blurred_along_all_axes_by_the_shorter_side_of_its_slices() -> None:
    volumes = torch.rand(2, 1, 6, 28, 20, generator=torch.Generator().manual_seed(0))
    found = make_baseline(volumes, "blur", sigma=0.1)
    expected = ndimage.gaussian_filter(volumes[1, 0].numpy(), 2.0, mode="nearest")
    torch.testing.assert_close(found[1, 0], torch.from_numpy(expected))
    means = make_baseline(volumes, "mean")
    torch.testing.assert_close(means[0], torch.full_like(means[0], float(volumes[0].mean())))
