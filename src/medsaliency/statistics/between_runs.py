"""The same methods in two runs: their differences, on the same or on other images, and whether rankings carry over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from medsaliency.statistics.bootstrap import Floats, mean_limits, widened_quantile
from medsaliency.statistics.detectable import detectable, permutation_critical
from medsaliency.statistics.resampling import Patients, resampled_sums
from medsaliency.statistics.step_down import Corrected, Exchangeable, step_down
from medsaliency.statistics.ties import tie_decimals
from medsaliency.statistics.verdict import verdicts
from medsaliency.types import generator

METHODS = 3
"""Fewest methods whose rankings are compared: two have the same order or the reverse."""
HIGHER, LOWER, NOT_SHOWN = "higher", "lower", "not shown"
WORDS = {"better": HIGHER, "worse": LOWER, "not shown": NOT_SHOWN}
DIFFERENCES = [
    *("metric", "method", "patients", "images", "difference", "low", "high"),
    *("p", "p_corrected", "verdict", "detectable"),
]
RANKINGS = ["metric", "methods", "tau", "low", "high", "reason"]


@dataclass(frozen=True, eq=False)
class _Differences:
    """Other run less one, of one metric: images (n, M), their patients (n,), and patients' means (P, M)."""

    metric: str
    images: pd.DataFrame
    owner: pd.Series[str]
    means: pd.DataFrame


def paired_differences(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    permutations: int = 50_000,
    alpha: float = 0.05,
    power: float = 0.8,
) -> list[pd.DataFrame]:
    """Compare runs on the same images, method by method, on patients' means.

    A metric's images are those on which both runs have a value of every method that both have; a method without any
    value in one of them does not count. The signs of patients' differences are permuted, a patient's together for all
    that is compared of two runs; the correction is over all pairs, metrics and methods at once, see
    :mod:`medsaliency.statistics.step_down`.

    Args:
        pairs: Two runs' scores each, of the same images: sample, patient, method, metric, value.
        seed: Of permutations and intervals.
        draws: Bootstrap samples.
        level: Coverage of the intervals.
        permutations: Of patients' signs, at least.
        alpha: Level of the verdicts.
        power: With which ``detectable`` would have been shown.

    Returns:
        A table a pair, a row a metric and method that both have on some image: metric, method, patients, images;
        difference (second run less first, mean over images, in the metric's units), low, high (over patients); p
        (two-sided, of this row by itself), p_corrected; verdict (``higher``, ``lower`` or ``not shown``, of the second
        run); detectable (the smallest absolute difference that would have been shown; NaN where it cannot be said, or
        where one was shown).
    """
    found = [list(_differences(*pair)) for pair in pairs]
    blocks = [
        Exchangeable.sign_flips(pd.concat([own.means for own in part], axis=1).sort_index().to_numpy(dtype=np.float64))
        for part in found
        if part
    ]
    if not blocks:
        return [pd.DataFrame(columns=DIFFERENCES) for _ in pairs]
    tests = step_down(blocks, generator(seed, "between_runs"), permutations=permutations, alpha=alpha)
    tables, start = [], 0
    for part in found:
        parts = [pd.DataFrame(columns=DIFFERENCES)]
        for own in part:
            stop = start + own.means.shape[1]
            each = Corrected(tests.p[start:stop], tests.p_corrected[start:stop], tests.critical)
            parts.append(_rows(own, each, seed=seed, draws=draws, level=level, alpha=alpha, power=power))
            start = stop
        tables.append(pd.concat(parts[1:] or parts, ignore_index=True))
    return tables


def _differences(one: pd.DataFrame, other: pd.DataFrame) -> Iterator[_Differences]:
    patients = one.drop_duplicates(["metric", "sample"]).set_index(["metric", "sample"])["patient"].astype(str)
    for metric in one["metric"].unique():
        first, second = (_wide(table, metric) for table in (one, other))
        methods = [name for name in one["method"].unique() if name in first and name in second]
        difference = (second[methods] - first[methods]).dropna()
        if not methods or difference.empty:
            continue
        values = [table.loc[difference.index, methods].to_numpy(dtype=np.float64) for table in (first, second)]
        owner = patients.loc[metric].loc[difference.index]
        means = difference.groupby(owner).mean().round(tie_decimals(np.stack(values)))
        yield _Differences(str(metric), difference, owner, means)


