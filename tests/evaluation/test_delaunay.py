from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import griddata
from scipy.spatial import Delaunay

from medsaliency.evaluation.delaunay import reveal

NONE = np.empty(0, np.int64)


def show(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image with only ``known`` (flat indices) and the corners shown."""
    return reveal(image.astype(np.float32), known.astype(np.int64), NONE, NONE)[0]


def corners(height: int, width: int) -> np.ndarray:
    return np.array([0, width - 1, height * width - width, height * width - 1])


def in_circle(a: np.ndarray, b: np.ndarray, c: np.ndarray, p: np.ndarray) -> int:
    """Above 0 where integer point p is strictly inside the circle through a, b, c; 0 on it; exact."""
    rows = [[int(q[0] - p[0]), int(q[1] - p[1])] for q in (a, b, c)]
    (ax, ay), (bx, by), (cx, cy) = rows
    a2, b2, c2 = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    determinant = ax * (by * c2 - cy * b2) - ay * (bx * c2 - cx * b2) + a2 * (bx * cy - cx * by)
    turn = (int(b[0]) - int(a[0])) * (int(c[1]) - int(a[1])) - (int(b[1]) - int(a[1])) * (int(c[0]) - int(a[0]))
    return determinant * (1 if turn > 0 else -1)


def is_unique(points: np.ndarray) -> bool:
    """Whether no four points around an edge of Qhull's triangulation lie on one circle."""
    triangulation = Delaunay(points)
    for triangle, neighbors in zip(triangulation.simplices, triangulation.neighbors, strict=True):
        for neighbor in neighbors[neighbors >= 0]:
            (opposite,) = set(triangulation.simplices[neighbor]) - set(triangle)
            if in_circle(*points[triangle], points[opposite]) == 0:
                return False
    return True


def test_it_equals_scipy_where_the_triangulation_is_unique() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(400):
        height, width = rng.integers(20, 90, size=2)
        known = np.union1d(rng.choice(height * width, size=rng.integers(3, 25), replace=False), corners(height, width))
        points = np.stack(np.unravel_index(known, (height, width)), axis=1)
        if not is_unique(points):
            continue
        image = rng.random((2, height, width)).astype(np.float32)
        rows, columns = np.mgrid[:height, :width]
        expected = np.stack([griddata(points, channel.ravel()[known], (rows, columns)) for channel in image])
        # Off the convex hull by rounding, griddata has no value for some pixels of the border.
        np.testing.assert_allclose(show(image, known)[~np.isnan(expected)], expected[~np.isnan(expected)], atol=1e-5)
        assert np.isnan(expected).mean() < 0.1
        compared += 1
    assert compared >= 50


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, np.ndarray]:
    height, width = draw(st.integers(2, 24)), draw(st.integers(2, 24))
    known = draw(st.lists(st.integers(0, height * width - 1), max_size=60))
    return draw(st.integers(1, 3)), height, width, np.array(known, dtype=np.int64)


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_linear_images_are_exact_whatever_is_known(case: tuple[int, int, int, np.ndarray]) -> None:
    channels, height, width, known = case
    rows, columns = np.mgrid[:height, :width] / 32
    image = np.stack([k + 0.7 * rows - (k + 1) * 0.3 * columns for k in range(channels)]).astype(np.float32)
    np.testing.assert_allclose(show(image, known), image, atol=1e-5)


