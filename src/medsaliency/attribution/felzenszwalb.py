"""Over-segmentation at several scales: Felzenszwalb & Huttenlocher 2004, doi:10.1023/B:VISI.0000022288.19776.77.

Only merging depends on the scale, so the image is smoothed and its edges are weighed and sorted once; a scale then
costs one pass of union-find over the sorted edges. Segments and labels are those of scikit-image, whose sort leaves
the order of equal edges to the processor; here equal edges keep their order, so that segments are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

IntArray = NDArray[np.int64]
DoubleArray = NDArray[np.float64]
NEIGHBORS = (
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[1:, :], np.s_[:-1, :]),
    (np.s_[1:, 1:], np.s_[:-1, :-1]),
    (np.s_[:-1, 1:], np.s_[1:, :-1]),
)
"""Pairs of views of an image whose pixels are neighbors: right, down, and on both diagonals."""


def felzenszwalb(image: DoubleArray, scales: Sequence[float], sigma: float, fewest: int) -> IntArray:
    """Segment an image at each scale.

    Args:
        image: (H, W, C) float64.
        scales: The larger, the fewer and larger the segments.
        sigma: Standard deviation in pixels of the Gaussian that smooths the image first.
        fewest: Segments of fewer pixels are joined to a neighbor.

    Returns:
        (S, H, W) labels from 0 without gaps at each scale, numbered by each segment's first pixel in reading order.
    """
    smooth = ndimage.gaussian_filter(image, sigma=(sigma, sigma, 0), mode="reflect")
    height, width = image.shape[:2]
    pixel = np.arange(height * width).reshape(height, width)
    ends = np.stack([np.concatenate([pixel[view].ravel() for view in side]) for side in zip(*NEIGHBORS, strict=True)])
    costs = np.concatenate([np.sqrt(((smooth[a] - smooth[b]) ** 2).sum(axis=-1)).ravel() for a, b in NEIGHBORS])
    order = np.argsort(costs, kind="stable")
    ends, costs = ends[:, order], costs[order]
    # Divided by 255 as in scikit-image, where scales are meant for 8-bit values and images lie in [0, 1].
    labels = [_merge(ends, costs, height * width, scale / 255, fewest) for scale in scales]
    return np.stack(labels).reshape(len(scales), height, width)


@njit(cache=True, nogil=True)
def _root(parent: IntArray, pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True, nogil=True)
def _join(parent: IntArray, size: IntArray, a: int, b: int) -> int:
    """Join the trees of two roots under the one that is first in reading order."""
    first, other = min(a, b), max(a, b)
    parent[other] = first
    size[first] += size[other]
    return first


@njit(cache=True, nogil=True)
def _merge(ends: IntArray, costs: DoubleArray, pixels: int, scale: float, fewest: int) -> IntArray:
    """Labels (pixels,) at one scale; ``ends`` (2, E) and ``costs`` (E,) are the edges, cheapest first."""
    parent = np.arange(pixels)
    size = np.ones(pixels, np.int64)
    within = np.zeros(pixels)  # the costliest edge inside each root's segment
    apart = [0 for _ in range(0)]
    for edge in range(len(costs)):
        a, b = _root(parent, ends[0, edge]), _root(parent, ends[1, edge])
        if a == b:
            continue
        # scikit-image rounds these to single precision; so do we, since the difference decides about some edges.
        limit = min(np.float32(within[a] + scale / size[a]), np.float32(within[b] + scale / size[b]))
        if costs[edge] < limit:
            within[_join(parent, size, a, b)] = costs[edge]
        else:
            apart.append(edge)
    for edge in apart:
        a, b = _root(parent, ends[0, edge]), _root(parent, ends[1, edge])
        if a != b and min(size[a], size[b]) < fewest:
            _join(parent, size, a, b)
    labels = np.empty(pixels, np.int64)
    count = 0
    for pixel in range(pixels):
        root = _root(parent, pixel)
        if root == pixel:
            labels[pixel] = count
            count += 1
        else:
            labels[pixel] = labels[root]
    return labels
