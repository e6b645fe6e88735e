"""Reveal an image pixel by pixel, the rest interpolated linearly on the Delaunay triangulation of what is known.

SciPy's ``griddata`` builds a triangulation from nothing for every step of a curve and every channel. Here the sets of
known pixels only grow, so one triangulation is kept and pixels are inserted (Bowyer 1981, Watson 1981), each in a few
local steps. Pixels are integers, so every geometric test is exact, with no tolerance. On a grid many points lie on one
circle and have more than one Delaunay triangulation; a different but equally valid one than Qhull's may be taken.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from medsaliency.types import FloatArray

IntArray = NDArray[np.int64]
CELL = 8
"""Side in pixels of the cells that remember a triangle nearby, from which the search for a pixel's triangle starts."""


def reveal(image: FloatArray, start: IntArray, ranking: IntArray, counts: IntArray) -> FloatArray:
    """Show the start pixels, then the best-ranked ones, interpolating the rest at each step.

    A volume (C, D, H, W) is shown slice by slice, see :func:`_reveal_volume`; the rest is said of images.

    Args:
        image: (C, H, W) float32, H and W at least 2.
        start: Flat indices of pixels known from the start; the four corners are always added.
        ranking: Flat indices of all pixels, most important first.
        counts: How many of ``ranking`` are known at each step, ascending.

    Returns:
        (1 + len(counts), C, H, W) float32: the start image, then one image a step. Known pixels are exact.

    Raises:
        ValueError: If the image is smaller than 2 x 2, ``counts`` do not ascend within the number of pixels, or a
            pixel's index lies outside the image.
    """
    *_, height, width = image.shape
    pixels = image[0].size
    if min(height, width) < 2:
        raise ValueError(f"expected an image of at least 2 x 2 pixels, got {height} x {width}")
    if len(counts) and (np.any(np.diff(counts) < 0) or counts[0] < 0 or counts[-1] > len(ranking)):
        raise ValueError(f"expected counts ascending from 0 to {len(ranking)}, got {counts.tolist()}")
    for name, indices in (("start", start), ("ranking", ranking)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < pixels:
            raise ValueError(
                f"expected {name} as flat indices from 0 to {pixels - 1} of an image of "
                f"{' x '.join(map(str, image.shape[1:]))} pixels, got {indices.min()} to {indices.max()}"
            )
    if image.ndim == 4:
        return _reveal_volume(image, start, ranking, counts)
    out = np.empty((1 + len(counts), *image.shape), dtype=np.float32)
    _reveal(np.ascontiguousarray(image, dtype=np.float32), start, ranking, counts, out)
    return out


def _reveal_volume(volume: FloatArray, start: IntArray, ranking: IntArray, counts: IntArray) -> FloatArray:
    """Each slice (H, W) filled in from its own known pixels, in its plane, its four corners among them.

    Pixels are chosen in the whole volume: of the first ``counts[t]`` of ``ranking`` each slice knows those that lie in
    it. A tetrahedral Delaunay mesh would interpolate between slices too, but points of a grid lie on common spheres by
    the hundred, slices are often further apart than pixels, and building it takes minutes. Costs the triangulations of
    D images of (H, W).

    Returns:
        (1 + len(counts), C, D, H, W) float32.
    """
    size = volume.shape[2] * volume.shape[3]
    out = np.empty((1 + len(counts), *volume.shape), dtype=np.float32)
    owner = ranking // size
    place = np.argsort(owner, kind="stable")  # slice after slice, in each the order of the ranking
    bounds = np.searchsorted(owner[place], np.arange(volume.shape[1] + 1))
    for i, plane in enumerate(volume.swapaxes(0, 1)):
        own = place[bounds[i] : bounds[i + 1]]
        first = start[start // size == i] - i * size
        out[:, :, i] = reveal(plane, first, ranking[own] - i * size, np.searchsorted(own, counts))
    return out


def fill(image: FloatArray, triangles: IntArray, known: NDArray[np.bool_]) -> FloatArray:
    """Fill an image in from its known pixels, linear within each triangle.

    Args:
        image: (C, H, W) float32.
        triangles: (T, 3) flat indices of known pixels, in any sense of turning; together they cover the image.
        known: (H * W,), the pixels that stay as they are.

    Returns:
        (C, H, W) float32.
    """
    width = image.shape[2]
    row, column = triangles // width, triangles % width
    (ay, by, cy), (ax, bx, cx) = row.T, column.T
    turned = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    vertices = np.where((turned < 0)[:, None], triangles[:, ::-1], triangles)[turned != 0]
    out = np.empty_like(image, dtype=np.float32)
    _fill(np.ascontiguousarray(image, dtype=np.float32), vertices.astype(np.int64), len(vertices), known, out)
    return out


@njit(cache=True, nogil=True)
def _reveal(image, start, ranking, counts, out):  # type: ignore[no-untyped-def]
    _, height, width = image.shape
    pixels = height * width
    vertices = np.empty((2 * pixels + 2, 3), np.int64)
    neighbors = np.empty((2 * pixels + 2, 3), np.int64)
    # The image is the convex hull: two triangles over the corners, in the sense in which _turn is positive.
    a, b, c, d = 0, width - 1, pixels - 1, pixels - width
    vertices[0] = np.array([a, b, c])
    neighbors[0] = np.array([-1, 1, -1])
    vertices[1] = np.array([a, c, d])
    neighbors[1] = np.array([-1, -1, 0])
    known = np.zeros(pixels, np.bool_)
    for corner in (a, b, c, d):
        known[corner] = True
    near = np.zeros((height // CELL + 1, width // CELL + 1), np.int64)
    work = np.full((2, pixels), -1, np.int64)
    mark = np.zeros(2 * pixels + 2, np.bool_)
    count = 2
    for pixel in start:
        count = _insert(pixel, width, vertices, neighbors, count, known, near, work, mark)
    _fill(image, vertices, count, known, out[0])
    done = 0
    for step in range(len(counts)):
        while done < counts[step]:
            count = _insert(ranking[done], width, vertices, neighbors, count, known, near, work, mark)
            done += 1
        _fill(image, vertices, count, known, out[step + 1])


@njit(cache=True, nogil=True)
def _turn(a, b, p, width):  # type: ignore[no-untyped-def]
    """Twice the signed area of pixels a, b, p: positive where p lies on the inner side of the edge from a to b."""
    ay, ax = a // width, a % width
    return (b % width - ax) * (p // width - ay) - (b // width - ay) * (p % width - ax)


@njit(cache=True, nogil=True)
def _in_circle(a, b, c, p, width):  # type: ignore[no-untyped-def]
    """Whether p lies strictly inside the circle through a, b, c; exact below images of 30,000 pixels a side."""
    py, px = p // width, p % width
    ay, ax = a // width - py, a % width - px
    by, bx = b // width - py, b % width - px
    cy, cx = c // width - py, c % width - px
    a2, b2, c2 = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    return ax * (by * c2 - cy * b2) - ay * (bx * c2 - cx * b2) + a2 * (bx * cy - cx * by) > 0


@njit(cache=True, nogil=True)
def _locate(pixel, triangle, width, vertices, neighbors):  # type: ignore[no-untyped-def]
    """Walk to the triangle that holds ``pixel``; in a Delaunay triangulation this walk always ends."""
    while True:
        moved = False
        for i in range(3):
            if _turn(vertices[triangle, (i + 1) % 3], vertices[triangle, (i + 2) % 3], pixel, width) < 0:
                triangle = neighbors[triangle, i]
                moved = True
                break
        if not moved:
            return triangle


@njit(cache=True, nogil=True)
def _insert(pixel, width, vertices, neighbors, count, known, near, work, mark):  # type: ignore[no-untyped-def]
    """Add a pixel to the triangulation and return the number of triangles; nothing changes if it is known."""
    if known[pixel]:
        return count
    known[pixel] = True
    row, column = pixel // width // CELL, pixel % width // CELL
    first = _locate(pixel, near[row, column], width, vertices, neighbors)
    # The cavity: all triangles whose circle holds the pixel. They are connected.
    cavity = [first]
    mark[first] = True
    edges = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    reached = 0
    while reached < len(cavity):
        triangle = cavity[reached]
        reached += 1
        for i in range(3):
            other = neighbors[triangle, i]
            if other >= 0 and mark[other]:
                continue
            if other >= 0 and _in_circle(vertices[other, 0], vertices[other, 1], vertices[other, 2], pixel, width):
                mark[other] = True
                cavity.append(other)
            else:
                edges.append((vertices[triangle, (i + 1) % 3], vertices[triangle, (i + 2) % 3], other))
    for triangle in cavity:
        mark[triangle] = False
    # Its outline is joined to the pixel. An edge on the image's border that the pixel splits gives no triangle.
    starts, ends = work[0], work[1]
    used = 0
    for a, b, other in edges:
        if _turn(a, b, pixel, width) == 0:
            continue
        if used < len(cavity):
            triangle = cavity[used]
        else:
            triangle = count
            count += 1
        used += 1
        vertices[triangle, 0], vertices[triangle, 1], vertices[triangle, 2] = pixel, a, b
        neighbors[triangle, 0] = other
        if other >= 0:
            for i in range(3):
                if vertices[other, (i + 1) % 3] == b and vertices[other, (i + 2) % 3] == a:
                    neighbors[other, i] = triangle
        starts[a], ends[b] = triangle, triangle
        near[row, column] = triangle
    for a, b, _ in edges:
        triangle = starts[a]
        if triangle >= 0 and vertices[triangle, 1] == a and vertices[triangle, 2] == b:
            neighbors[triangle, 1] = starts[b]
            neighbors[triangle, 2] = ends[a]
    for a, b, _ in edges:
        starts[a], starts[b], ends[a], ends[b] = -1, -1, -1, -1
    return count


@njit(cache=True, nogil=True)
def _fill(image, vertices, count, known, out):  # type: ignore[no-untyped-def]
    """Write the image: known pixels as they are, the others linear within their triangle."""
    channels, height, width = image.shape
    for channel in range(channels):
        for pixel in range(height * width):
            if known[pixel]:
                out[channel, pixel // width, pixel % width] = image[channel, pixel // width, pixel % width]
    for triangle in range(count):
        a, b, c = vertices[triangle, 0], vertices[triangle, 1], vertices[triangle, 2]
        area = _turn(a, b, c, width)
        top = min(a // width, b // width, c // width)
        bottom = max(a // width, b // width, c // width)
        left = min(a % width, b % width, c % width)
        right = max(a % width, b % width, c % width)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                pixel = y * width + x
                if known[pixel]:
                    continue
                in_a, in_b, in_c = (
                    _turn(b, c, pixel, width),
                    _turn(c, a, pixel, width),
                    _turn(a, b, pixel, width),
                )
                if in_a < 0 or in_b < 0 or in_c < 0:
                    continue
                for channel in range(channels):
                    out[channel, y, x] = (
                        in_a * image[channel, a // width, a % width]
                        + in_b * image[channel, b // width, b % width]
                        + in_c * image[channel, c // width, c % width]
                    ) / area
