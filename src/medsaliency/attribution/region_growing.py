"""Grow a region from the segments of an image, densest attribution first: Kapishnikov et al. 2019, arXiv:1906.02825.

Segments are lists of pixels, and every pixel knows its segments. A pixel is covered once and then leaves all of its
segments, so the whole growth costs one visit to every (segment, pixel) pair, plus one look at every segment a round.
Masks of the whole image, compared with each other in every round, would cost rounds x segments x pixels.

Sums are exact: attributions become integers, in units of 2 ** -62 of the sum of their magnitudes. What is left of a
segment has the same sum whatever was taken away before, and segments with the same pixels left tie as they should.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from medsaliency.types import MedsaliencyError

IntArray = NDArray[np.int64]
PixelArray = NDArray[np.int32]
DoubleArray = NDArray[np.float64]


class Lists(NamedTuple):
    """Many lists in one array: list i is ``items[starts[i] : starts[i + 1]]``."""

    starts: IntArray
    items: PixelArray


def dilated(labels: IntArray, radius: int) -> Lists:
    """Pixels of every segment and of all that lie within ``radius`` of it.

    Args:
        labels: (S, H, W) or (S, D, H, W), several segmentations of one image or volume, each with labels from 0. One
            without pixels gives an empty list.
        radius: Of a disk or a ball, in pixels.

    Returns:
        Flat pixel indices of each segment, all of the first segmentation first.
    """
    flat = labels.reshape(len(labels), -1)
    height, width = labels.shape[-2:]
    sides = (labels.shape[1] if labels.ndim == 4 else 1, height, width)  # an image is a volume of one slice
    axis = np.arange(-radius, radius + 1)
    ball = np.argwhere(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 <= radius**2) - radius
    ball = ball[(np.abs(ball) < sides).all(axis=1)]
    counts = flat.max(axis=1) + 1
    numbers = flat + (np.cumsum(counts) - counts)[:, None]
    order = np.argsort(flat, axis=1, kind="stable")
    return Lists(*_dilated(numbers, order, sides, int(counts.sum()), ball))


def grow(
    attribution: NDArray[np.floating], segments: Lists, *, fewest: int, fast: bool = False, area: float = 1.0
) -> DoubleArray:
    """Add segments to a region one by one and give what each adds its mean attribution.

    The segment added next is the one whose pixels outside the region have the highest mean attribution; of equals the
    first one.

    Args:
        attribution: (H, W) or (D, H, W), finite.
        segments: Pixels of each segment; segments may overlap.
        fewest: A segment that would add fewer pixels is passed over.
        fast: Add segments in the order of the mean attribution of all their pixels, wherever the region is by then.
        area: The fraction of the image beyond which the region stops.

    Returns:
        The shape of ``attribution``. Pixels that no segment covered have their common mean.

    Raises:
        MedsaliencyError: If an attribution is not finite.
    """
    values = attribution.astype(np.float64).ravel()
    if not np.isfinite(values).all():
        raise MedsaliencyError("xrai: expected finite attributions, got NaN or infinity; check the model's gradients")
    exponent = 62 - int(np.frexp(np.abs(values).sum())[1])
    integers = np.rint(np.ldexp(values, exponent)).astype(np.int64)
    owners = _transposed(*segments, len(values))
    grown = _grow(integers, *segments, *owners, fewest, fast, area)
    return np.ldexp(grown, -exponent).reshape(attribution.shape)


@njit(cache=True, nogil=True)
def _dilated(
    labels: IntArray, order: IntArray, sides: tuple[int, int, int], count: int, ball: IntArray
) -> tuple[IntArray, PixelArray]:
    """Starts and items of ``count`` segments of ``labels`` (S, P), P pixels; ``order`` (S, P) is pixels by label."""
    depth, height, width = sides
    plane = height * width
    sizes = np.zeros(count + 1, np.int64)
    items = [np.int32(0) for _ in range(0)]
    newest = np.full(depth * plane, -1)  # the last segment whose list each pixel has joined
    for scale in range(len(labels)):
        here = labels[scale]
        for pixel in order[scale]:
            segment, z, y, x = here[pixel], pixel // plane, pixel // width % height, pixel % width
            if newest[pixel] != segment:
                newest[pixel] = segment
                sizes[segment + 1] += 1
                items.append(np.int32(pixel))
            # A way from outside to the nearest pixel of the segment ends at its edge: only there balls add anything.
            if (
                (z == 0 or here[pixel - plane] == segment)
                and (z == depth - 1 or here[pixel + plane] == segment)
                and (y == 0 or here[pixel - width] == segment)
                and (y == height - 1 or here[pixel + width] == segment)
                and (x == 0 or here[pixel - 1] == segment)
                and (x == width - 1 or here[pixel + 1] == segment)
            ):
                continue
            for dz, dy, dx in ball:
                if 0 <= z + dz < depth and 0 <= y + dy < height and 0 <= x + dx < width:
                    other = pixel + dz * plane + dy * width + dx
                    if newest[other] != segment:
                        newest[other] = segment
                        sizes[segment + 1] += 1
                        items.append(np.int32(other))
    return np.cumsum(sizes), np.array(items)


@njit(cache=True, nogil=True)
def _transposed(starts: IntArray, items: PixelArray, pixels: int) -> tuple[IntArray, PixelArray]:
    """Starts and items of the segments of every pixel."""
    firsts = np.zeros(pixels + 1, np.int64)
    for pixel in items:
        firsts[pixel + 1] += 1
    firsts = np.cumsum(firsts)
    free = firsts.copy()
    owners = np.empty(len(items), np.int32)
    for segment in range(len(starts) - 1):
        for pixel in items[starts[segment] : starts[segment + 1]]:
            owners[free[pixel]] = segment
            free[pixel] += 1
    return firsts, owners


@njit(cache=True, nogil=True)
def _grow(
    values: IntArray,
    starts: IntArray,
    items: PixelArray,
    firsts: IntArray,
    owners: PixelArray,
    fewest: int,
    fast: bool,
    area: float,
) -> DoubleArray:
    """What each pixel is given, in the unit of ``values``."""
    pixels, segments = len(values), len(starts) - 1
    left = starts[1:] - starts[:-1]  # pixels of each segment outside the region, and their sum
    sums = np.zeros(segments, np.int64)
    for segment in range(segments):
        sums[segment] = values[items[starts[segment] : starts[segment + 1]]].sum()
    whole = sums / np.maximum(left, 1)
    given = np.zeros(pixels)
    covered = np.zeros(pixels, np.bool_)
    count = 0
    while count / pixels <= area:
        chosen, highest = -1, -np.inf
        for segment in range(segments):
            if left[segment] >= fewest:
                density = whole[segment] if fast else sums[segment] / left[segment]
                if density > highest:
                    chosen, highest = segment, density
        if chosen < 0:
            break
        density = sums[chosen] / left[chosen]
        for pixel in items[starts[chosen] : starts[chosen + 1]]:
            if not covered[pixel]:
                covered[pixel] = True
                count += 1
                given[pixel] = density
                for owner in owners[firsts[pixel] : firsts[pixel + 1]]:
                    left[owner] -= 1
                    sums[owner] -= values[pixel]
    if count < pixels:
        given[~covered] = values[~covered].sum() / (pixels - count)
    return given
