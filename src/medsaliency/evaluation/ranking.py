"""The order of a map's pixels, and how many of them a share is: exactly k, ties in a seeded random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medsaliency.types import FloatArray

IntArray = NDArray[np.int64]


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
