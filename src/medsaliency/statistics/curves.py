"""Aggregated curves: every image's curve on one grid, their mean with a band, and their median."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import Floats, mean_limits
from medsaliency.types import generator

GRID = np.linspace(0.0, 1.0, 1001)


def aggregate(
    curves: pd.DataFrame,
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    shown: int = 101,
    stratified: bool = False,
) -> pd.DataFrame:
    """Aggregate the images' curves of each method and metric.

    Args:
        curves: Columns sample, patient, method, metric, x, y; x ascending from 0 to 1; and label where ``stratified``.
        seed: Of the bootstrap over patients behind the band.
        draws: Bootstrap samples.
        level: Coverage aimed at by the band, at each x by itself, not for the curve as a whole.
        shown: Points of the returned curves; areas are taken on 1,001.
        stratified: Whether patients are drawn within classes.

    Returns:
        Columns method, metric, images, x, mean, median, low, high (lists of ``shown`` values; low and high are the
        band of the mean), auc_mean, auc_median (areas under the aggregated curves, as the literature reports them).
    """
    rows = []
    keep = np.linspace(0, len(GRID) - 1, shown).round().astype(int)
    for (method, metric), group in curves.groupby(["method", "metric"], sort=False):
        values = np.stack([_on_grid(x, y) for x, y in zip(group["x"], group["y"], strict=True)])
        mean, median = values.mean(axis=0), np.median(values, axis=0)
        strata = group["label"].astype(str) if stratified else None
        rng = generator(seed, "bootstrap")
        _, low, high = mean_limits(values[:, keep], group["patient"], rng, draws=draws, level=level, strata=strata)
        lists = (GRID[keep], mean[keep], median[keep], low, high)
        areas = (float(np.trapezoid(mean, GRID)), float(np.trapezoid(median, GRID)))
        rows.append((method, metric, len(values), *(part.tolist() for part in lists), *areas))
    columns = ["method", "metric", "images", "x", "mean", "median", "low", "high", "auc_mean", "auc_median"]
    return pd.DataFrame(rows, columns=columns)


def _on_grid(x: object, y: object) -> Floats:
    values = np.interp(GRID, np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    values[-1] = 1.0
    return values