@given(case=cases(), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_known_pixels_are_exact_and_the_others_lie_between(case: tuple[int, int, int, np.ndarray], seed: int) -> None:
    channels, height, width, known = case
    image = np.random.default_rng(seed).random((channels, height, width)).astype(np.float32)
    shown = show(image, known).reshape(channels, -1)
    at = np.union1d(known, corners(height, width))
    assert np.array_equal(shown[:, at], image.reshape(channels, -1)[:, at])
    assert np.isfinite(shown).all()
    values = image.reshape(channels, -1)[:, at]
    assert (shown >= values.min(axis=1, keepdims=True) - 1e-6).all()
    assert (shown <= values.max(axis=1, keepdims=True) + 1e-6).all()


@given(
    height=st.integers(2, 14),
    width=st.integers(2, 14),
    step=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_interpolated_in_a_delaunay_triangle(height: int, width: int, step: int, seed: int) -> None:
    """One channel a known pixel, 1 there and 0 elsewhere, shows the weights with which each pixel was interpolated."""
    rng = np.random.default_rng(seed)
    lattice = np.arange(height * width).reshape(height, width)[::step, ::step].ravel()  # many pixels on one circle
    known = np.union1d(rng.permutation(lattice)[: rng.integers(1, 20)], corners(height, width))
    image = np.zeros((len(known), height * width), np.float32)
    image[np.arange(len(known)), known] = 1
    weights = show(image.reshape(-1, height, width), rng.permutation(known)).reshape(len(known), -1)
    points = np.stack(np.unravel_index(known, (height, width)), axis=1)
    places = np.stack(np.unravel_index(np.arange(height * width), (height, width)), axis=1)
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(weights.T @ points, places, atol=1e-4)
    assert weights.min() >= 0
    for pixel in range(height * width):
        support = np.flatnonzero(weights[:, pixel] > 0)
        assert len(support) <= 3
        if len(support) == 3:
            assert all(in_circle(*points[support], point) <= 0 for point in points)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_steps_only_add_and_equal_starting_from_what_they_know(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((1, 9, 12)).astype(np.float32)
    start, ranking = rng.choice(108, size=5, replace=False), rng.permutation(108)
    counts = np.array([0, 3, 3, 40, 108])
    steps = reveal(image, start, ranking, counts)
    assert steps.shape == (6, 1, 9, 12)
    fixed = np.union1d(start, corners(9, 12))
    assert np.array_equal(steps[0], steps[1])
    assert np.array_equal(steps[2], steps[3])
    assert np.array_equal(steps[5], image)
    for count, shown in zip(counts, steps[1:], strict=True):
        exact = np.flatnonzero(shown.ravel() == image.ravel())
        assert set(exact) == set(fixed) | set(ranking[:count])


def test_two_pixels_a_side_are_all_corners() -> None:
    image = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    assert np.array_equal(show(image, NONE), image)


def test_the_start_alone_is_interpolated_between_the_corners() -> None:
    image = np.zeros((1, 3, 5), np.float32)
    image[0, :, -1] = 1
    assert np.allclose(show(image, NONE)[0], np.linspace(0, 1, 5))


@pytest.mark.parametrize("counts", [[3, 2], [-1, 2], [0, 17]])
def test_counts_that_do_not_ascend_within_the_pixels_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="counts ascending from 0 to 16"):
        reveal(np.zeros((1, 4, 4), np.float32), NONE, np.arange(16), np.array(counts))


@pytest.mark.parametrize(("start", "ranking"), [([16], [0]), ([-1], [0]), ([0], [16]), ([0], [-1])])
def test_pixels_outside_the_image_are_refused(start: list[int], ranking: list[int]) -> None:
    with pytest.raises(ValueError, match="flat indices from 0 to 15"):
        reveal(np.zeros((1, 4, 4), np.float32), np.array(start), np.array(ranking), np.array([1]))


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 4, 1)])
def test_an_image_without_area_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 x 2 pixels"):
        reveal(np.zeros(shape, np.float32), NONE, NONE, NONE)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_each_slice_of_a_volume_is_shown_as_an_image_of_its_own_known_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = rng.random((2, 4, 7, 9)).astype(np.float32)
    start, ranking = rng.choice(252, size=9, replace=False), rng.permutation(252)
    counts = np.array([0, 5, 60, 252])
    found = reveal(volume, start, ranking, counts)
    assert found.shape == (5, 2, 4, 7, 9)
    assert np.array_equal(found[4], volume)
    place, pixel = np.divmod(np.arange(252), 63)
    for step, chosen in enumerate([ranking[:0], *(ranking[:count] for count in counts)]):
        for i in range(4):
            own = [int(pixel[k]) for k in (*start, *chosen) if place[k] == i]
            expected = reveal(volume[:, i], np.array(own, dtype=np.int64), NONE, NONE)[0]
            exact = found[step][:, i] == volume[:, i]
            known = np.isin(np.arange(63), [*own, *corners(7, 9)]).reshape(7, 9)
            assert np.array_equal(exact.all(axis=0), known)
            # The same pixels put in in another order may share their circles out to other triangles.
            if is_unique(np.argwhere(known)):
                np.testing.assert_allclose(found[step][:, i], expected, atol=1e-6)


def test_a_slice_without_a_pixel_of_its_own_stays_between_its_corners() -> None:
    volume = np.zeros((1, 2, 3, 5), np.float32)
    volume[0, :, :, -1] = 1
    volume[0, 0, 1, 2] = 9
    first, second = reveal(volume, np.array([7]), NONE, NONE)[0, 0]
    assert first[1, 2] == 9
    assert np.allclose(second, np.linspace(0, 1, 5)), "nothing is taken over from the slice beside it"


def test_a_linear_volume_is_exact_whatever_is_known() -> None:
    d, h, w = np.mgrid[:3, :8, :6] / 10
    volume = (d + 2 * h - w)[None].astype(np.float32)
    np.testing.assert_allclose(reveal(volume, np.arange(0, 144, 11), NONE, NONE)[0], volume, atol=1e-5)


def test_voxels_outside_the_volume_and_counts_beyond_it_are_refused() -> None:
    volume = np.zeros((1, 2, 4, 4), np.float32)
    with pytest.raises(ValueError, match="flat indices from 0 to 31 of an image of 2 x 4 x 4 pixels"):
        reveal(volume, np.array([32]), NONE, NONE)
    with pytest.raises(ValueError, match="counts ascending from 0 to 32"):
        reveal(volume, NONE, np.arange(32), np.array([3, 33]))
    with pytest.raises(ValueError, match="at least 2 x 2 pixels"):
        reveal(np.zeros((1, 4, 1, 4), np.float32), NONE, NONE, NONE)
