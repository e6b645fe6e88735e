from __future__ import annotations

import numpy as np
import pytest
from skimage import segmentation

from medsaliency.attribution.felzenszwalb import felzenszwalb

SCALES = (50, 100, 250, 1200)


def scikit_image(image: np.ndarray, sigma: float, fewest: int) -> np.ndarray:
    found = [segmentation.felzenszwalb(image, scale=scale, sigma=sigma, min_size=fewest) for scale in SCALES]
    return np.stack(found)


def noise(channels: int, seed: int) -> np.ndarray:
    """Smooth enough for segments of many sizes, and no two edges alike."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, size=(20, 30, channels))
    fine = np.random.default_rng(seed + 1).normal(scale=0.02, size=(60, 90, channels))
    return coarse.repeat(3, axis=0).repeat(3, axis=1) + fine


def test_flat_rectangles_are_segments() -> None:
    image = np.zeros((20, 30, 1))
    image[:12, 10:] = 3.0
    image[12:, 10:] = 5.0
    expected = np.zeros((20, 30), np.int64)
    expected[:12, 10:] = 1
    expected[12:, 10:] = 2
    labels = felzenszwalb(image, SCALES, sigma=0, fewest=1)
    assert labels.shape == (4, 20, 30)
    assert all(np.array_equal(each, expected) for each in labels)


def test_a_segment_too_small_joins_its_most_similar_neighbor() -> None:
    image = np.zeros((20, 30, 1))
    image[:, 15:] = 4.0
    image[8:10, 14:16] = 3.0
    (labels,) = felzenszwalb(image, [50], sigma=0, fewest=5)
    expected = np.zeros((20, 30), np.int64)
    expected[:, 15:] = 1
    expected[8:10, 14:16] = 1
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_scikit_image(channels, seed) -> None:
    image = noise(channels, seed)
    ours = felzenszwalb(image, SCALES, sigma=0.8, fewest=15)
    np.testing.assert_array_equal(ours, scikit_image(image, sigma=0.8, fewest=15))
    assert len(np.unique(ours[0])) > len(np.unique(ours[-1])) > 1


@pytest.mark.parametrize("seed", range(4))
def test_equal_edges_keep_their_order(seed, monkeypatch) -> None:
    image = noise(1, seed).round(1)  # few values: most edges have equals
    ours = felzenszwalb(image, SCALES, sigma=0, fewest=15)
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda costs: sort(costs, kind="stable"))
    np.testing.assert_array_equal(ours, scikit_image(image, sigma=0, fewest=15))
