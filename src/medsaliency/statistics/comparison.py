"""Scores of methods: their means, each method against random on the same images, and what was left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.types import Measure, generator


def summarize(scores: pd.DataFrame, *, seed: int, draws: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """Mean and patient-bootstrap interval of each method and metric.

    Args:
        scores: Columns sample, patient, method, metric, value.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, metric, images (defined), undefined, mean, low, high; in order of first appearance.
    """
    rows = []
    for (method, metric), group in scores.groupby(["method", "metric"], sort=False):
        rng = generator(seed, "summary", str(method), str(metric))
        interval = mean_interval(group["value"], group["patient"], rng, draws=draws, level=level)
        defined = int(group["value"].notna().sum())
        rows.append((method, metric, defined, len(group) - defined, interval.value, interval.low, interval.high))
    return pd.DataFrame(rows, columns=["method", "metric", "images", "undefined", "mean", "low", "high"])


def against(
    scores: pd.DataFrame,
    reference: str,
    measures: dict[str, Measure],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Each method's difference to ``reference`` on the images where both are defined.

    Args:
        scores: Columns sample, patient, method, metric, value.
        reference: The method compared with, such as ``random``.
        measures: The direction of each metric.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, metric, images, difference (method less reference), low, high, wins (share of images on which
        the method is better, a tie counting half; NaN without images). Empty where ``reference`` was not scored.
    """
    rows = []
    for metric, group in scores.groupby("metric", sort=False):
        table = group.pivot(index="sample", columns="method", values="value")
        if reference not in table:
            continue
        patients = group.drop_duplicates("sample").set_index("sample")["patient"].reindex(table.index)
        sign = 1.0 if measures[str(metric)].higher_is_better else -1.0
        for method in group["method"].unique():
            if method == reference:
                continue
            difference = table[method] - table[reference]
            rng = generator(seed, "against", reference, str(method), str(metric))
            interval = mean_interval(difference, patients, rng, draws=draws, level=level)
            defined = difference.dropna().to_numpy(dtype=np.float64) * sign
            wins = float(((defined > 0) + 0.5 * (defined == 0)).mean()) if len(defined) else float("nan")
            rows.append((method, metric, len(defined), interval.value, interval.low, interval.high, wins))
    return pd.DataFrame(rows, columns=["method", "metric", "images", "difference", "low", "high", "wins"])


def exclusions(scores: pd.DataFrame) -> pd.DataFrame:
    """The ledger: how many images have no score of a metric for any method, by class and reason.

    An image that is undefined for some methods only is counted with the reason and how many methods it concerns.

    Args:
        scores: Columns sample, label, method, metric, value, reason.

    Returns:
        Columns metric, label, reason, images, of (images of that class), methods (how many methods are concerned, as
        the largest number on one image).
    """
    rows = []
    for (metric, label), group in scores.groupby(["metric", "label"], sort=False):
        images = group["sample"].nunique()
        missing = group[group["value"].isna()]
        for reason, part in missing.groupby("reason", sort=True):
            per_image = part.groupby("sample")["method"].nunique()
            rows.append((metric, label, reason, len(per_image), images, int(per_image.max())))
    return pd.DataFrame(rows, columns=["metric", "label", "reason", "images", "of", "methods"])
