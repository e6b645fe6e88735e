"""Scores of methods: their means on the same images, by image and by patient, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from medsaliency.statistics.bootstrap import mean_limits
from medsaliency.types import generator


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


def patient_means(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What tests compare: for each metric one value a patient and method, as images of one patient are not independent.

    Args:
        scores: Columns sample, patient, method, metric, value.

    Returns:
        For each metric with a value, a table with a row a patient and a column a method (in order of first
        appearance): means over the patient's images that all methods have in common.
    """
    result = {}
    for metric, group in common_images(scores).groupby("metric", sort=False):
        table = group.pivot_table(index="patient", columns="method", values="value", aggfunc="mean", sort=False)
        result[str(metric)] = table[[name for name in scores["method"].unique() if name in table]]
    return result


def summarize(
    scores: pd.DataFrame, *, seed: int, draws: int = 2000, level: float = 0.95, stratified: bool = False
) -> pd.DataFrame:
    """Mean of each method and metric with its interval over patients, on the images that all methods have in common.

    Args:
        scores: Columns sample, patient, method, metric, value; and label where ``stratified``.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.
        stratified: Whether patients are drawn within classes.

    Returns:
        Columns method, metric, images (in common), undefined (the method's own), mean, low, high; in order of first
        appearance.
    """
    found: dict[tuple[object, str], tuple[float, ...]] = {}
    for metric, table, patients, strata in _tables(scores, stratified):
        # The same patients are drawn for all methods and metrics, so that they differ by their values alone.
        rng = generator(seed, "bootstrap")
        limits = mean_limits(table, patients, rng, draws=draws, level=level, strata=strata)
        for column, *numbers in zip(table.columns, *limits, strict=True):
            found[column, metric] = (len(table), *numbers)
    rows = []
    for (method, name), values in scores.groupby(["method", "metric"], sort=False)["value"]:
        images, *numbers = found.get((method, str(name)), (0, *[float("nan")] * 3))
        rows.append((method, name, images, int(values.isna().sum()), *numbers))
    return pd.DataFrame(rows, columns=["method", "metric", "images", "undefined", "mean", "low", "high"])


def _tables(
    scores: pd.DataFrame, stratified: bool
) -> Iterator[tuple[str, pd.DataFrame, pd.Series[str], pd.Series[str] | None]]:
    """For each metric with a value: a table (a row a common image, a column a method), each image's patient and class.

    Images are in sorted order, so that sums do not depend on how the rows were ordered; methods by first appearance.
    """
    for metric, group in common_images(scores).groupby("metric", sort=False):
        table = group.pivot(index="sample", columns="method", values="value")[group["method"].unique()]
        images = group.drop_duplicates("sample").set_index("sample").loc[table.index]
        yield str(metric), table, images["patient"], images["label"].astype(str) if stratified else None


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
