"""The order of a map's pixels, and how many of them a share is: exactly k, ties in a seeded random order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medsaliency.types import FloatArray

IntArray = NDArray[np.int64]


def ascending(shares: Sequence[float]) -> bool:
    """Whether there are shares and they ascend within (0, 1), no two alike."""
    return bool(shares) and all(a < b for a, b in pairwise((0.0, *shares, 1.0)))


def chance_of_highest(saliency: FloatArray, size: int) -> NDArray[np.float64]:
    """How likely each pixel of a map (H, W) is one of the ``size`` highest, where tied ones are chosen at random."""
    lowest = np.partition(saliency, -size, axis=None)[-size]  # of the highest values
    above, tied = saliency > lowest, saliency == lowest
    left = (size - np.count_nonzero(above)) / np.count_nonzero(tied)
    chance: NDArray[np.float64] = above + left * tied
    return chance


def rank(saliency: FloatArray, rng: np.random.Generator) -> IntArray:
    """Flat indices of an (H, W) map's pixels from the most important down; equal ones in a random order.

    A value that is not a number ranks last.
    """
    shuffled = rng.permutation(saliency.size)
    order: IntArray = shuffled[np.argsort(-saliency.ravel()[shuffled], kind="stable")]
    return order


def places(ranking: IntArray) -> IntArray:
    """Place of each pixel in a ranking, 0 for the most important: the k best are those whose place is below k."""
    found = np.empty_like(ranking)
    found[ranking] = np.arange(len(ranking))
    return found


def counts(fractions: Sequence[float], pixels: int) -> IntArray:
    """How many of ``pixels`` each share is, rounded to the nearest whole number (halves to the even one)."""
    return np.round(np.asarray(fractions, dtype=np.float64) * pixels).astype(np.int64)
