"""How well the model classifies, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import (
    Floats,
    bca_interval,
    groups_left_out,
    intraclass_correlation,
    widened_quantile,
)
from medsaliency.statistics.resampling import Patients, Times
from medsaliency.types import generator

BINS = 15
"""Equal-width bins of the confidence for the calibration error (Guo et al. 2017, arXiv:1706.04599)."""
GROUPS = 300
"""Most jackknife values; with more patients these are left out in groups, see :func:`leave_one_out`."""
CHUNK = 2**18
"""Weights of images that are multiplied at a time (2 MB), so that many draws of many images fit into memory."""


def performance(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    stratified: bool = False,
) -> dict[str, Any]:
    """Accuracy, macro F1, AUROC of each class, expected calibration error and the confusion matrix.

    Args:
        predictions: Columns patient, label, predicted (class indices) and p_0 ... p_{K-1}.
        classes: K names.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at.
        stratified: Whether patients are drawn within true classes.

    Returns:
        ``images``, ``patients``, ``accuracy``, ``macro_f1``, ``expected_calibration_error`` (each value, low, high),
        ``auroc`` (the same for each class; NaN for one that has no image, or all), ``confusion`` (rows true, columns
        predicted), ``level``. An interval is NaN where its number is undefined without one of the patients, or of the
        groups of patients that stand for them where there are more than :data:`GROUPS`.
    """
    label, predicted = (predictions[name].to_numpy() for name in ("label", "predicted"))
    probability = predictions[[f"p_{k}" for k in range(len(classes))]].to_numpy(dtype=np.float64)
    right = label == predicted
    interval = _intervals(predictions, seed, draws, level, stratified)
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (label, predicted), 1)
    return {
        "images": len(label),
        "patients": int(predictions["patient"].nunique()),
        "accuracy": interval(lambda weights: weights @ right / weights.sum(axis=1)),
        "macro_f1": interval(lambda weights: macro_f1(label, predicted, weights, len(classes))),
        "expected_calibration_error": interval(partial(calibration_error, _confidence(predictions), right)),
        "auroc": {name: interval(partial(auroc, label == k, probability[:, k])) for k, name in enumerate(classes)},
        "confusion": confusion.tolist(),
        "level": level,
    }


def expected_calibration_error(
    predictions: pd.DataFrame, *, seed: int, draws: int = 2000, level: float = 0.95, stratified: bool = False
) -> dict[str, float]:
    """That of :func:`performance` by itself, with the same arguments: value, low, high."""
    right = (predictions["label"] == predictions["predicted"]).to_numpy()
    interval = _intervals(predictions, seed, draws, level, stratified)
    return interval(partial(calibration_error, _confidence(predictions), right))


def _intervals(
    predictions: pd.DataFrame, seed: int, draws: int, level: float, stratified: bool
) -> Callable[[Callable[[Floats], Floats]], dict[str, float]]:
    """What gives a statistic of the images' weights, (B, n) to (B,), its interval over patients."""
    label, patients = predictions["label"].to_numpy(), predictions["patient"]
    strata = label if stratified else None
    owner = Patients.of(patients, strata)
    # The estimate itself is the draw in which every patient counts once.
    every = np.ones((1, owner.count))
    left = groups_left_out(owner, groups=GROUPS, rng=generator(seed, "jackknife"))
    alone = np.full((draws, 1), np.nan)  # a single patient, who shows no spread
    times = owner.draw(generator(seed, "bootstrap"), draws) if owner.count > 1 else alone
    # How much patients of unequal size count follows, for all numbers, from how alike they are in being right.
    correlation = intraclass_correlation(label == predictions["predicted"].to_numpy(), patients)
    quantile = float(widened_quantile(patients, level, correlation=correlation, strata=strata))

    def interval(statistic: Callable[[Floats], Floats]) -> dict[str, float]:
        estimate, drawn, jackknife = (_in_chunks(statistic, each, owner) for each in (every, times, left))
        found = bca_interval(float(estimate[0]), drawn, jackknife, level, quantile=quantile)
        return {"value": found.value, "low": found.low, "high": found.high}

    return interval


def _confidence(predictions: pd.DataFrame) -> Floats:
    """The probability of the predicted class, (n,)."""
    classes = predictions.filter(regex=r"^p_\d+$").shape[1]
    probability = predictions[[f"p_{k}" for k in range(classes)]].to_numpy(dtype=np.float64)
    return np.asarray(probability[np.arange(len(predictions)), predictions["predicted"].to_numpy()])


def _in_chunks(statistic: Callable[[Floats], Floats], times: Floats | Times, owner: Patients) -> Floats:
    """``statistic`` of the images' weights for every row of ``times`` (B, P), so many rows at a time as is little."""
    images = owner.of_image
    rows = max(1, CHUNK // max(len(images), 1))
    parts = (times[start : start + rows][:, images].astype(np.float64) for start in range(0, len(times), rows))
    return np.concatenate([statistic(weights) for weights in parts])


def macro_f1(label: np.ndarray, predicted: np.ndarray, weights: Floats, classes: int) -> Floats:
    """Mean over classes of F1, for every row of ``weights`` (B, n); a class neither present nor predicted is left out.

    Returns:
        (B,) in [0, 1].
    """
    f1 = np.full((len(weights), classes), np.nan)
    for k in range(classes):
        true, chosen = label == k, predicted == k
        hits, total = weights @ (true & chosen), weights @ true + weights @ chosen
        np.divide(2 * hits, total, out=f1[:, k], where=total > 0)
    known = np.isfinite(f1)
    mean = np.full(len(weights), np.nan)
    np.divide(np.where(known, f1, 0).sum(axis=1), known.sum(axis=1), out=mean, where=known.any(axis=1))
    return mean


def auroc(positive: np.ndarray, score: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve for every row of ``weights`` (B, n): the weighted share of pairs ranked right.

    Ties count half. NaN where a row has no positive or no negative.

    Returns:
        (B,) in [0, 1].
    """
    order = np.argsort(score, kind="stable")
    first = np.unique(score[order], return_index=True)[1]
    above = np.add.reduceat((weights * positive)[:, order], first, axis=1)
    below = np.add.reduceat((weights * ~positive)[:, order], first, axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    ranked = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
    area = np.full(len(weights), np.nan)
    np.divide(ranked, pairs, out=area, where=pairs > 0)
    return area


def calibration_error(confidence: Floats, correct: np.ndarray, weights: Floats) -> Floats:
    """Expected calibration error for every row of ``weights`` (B, n): the mean gap of confidence and accuracy in bins.

    Returns:
        (B,) in [0, 1].
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    member = bins[:, None] == np.arange(BINS)
    gap = np.abs(weights @ (member * (correct - confidence)[:, None]))
    return np.asarray(gap.sum(axis=1) / weights.sum(axis=1))