def _wide(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row an image and a column a method with any value."""
    rows = scores[scores["metric"] == metric]
    return rows.pivot(index="sample", columns="method", values="value").astype(np.float64).dropna(axis=1, how="all")


def _rows(
    own: _Differences, tests: Corrected, *, seed: int, draws: int, level: float, alpha: float, power: float
) -> pd.DataFrame:
    names = ("between_runs", own.metric)
    mean, low, high = mean_limits(own.images, own.owner, generator(seed, *names), draws=draws, level=level)
    means = own.means.to_numpy(dtype=np.float64)
    words = [WORDS[word] for word in verdicts(means.mean(axis=0), mean, tests.p_corrected, alpha)]
    critical = permutation_critical(len(means), tests.critical)
    least = [
        detectable(each, critical, generator(seed, *names, "detectable"), scores="values", power=power)
        if word == NOT_SHOWN
        else float("nan")
        for each, word in zip(means.T, words, strict=True)
    ]
    columns = {"metric": own.metric, "method": list(own.images.columns), "patients": len(means)}
    columns |= {"images": len(own.images), "difference": mean, "low": low, "high": high, "p": tests.p}
    columns |= {"p_corrected": tests.p_corrected, "verdict": words, "detectable": least}
    return pd.DataFrame(columns, columns=DIFFERENCES)


def independent_difference(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Differences of estimates from other patients, with limits made of the two intervals.

    ``L = d - sqrt((y - l_y)^2 + (u_x - x)^2)`` and ``U = d + sqrt((u_y - y)^2 + (x - l_x)^2)`` for ``d = y - x``: Zou
    and Donner 2008, doi:10.1002/sim.3095. They keep the asymmetry of both intervals. No test is made: patients that
    differ in what they have may be what a difference is of.

    Args:
        one: x: columns mean, low, high.
        other: y: likewise, with the same index.

    Returns:
        Columns difference (other less one), low, high; NaN where a part is. The limits are NaN too where one interval
        has no width: a sample without spread is no proof that there is none.
    """
    difference = other["mean"] - one["mean"]
    down = np.hypot(other["mean"] - other["low"], one["high"] - one["mean"])
    up = np.hypot(other["high"] - other["mean"], one["mean"] - one["low"])
    known = np.logical_and(*(~np.isclose(table["high"], table["low"], rtol=1e-9, atol=1e-12) for table in (one, other)))
    return pd.DataFrame(
        {"difference": difference, "low": (difference - down).where(known), "high": (difference + up).where(known)}
    )


def ranking_agreement(
    one: pd.DataFrame, other: pd.DataFrame, *, paired: bool, seed: int, draws: int = 2000, level: float = 0.95
) -> pd.DataFrame:
    """Kendall's tau-b of the methods' means in two runs, for each metric.

    Means are over the images on which all methods that both runs have are defined; where the runs are of the same
    images, over those of both. The interval is of the quantiles of a bootstrap over patients, within each run, or of
    the same patients in both; they are as far out as so few patients ask, see
    :func:`~medsaliency.statistics.bootstrap.widened_quantile`. BCa is not used, as its limits are undefined where the
    order is the same and no draw is above 1. As means of drawn patients are noisier than those of all, the interval
    lies low: it errs on the side of orders that differ.

    Args:
        one: Columns sample, patient, method, metric, value; explanations only, without controls.
        other: Likewise.
        paired: Whether the runs are of the same images.
        seed: Of the bootstrap.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        A row a metric that both have: metric, methods (that both have), tau (1 the same order, -1 the reverse), low,
        high, reason (why the correlation or its interval is undefined; empty where neither is).
    """
    metrics = [name for name in one["metric"].unique() if name in set(other["metric"])]
    rows = [
        _ranking(str(metric), (one, other), paired=paired, seed=seed, draws=draws, level=level) for metric in metrics
    ]
    return pd.DataFrame(rows, columns=RANKINGS)


def _ranking(
    metric: str, runs: tuple[pd.DataFrame, pd.DataFrame], *, paired: bool, seed: int, draws: int, level: float
) -> tuple[str, int, float, float, float, str]:
    """A row of :func:`ranking_agreement`."""
    wide = [_wide(scores, metric) for scores in runs]
    methods = [name for name in runs[0]["method"].unique() if all(name in table for table in wide)]
    undefined = (metric, len(methods), np.nan, np.nan, np.nan)
    if len(methods) < METHODS:
        return *undefined, f"methods with a value in both: {len(methods)}, at least {METHODS} needed"
    tables = [table[methods].dropna() for table in wide]
    if paired:
        both = tables[0].index.intersection(tables[1].index)
        tables = [table.loc[both] for table in tables]
    if any(table.empty for table in tables):
        return *undefined, "no image on which all methods have a value"
    means, fewest = [], len(tables[0])
    for place, (scores, table) in enumerate(zip(runs, tables, strict=True)):
        patients = scores.drop_duplicates("sample").set_index("sample")["patient"].astype(str).loc[table.index]
        # The same state gives the same patients, so that runs of the same images are drawn together.
        rng = generator(seed, "ranking_agreement", "" if paired else str(place))
        values = table.to_numpy(dtype=np.float64)
        features = np.column_stack([values, np.ones(len(values))])
        drawn, _ = resampled_sums(features, Patients.of(patients), rng, draws)
        sums = np.vstack([np.ones((1, len(values))) @ features, drawn])
        # Means that are equal but for rounding are equal.
        means.append(np.round(sums[:, :-1] / sums[:, -1:], tie_decimals(values)))
        fewest = min(fewest, patients.nunique())
    tau = kendall_tau(*means)
    if not np.isfinite(tau[0]):
        return *undefined, "all means of one run are equal"
    low, high = _quantiles(tau[1:], float(widened_quantile(np.arange(fewest), level)))
    return metric, len(methods), float(tau[0]), low, high, "" if np.isfinite(low) else "a single patient"


def kendall_tau(first: Floats, second: Floats) -> Floats:
    """Kendall's tau-b of each two rows of (n, M): (n,) in [-1, 1], NaN where a row has equal values only.

    Pairs of methods in the same order less pairs in the reverse, over the geometric mean of how many pairs each row
    orders (Kendall 1945, doi:10.1093/biomet/33.3.239).
    """
    low, high = np.triu_indices(first.shape[1], 1)
    a, b = (np.sign(values[:, high] - values[:, low]) for values in (first, second))
    ordered = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray(np.divide((a * b).sum(axis=1), ordered, out=np.full(len(a), np.nan), where=ordered > 0))


def _quantiles(drawn: Floats, outer: float) -> tuple[float, float]:
    """Of the defined draws, at the shares of the normal distribution below ``-outer`` and ``outer``."""
    known = drawn[np.isfinite(drawn)]
    if not len(known) or not np.isfinite(outer):
        return float("nan"), float("nan")
    low, high = np.quantile(known, ndtr([-outer, outer]))
    return float(low), float(high)
