"""Whether metrics rank methods alike: rank correlations of metrics, and their concordance.

All scores are turned so that higher is better. Metrics that agree need not be right; those that disagree cannot all
measure how good an explanation is (Tomsett et al. 2020, doi:10.1609/aaai.v34i04.6064).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats, mean_limits
from medsaliency.statistics.comparison import common_images
from medsaliency.statistics.ties import tie_decimals
from medsaliency.types import Measure, generator

METHODS = 3
"""Fewest methods whose rankings are compared: of two methods, metrics have the same order or the reverse."""
AGREEMENT_COLUMNS = [
    *("metric", "other", "correlation", "image_correlation", "low", "high", "methods", "images", "reason")
]
CONCORDANCE_COLUMNS = ["family", "metrics", "methods", "kendall_w", "p", "reason"]


def metric_agreement(
    scores: pd.DataFrame, measures: Mapping[str, Measure], *, seed: int, draws: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Rank correlation of each two metrics, over methods' means and within images.

    Args:
        scores: Columns sample, patient, method, metric, value; explanations only, without controls.
        measures: The direction of each metric.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        A row an unordered pair of metrics with a value, in order of first appearance: metric, other, correlation
        (Spearman, of the means of the methods that both have, each mean over the images that all methods of its metric
        have), image_correlation (Spearman over methods within an image, mean over images), low, high (its interval over
        patients), methods, images (those on which both metrics have all these methods and rank them), reason (why a
        correlation is undefined; empty where neither is).
    """
    oriented = _oriented(scores, measures)
    tables = {
        str(metric): group.pivot(index="sample", columns="method", values="value")[group["method"].unique()]
        for metric, group in oriented.groupby("metric", sort=False)
    }
    means = _means(oriented)
    pairs = list(combinations(tables, 2))
    found = [_correlations(*pair, tables, means) for pair in pairs]
    images = oriented.drop_duplicates("sample").set_index("sample")["patient"].sort_index()
    within = [part.within.reindex(images.index).to_numpy() for part in found]
    matrix = np.array(within, dtype=np.float64).reshape(len(pairs), len(images))
    limits = _limits(matrix, images.to_numpy(), seed, draws, level)
    rows = [
        (*pair, part.correlation, *limit, part.methods, part.within.size, part.reason)
        for pair, part, limit in zip(pairs, found, limits.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=AGREEMENT_COLUMNS)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Of two metrics: correlation of means, correlations within the images that have one, methods, and reason."""

    correlation: float
    within: pd.Series[float]
    methods: int
    reason: str


def _correlations(metric: str, other: str, tables: Mapping[str, pd.DataFrame], means: pd.DataFrame) -> _Pair:
    methods = [name for name in tables[metric] if name in tables[other]]
    if len(methods) < METHODS:
        reason = f"methods with a value of both: {len(methods)}, at least {METHODS} needed"
        return _Pair(np.nan, pd.Series(dtype=np.float64), len(methods), reason)
    first, second = (tables[name][methods].dropna() for name in (metric, other))
    images = first.index.intersection(second.index)
    ranks = (_ranks(table.loc[images].to_numpy()) for table in (first, second))
    within = pd.Series(spearman(*ranks), index=images).dropna()
    overall = (_ranks(means.reindex(columns=methods).loc[[name]].to_numpy()) for name in (metric, other))
    correlation = float(spearman(*overall)[0])
    reasons = []
    if np.isnan(correlation):
        reasons.append("one has no mean of every method, or its means are equal")
    if within.empty:
        reasons.append("no image on which both rank the methods")
    return _Pair(correlation, within, len(methods), "; ".join(reasons))


def _limits(within: Floats, patients: NDArray[np.object_], seed: int, draws: int, level: float) -> Floats:
    """(pairs, 3) mean and limits over the defined values of each row (pairs, images); like rows share the draws."""
    limits = np.full((len(within), 3), np.nan)
    defined = np.isfinite(within)
    for images in np.unique(defined, axis=0):
        pairs = (defined == images).all(axis=1)
        rng = generator(seed, "metric_agreement")
        values = within[pairs][:, images].T
        limits[pairs] = np.stack(mean_limits(values, patients[images], rng, draws=draws, level=level), axis=1)
    return limits


def concordance(scores: pd.DataFrame, measures: Mapping[str, Measure], *, seed: int, draws: int = 9999) -> pd.DataFrame:
    """Kendall's W: how far all metrics, and those of each family, rank the methods' means alike.

    Kendall & Babington Smith 1939, doi:10.1214/aoms/1177732186, corrected for ties. The p value asks whether metrics
    agree more than rankings at random; it is by permutation of each metric's ranks, as methods may be few. Metrics of
    one family are alike by construction, which makes a low p no surprise.

    Args:
        scores: Columns sample, method, metric, value; explanations only, without controls.
        measures: The direction and the family of each metric.
        seed: Of the permutations.
        draws: Permutations.

    Returns:
        A row for ``all`` and one a family with a value: family, metrics (those that rank the methods), methods (that
        all those metrics have), kendall_w (0 to 1), p, reason (why they are undefined, empty where they are not).
    """
    means = _means(_oriented(scores, measures))
    families = {"all": list(means.index)}
    for metric in means.index:
        families.setdefault(measures[metric].family, []).append(metric)
    rows: list[tuple[object, ...]] = []
    for family, metrics in families.items():
        table = means.loc[metrics].dropna(axis=1)
        each = [_ranks(row[None])[0] for row in table.to_numpy()]  # each metric has a scale of its own
        ranking = [ranks for ranks in each if np.unique(ranks).size > 1]
        count, methods = len(ranking), table.shape[1]
        reason = ""
        if methods < METHODS:
            reason = f"methods that every metric has: {methods}, at least {METHODS} needed"
        elif count < 2:
            reason = f"metrics that rank the methods: {count}, at least 2 needed"
        if reason:
            rows.append((family, count, methods, np.nan, np.nan, reason))
            continue
        ranks, rng = np.stack(ranking), generator(seed, "concordance", family)
        drawn = kendall_w(rng.permuted(np.broadcast_to(ranks, (draws, *ranks.shape)), axis=2))
        found = float(kendall_w(ranks))
        p = (1 + int((drawn >= found - 1e-9).sum())) / (1 + draws)
        rows.append((family, count, methods, found, p, ""))
    return pd.DataFrame(rows, columns=CONCORDANCE_COLUMNS)


def spearman(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation of each two rows of ranks (n, M): (n,), NaN where one ranks nothing."""
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (first, second))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 0))


