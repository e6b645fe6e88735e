"""Scores of methods: their means, each method against random on the same images, and what was left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.types import Measure, generator


def common_images(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of images that all methods have in common, so that their means are of the same images.

    An image belongs to a metric's common set if every method has a value there; a method without a value on any image
    does not count. What the rest lacks is in the ledger, see :func:`exclusions`.

    Args:
        scores: Columns sample, method, metric, value and any others.

    Returns:
        The rows with a value of the images in the common sets, as they were ordered.
    """
    known = scores[scores["value"].notna()]
    methods = known.groupby("metric")["method"].transform("nunique")
    on_image = known.groupby(["metric", "sample"])["method"].transform("nunique")
    return known[on_image == methods]


def summarize(scores: pd.DataFrame, *, seed: int, draws: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """Mean and patient-bootstrap interval of each method and metric, on the images that all methods have in common.

    Args:
        scores: Columns sample, patient, method, metric, value.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, metric, images (in common), undefined (the method's own), mean, low, high; in order of first
        appearance.
    """
    common = dict(iter(common_images(scores).groupby(["method", "metric"], sort=False)))
    rows = []
    for (method, metric), group in scores.groupby(["method", "metric"], sort=False):
        rng = generator(seed, "summary", str(method), str(metric))
        shared = common.get((method, metric), group[:0])
        interval = mean_interval(shared["value"], shared["patient"], rng, draws=draws, level=level)
        undefined = int(group["value"].isna().sum())
        rows.append((method, metric, len(shared), undefined, interval.value, interval.low, interval.high))
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
    """Each method's difference to ``reference`` on the images that all methods have in common.

    Args:
        scores: Columns sample, patient, method, metric, value.
        reference: The method compared with, such as ``random``.
        measures: The direction of each metric.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, metric, images, difference (method less reference), low, high, wins (share of images on which
        the method is better, a tie counting half). A method without a value has no row; empty where ``reference`` has
        none.
    """
    rows = []
    for metric, group in common_images(scores).groupby("metric", sort=False):
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
            gained = difference.to_numpy(dtype=np.float64) * sign
            wins = float(((gained > 0) + 0.5 * (gained == 0)).mean())
            rows.append((method, metric, len(gained), interval.value, interval.low, interval.high, wins))
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
