"""How far repeated measurements agree, and how far a number tells two groups apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score


def auroc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Probability that a value of the first group lies above one of the second, ties counting half.

    Args:
        positive: (n,); NaN is left out.
        negative: (m,); NaN is left out.

    Returns:
        0 to 1, 0.5 where the groups cannot be told apart; NaN where a group has no value.
    """
    first, second = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(first) or not len(second):
        return float("nan")
    truth = np.r_[np.ones(len(first)), np.zeros(len(second))]
    return float(roc_auc_score(truth, np.concatenate([first, second])))


def icc(values: ArrayLike) -> float:
    """Intraclass correlation ICC(2,1): two-way random effects, absolute agreement, one measurement.

    Shrout & Fleiss 1979, doi:10.1037/0033-2909.86.2.420, there in the table of the six forms.

    Args:
        values: (n, k), k measurements of n things; a thing with a NaN is left out.

    Returns:
        At most 1; about 0 where repeated measurements have nothing in common. NaN with fewer than two things or two
        measurements, or where nothing varies.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < 2 or k < 2:
        return float("nan")
    mean = table.mean()
    between = k * ((table.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    runs = n * ((table.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + mean
    error = (left**2).sum() / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (runs - error) / n
    return float((between - error) / below) if below > 0 else float("nan")
