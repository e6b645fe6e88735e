"""The mean of images' curves at the points that they share: shares of a model's stages, or of an image's pixels."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import mean_limits
from medsaliency.types import generator

COLUMNS = ["method", "metric", "images", "share", "value", "low", "high"]


def steps(
    curves: pd.DataFrame, metrics: Collection[str], *, seed: int, draws: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Mean value of each method and metric at each point of its curves, with its interval.

    Args:
        curves: One row an image, method and metric with a value: sample, patient, method, metric, x (shares, ascending
            within [0, 1]) and y (the value there).
        metrics: Whose curves are taken.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at by the interval, at each share by itself, not for the curve as a whole.

    Returns:
        Columns method, metric, images, share, value, low, high; in order of first appearance, shares ascending. All
        methods of a metric are averaged over the same images, those on which each of them has a curve; where they have
        none in common, the metric is left out. Where all values are equal, both limits are the value. The limits are
        NaN for a single patient.

    Raises:
        ValueError: If the images of a method have curves at different shares, as of models with different numbers of
            stages: their means would mix what is not alike.
    """
    rows = []
    asked = curves[curves["metric"].isin(list(metrics))]
    methods = asked.groupby("metric")["method"].transform("nunique")
    on_image = asked.groupby(["metric", "sample"])["method"].transform("nunique")
    for (method, metric), group in asked[on_image == methods].groupby(["method", "metric"], sort=False):
        shares, *others = dict.fromkeys(tuple(map(float, x)) for x in group["x"])
        if others:
            raise ValueError(f"{metric}: expected the same shares for all images, got {shares} and {others[0]}")
        values = np.array([tuple(y) for y in group["y"]], dtype=np.float64)
        # The same patients are drawn for all methods and metrics, so that they differ by their values alone.
        limits = mean_limits(values, group["patient"], generator(seed, "bootstrap"), draws=draws, level=level)
        rows += [(method, metric, len(group), *numbers) for numbers in zip(shares, *limits, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)
