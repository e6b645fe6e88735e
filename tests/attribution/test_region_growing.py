from __future__ import annotations

import numpy as np
import pytest
from skimage.morphology import ball, dilation, disk

from medsaliency.attribution.region_growing import Lists, dilated, grow
from medsaliency.types import MedsaliencyError


def lists(*segments: list[int]) -> Lists:
    starts = np.cumsum([0, *(len(segment) for segment in segments)])
    return Lists(starts, np.concatenate([np.array(segment, np.int32) for segment in segments]))


def grown(values: list[float], segments: Lists, **options: float) -> list[float]:
    return grow(np.array([values]), segments, **{"fewest": 1, **options})[0].tolist()


def random_segments(rng: np.random.Generator, pixels: int) -> Lists:
    return lists(*(rng.choice(pixels, size=rng.integers(1, 12), replace=False).tolist() for _ in range(30)))


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_segments_are_dilated_by_a_disk(radius) -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 7, size=(6, 5)), rng.integers(0, 3, size=(6, 5))]).repeat(5, 1).repeat(5, 2)
    labels[0][labels[0] == 2] = 5  # a label that no pixel has
    found = dilated(labels, radius)
    wanted = [labels[0] == label for label in range(7)] + [labels[1] == label for label in range(3)]
    assert len(found.starts) == 11
    for i, mask in enumerate(wanted):
        pixels = found.items[found.starts[i] : found.starts[i + 1]]
        np.testing.assert_array_equal(np.sort(pixels), np.flatnonzero(dilation(mask, disk(radius))))


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_segments_of_a_volume_are_dilated_by_a_ball(radius) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, size=(2, 3, 4, 5)).repeat(2, 1).repeat(3, 2).repeat(2, 3)
    found = dilated(labels, radius)
    wanted = [scale == label for scale in labels for label in range(scale.max() + 1)]
    assert len(found.starts) == len(wanted) + 1
    for i, mask in enumerate(wanted):
        voxels = found.items[found.starts[i] : found.starts[i + 1]]
        np.testing.assert_array_equal(np.sort(voxels), np.flatnonzero(dilation(mask, ball(radius))))


def test_a_volume_grows_as_its_voxels_in_a_row() -> None:
    rng = np.random.default_rng(3)
    attribution = rng.normal(size=(4, 5, 6))
    segments = random_segments(rng, 120)
    found = grow(attribution, segments, fewest=2)
    np.testing.assert_array_equal(found.ravel(), grow(attribution.reshape(1, 120), segments, fewest=2)[0])


# Means of the segments over all their pixels: 11 / 3, 9 / 2 and 5 / 2.
VALUES = [1.0, 3.0, 7.0, 2.0, 2.0, 9.0]
SEGMENTS = lists([0, 1, 2], [2, 3], [1, 4])


def test_the_segment_that_adds_the_most_goes_first() -> None:
    # After the second segment, the first would add pixels 0 and 1, mean 2, and the third 1 and 4, mean 2.5.
    assert grown(VALUES, SEGMENTS) == [1.0, 2.5, 4.5, 4.5, 2.5, 9.0]


def test_fast_ranks_whole_segments() -> None:
    assert grown(VALUES, SEGMENTS, fast=True) == [2.0, 2.0, 4.5, 4.5, 2.0, 9.0]


@pytest.mark.parametrize("fast", [False, True])
def test_too_little_is_not_added_and_the_rest_has_its_mean(fast) -> None:
    # Whichever of the other two comes second leaves one pixel for the last; pixel 5 is in no segment.
    rest = {False: [5.0, 2.5, 4.5, 4.5, 2.5, 5.0], True: [2.0, 2.0, 4.5, 4.5, 5.5, 5.5]}
    assert grown(VALUES, SEGMENTS, fewest=2, fast=fast) == rest[fast]


def test_the_region_stops_beyond_its_area() -> None:
    # The second segment is a third of the image, the next one brings the region to two thirds.
    for fast, values in ((False, [5.0, 2.5, 4.5, 4.5, 2.5, 5.0]), (True, [2.0, 2.0, 4.5, 4.5, 5.5, 5.5])):
        assert grown(VALUES, SEGMENTS, area=0.3, fast=fast) == [3.75, 3.75, 4.5, 4.5, 3.75, 3.75]
        assert grown(VALUES, SEGMENTS, area=0.35, fast=fast) == values


@pytest.mark.parametrize("fast", [False, True])
def test_of_equals_the_first_is_taken(fast) -> None:
    assert grown([0.0, 4.0, 0.0], lists([0, 1], [1, 2]), fast=fast) == [2.0, 2.0, 0.0]
    assert grown([0.0, 4.0, 0.0], lists([1, 2], [0, 1]), fast=fast) == [0.0, 2.0, 2.0]


def test_what_is_left_of_a_sum_is_exact() -> None:
    values = [0.1, 0.2, 0.3, 0.0, 0.0]
    assert sum(values) - 0.1 - 0.2 - 0.3 != 0
    found = grown(values, lists([0], [1], [2], [0, 1, 2, 3, 4]))
    assert found == pytest.approx(values, rel=1e-15)
    assert found[3:] == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("fast", [False, True])
def test_the_sum_of_attributions_is_kept(scale, fast) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        attribution = scale * rng.normal(size=(8, 10))
        found = grow(attribution, random_segments(rng, 80), fewest=3, fast=fast)
        assert found.sum() == pytest.approx(attribution.sum(), rel=1e-9)
        assert len(np.unique(found)) > 5


def test_without_overlap_fast_is_full() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        attribution = rng.normal(size=(8, 10))
        apart = dilated(rng.integers(0, 9, size=(1, 8, 10)), radius=0)
        full = grow(attribution, apart, fewest=3)
        np.testing.assert_array_equal(grow(attribution, apart, fewest=3, fast=True), full)
        assert len(np.unique(full)) > 5


def test_attributions_of_zero_give_zero() -> None:
    assert grown([0.0] * 6, SEGMENTS) == [0.0] * 6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad) -> None:
    with pytest.raises(MedsaliencyError, match="finite attributions"):
        grow(np.array([[1.0, bad]]), lists([0, 1]), fewest=1)