def kendall_w(ranks: Floats) -> Floats:
    """Kendall's W of (..., m, n) ranks of n things by m raters, of whom each ranks some apart: (...), in [0, 1].

    ``sum((R_i - mean R)^2)`` over ``m`` times the sum of all raters' squares, which is the usual form with its
    correction for ties: ``12 S / (m^2 (n^3 - n) - m sum T)``.
    """
    sums = ranks.sum(axis=-2)
    between = ((sums - sums.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    squares = ((ranks - ranks.mean(axis=-1, keepdims=True)) ** 2).sum(axis=(-2, -1))
    return np.asarray(between / (ranks.shape[-2] * squares))


def _oriented(scores: pd.DataFrame, measures: Mapping[str, Measure]) -> pd.DataFrame:
    """The rows with a value, turned so that higher is better."""
    known = scores[scores["value"].notna()]
    signs = {metric: 1.0 if measures[metric].higher_is_better else -1.0 for metric in known["metric"].unique()}
    return known.assign(value=known["value"] * known["metric"].map(signs).astype(np.float64))


def _means(oriented: pd.DataFrame) -> pd.DataFrame:
    """A row a metric and a column a method: means over the metric's common images, NaN without one."""
    grouped = common_images(oriented).groupby(["metric", "method"])["value"].mean().unstack()
    return grouped.reindex(index=oriented["metric"].unique())


def _ranks(values: Floats) -> Floats:
    """Ranks within each row of (n, M) values on one scale; those that differ by rounding only tie."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.round(values, tie_decimals(values)), axis=1), dtype=np.float64)
