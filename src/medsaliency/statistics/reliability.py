"""How far repeated measurements agree, and how far a number tells two groups apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from medsaliency.statistics.bootstrap import (
    Floats,
    bca_interval,
    intraclass_correlation,
    widened_quantile,
)
from medsaliency.statistics.resampling import Patients, resampled_sums
from medsaliency.types import generator

ROUNDING = 1e-20
"""Squares that vary by less than this share of themselves are equal but for rounding."""
COLUMNS = ["metric", "source", "repeats", "images", "icc", "low", "high", "reason"]


def reliability(
    repeats: pd.DataFrame, *, source: str, seed: int, draws: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """How far scores come out alike when a study is repeated: ICC(2,1) of each metric over the repeats.

    What is measured repeatedly is the score of one method's map of one image. Maps without a value in every repeat are
    left out. The interval is over patients, and takes the repeats as they are.

    Args:
        repeats: Columns sample, patient, method, metric, repeat (a number), value.
        source: What differs between repeats, such as ``seed`` or ``retrained``; copied to the result.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns metric, source, repeats, images (with a map that counts), icc (see :func:`icc`), low, high, reason (why
        icc is undefined; empty where it is defined); in order of first appearance.
    """
    rows = []
    for metric, group in repeats.groupby("metric", sort=False):
        table = group.pivot(index=["sample", "method"], columns="repeat", values="value")
        count = table.shape[1]
        table = table.dropna()
        samples = table.index.get_level_values("sample")
        patients = group.drop_duplicates("sample").set_index("sample")["patient"].loc[samples]
        values, reason = table.to_numpy(dtype=np.float64), ""
        if count < 2:
            reason = "a single repeat"
        elif len(values) < 2:
            reason = f"maps with a value in every repeat: {len(values)}, at least 2 needed"
        elif np.ptp(values) == 0:
            reason = "scores do not vary"
        limits = (np.nan,) * 3
        if not reason:
            rng = generator(seed, "reliability", source, str(metric))
            limits = _interval(values, patients, rng, draws, level)
        rows.append((metric, source, count, samples.nunique(), *limits, reason))
    return pd.DataFrame(rows, columns=COLUMNS)


def _interval(
    values: Floats, patients: ArrayLike, rng: np.random.Generator, draws: int, level: float
) -> tuple[float, float, float]:
    """ICC of the (n, k) values with its limits over patients."""
    owner, features = Patients.of(patients), _features(values)
    drawn, left = (_icc(sums, values.shape[1]) for sums in resampled_sums(features, owner, rng, draws))
    estimate = _icc(np.ones((1, len(values))) @ features, values.shape[1])
    correlation = intraclass_correlation(values.mean(axis=1), patients)
    quantile = float(widened_quantile(patients, level, correlation=correlation))
    found = bca_interval(float(estimate[0]), drawn, left, level, quantile=quantile)
    return found.value, found.low, found.high


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
    return float(weighted_icc(table, np.ones((1, len(table))))[0])


def weighted_icc(values: Floats, weights: Floats) -> Floats:
    """:func:`icc` for every row of ``weights``: each thing counts as often as its weight says.

    Args:
        values: (n, k), finite.
        weights: (B, n), at least 0.

    Returns:
        (B,), NaN as for :func:`icc`, where things of weight 0 do not count.
    """
    return _icc(weights @ _features(values), values.shape[1])


def _features(values: Floats) -> Floats:
    """What :func:`_icc` needs the sums of, (n, 5 + k): 1, mean, mean squared, squares, squares at first, values."""
    if not values.size:
        return np.zeros((len(values), 5 + values.shape[1]))
    # Taking off the mean changes no sum of squares, and loses no digits in them.
    table = values - values.mean()
    mean = table.mean(axis=1)
    own = (np.ones(len(values)), mean, mean**2, (table**2).sum(axis=1), (values**2).sum(axis=1))
    return np.column_stack([*own, table])


def _icc(sums: Floats, k: int) -> Floats:
    """:func:`icc` of k measurements from each row of sums (B, 5 + k) of :func:`_features`: (B,)."""
    n, means, squares, total, size = sums[:, :5].T
    result = np.full(len(sums), np.nan)
    if k < 2:
        return result
    with np.errstate(invalid="ignore", divide="ignore"):  # fewer than two things: taken out below
        center = k * means**2 / n
        total = total - center
        things = k * squares - center
        repeats = (sums[:, 5:] ** 2).sum(axis=1) / n - center
        between = things / (n - 1)
        error = np.maximum(total - things - repeats, 0) / ((n - 1) * (k - 1))
        below = between + (k - 1) * error + k * (repeats / (k - 1) - error) / n
    varies = total > ROUNDING * size
    np.divide(between - error, below, out=result, where=(n >= 2) & varies & (below > 0))
    return result
