"""Contours to masks: which pixel centers lie inside of polygons, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medsaliency.types import BoolArray

Points = NDArray[np.float64]


def inside(contours: Sequence[Points], size: tuple[int, int]) -> BoolArray:
    """The pixels whose centers lie inside of an odd number of contours.

    So a contour within another is a hole, and one that leads through a narrow channel to a hole and back along the
    same way (a keyhole) leaves the hole out and the channel in. A center right on a contour belongs to what is below it
    or to its right, so that contours that share an edge share no pixel and leave none out.

    Args:
        contours: Each (P, 2) of (row, column), pixel centers being whole numbers; the last point joins the first.
        size: (H, W).
    """
    mask = np.zeros(size, np.bool_)
    found = [_crossings(points, *size) for points in contours]
    rows, columns = (np.concatenate([pair[i] for pair in found]) if found else np.zeros(0, np.int64) for i in (0, 1))
    if not len(rows):
        return mask
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max()
    width = right - left + 1
    turns = np.bincount((rows - top) * width + columns - left, minlength=int((bottom - top) * width))
    odd = np.cumsum(turns.reshape(-1, width), axis=1) % 2 == 1
    mask[top:bottom, left:right] = odd[:, :-1]  # right of the last crossing all is outside
    return mask


def cost(points: Points, height: int) -> int:
    """How many rows of an image of that height the edges of a contour cross, all together."""
    return int(_rows(*_edges(points), height)[1].sum())


def _edges(points: Points) -> tuple[Points, Points]:
    """Upper and lower ends (P, 2) of edges, always so: a way there and back then crosses a row in one place exactly."""
    following = np.roll(points, -1, axis=0)
    down = (points[:, 0] < following[:, 0])[:, None]
    return np.where(down, points, following), np.where(down, following, points)


def _rows(upper: Points, lower: Points, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of pixel centers not above each upper end, and how many rows from there are above the lower."""
    first = np.clip(np.ceil(upper[:, 0]), 0, height).astype(np.int64)
    return first, np.clip(np.ceil(lower[:, 0]), 0, height).astype(np.int64) - first


def _crossings(points: Points, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Wherever edges cross rows of pixel centers: the row, and the first column not left of it (``width`` for none)."""
    upper, lower = _edges(points)
    first, counts = _rows(upper, lower, height)
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    upper, lower = upper[edge], lower[edge]
    across = upper[:, 1] + (rows - upper[:, 0]) * ((lower[:, 1] - upper[:, 1]) / (lower[:, 0] - upper[:, 0]))
    return rows, np.clip(np.ceil(across), 0, width).astype(np.int64)
