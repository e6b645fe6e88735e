from __future__ import annotations

import numpy as np
import pytest
from skimage import segmentation

from medsaliency.attribution.felzenszwalb import felzenszwalb, neighbors

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


def kruskal(volume: np.ndarray, scale: float, fewest: int) -> np.ndarray:
    """The paper's algorithm on a volume (D, H, W), by sets of voxels that are merged, with none of our code."""
    voxels = list(np.ndindex(volume.shape))
    edges = []
    for i, one in enumerate(voxels):
        for j in range(i):
            if max(abs(a - b) for a, b in zip(one, voxels[j], strict=True)) == 1:
                edges.append((abs(volume[one] - volume[voxels[j]]), i, j))
    segments = {i: frozenset([i]) for i in range(len(voxels))}
    within = dict.fromkeys(segments.values(), 0.0)

    def merge(a: frozenset[int], b: frozenset[int], cost: float) -> None:
        within[a | b] = cost
        segments.update(dict.fromkeys(a | b, a | b))

    for cost, i, j in sorted(edges):
        a, b = segments[i], segments[j]
        if a is not b and cost < min(within[s] + scale / 255 / len(s) for s in (a, b)):
            merge(a, b, cost)
    for cost, i, j in sorted(edges):
        a, b = segments[i], segments[j]
        if a is not b and min(len(a), len(b)) < fewest:
            merge(a, b, cost)
    found: list[frozenset[int]] = []
    for i in range(len(voxels)):
        if segments[i] not in found:
            found.append(segments[i])
    return np.reshape([found.index(segments[i]) for i in range(len(voxels))], volume.shape)


@pytest.mark.parametrize("seed", range(3))
def test_volumes_are_segmented_as_the_paper_says(seed) -> None:
    coarse = np.random.default_rng(seed).uniform(-1, 1, size=(2, 3, 2)).repeat(3, 0).repeat(2, 1).repeat(4, 2)
    volume = coarse + np.random.default_rng(seed + 1).normal(scale=0.02, size=coarse.shape)
    ours = felzenszwalb(volume[..., None], (50, 400), sigma=0, fewest=5)
    for labels, scale in zip(ours, (50, 400), strict=True):
        np.testing.assert_array_equal(labels, kruskal(volume, scale, fewest=5))
    assert len(np.unique(ours[0])) > len(np.unique(ours[1])) > 1


def test_a_volume_of_one_slice_is_segmented_as_the_image() -> None:
    image = noise(2, seed=0)
    volume = felzenszwalb(image[:, None], SCALES, sigma=0.8, fewest=15)
    assert volume.shape == (4, 60, 1, 90)
    np.testing.assert_array_equal(volume[:, :, 0], felzenszwalb(image, SCALES, sigma=0.8, fewest=15))


@pytest.mark.parametrize(("axes", "count"), [(2, 4), (3, 13)])
def test_every_two_pixels_that_touch_are_neighbors_once(axes, count) -> None:
    place = np.stack(np.meshgrid(*(np.arange(n) for n in (3, 4, 5)[:axes]), indexing="ij"), axis=-1)
    pairs = neighbors(axes)
    assert len(pairs) == count
    found = [pair for one, other in pairs for pair in zip(rows(place[one]), rows(place[other]), strict=True)]
    every = list(np.ndindex(place.shape[:-1]))
    expected = {
        frozenset((a, b)) for a in every for b in every if max(abs(x - y) for x, y in zip(a, b, strict=True)) == 1
    }
    assert {frozenset(pair) for pair in found} == expected
    assert len(found) == len(expected)


def rows(places: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(place) for place in places.reshape(-1, places.shape[-1]).tolist()]
