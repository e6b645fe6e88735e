"""Do k methods differ at all on a metric? Friedman's test, Kendall's W and mean ranks; patients are the blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.comparison import patient_means
from medsaliency.statistics.ties import tie_decimals
from medsaliency.types import Measure

TESTS = [
    *("metric", "methods", "patients", "statistic", "p", "p_corrected", "kendall_w", "critical_difference", "reason"),
]
RANKS = ["metric", "method", "rank"]


@dataclass(frozen=True)
class Friedman:
    """The test of one metric; ``statistic``, ``p`` and ``kendall_w`` are NaN where ``reason`` says why."""

    statistic: float
    p: float
    kendall_w: float
    reason: str = ""


def friedman(
    scores: pd.DataFrame,
    measures: Mapping[str, Measure],
    *,
    methods: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Friedman's test of each metric and the methods' mean ranks.

    Demsar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, section 3.2.2. By Nemenyi's
    test two methods differ if their mean ranks are at least the critical difference apart.

    Args:
        scores: Columns sample, patient, method, metric, value.
        measures: The direction of each metric.
        methods: Those compared; all that have a value by default. Images are those that all methods of ``scores``
            have in common, whichever are compared.
        alpha: Level of the critical difference.

    Returns:
        Two tables. Tests, one row a metric: metric, methods (how many), patients, statistic, p, p_corrected (Holm over
        metrics), kendall_w (0 to 1, ties corrected), critical_difference (in ranks), reason (why the numbers are NaN).
        Ranks: metric, method, rank (mean over patients, 1 is best in the metric's direction, ties share).
    """
    means = patient_means(scores)
    tests, ranks = [], []
    for metric in scores["metric"].unique():
        table = compared(means.get(metric, pd.DataFrame()), methods)
        values = table.to_numpy(dtype=np.float64)
        patients, k = values.shape
        found = friedman_test(values)
        difference = float("nan") if found.reason else critical_difference(k, patients, alpha)
        row = (metric, k, patients, found.statistic, found.p, np.nan, found.kendall_w, difference, found.reason)
        tests.append(row)
        rank = mean_ranks(values, measures[metric].higher_is_better)
        ranks += [(metric, name, value) for name, value in zip(table.columns, rank, strict=True)]
    result = pd.DataFrame(tests, columns=TESTS)
    result["p_corrected"] = holm(result["p"].to_numpy(dtype=np.float64))
    return result, pd.DataFrame(ranks, columns=RANKS)


def compared(table: pd.DataFrame, methods: Sequence[str] | None) -> pd.DataFrame:
    """The columns of ``methods`` that are in ``table``, in its order; patients in the order of their names."""
    chosen = [name for name in table.columns if methods is None or name in methods]
    return table[chosen].sort_index()


def friedman_test(values: Floats) -> Friedman:
    """Friedman's test with its correction for ties.

    Args:
        values: (P, k), k methods on P patients.

    Returns:
        The statistic (chi-squared with k - 1 degrees of freedom under the null hypothesis), its p-value, and Kendall's
        W = statistic / (P (k - 1)). NaN with a reason for fewer than three methods or two patients, and where the
        methods tie on every patient.
    """
    patients, k = values.shape
    reason = ""
    if not patients:
        reason = "no image has a value of every method"
    elif k < 3:
        reason = "fewer than three methods"
    elif patients < 2:
        reason = "fewer than two patients"
    else:
        values = np.round(values, tie_decimals(values))
        if (values == values[:, :1]).all():
            reason = "all methods tie on every patient"
    if reason:
        return Friedman(float("nan"), float("nan"), float("nan"), reason)
    found = stats.friedmanchisquare(*values.T)
    return Friedman(float(found.statistic), float(found.pvalue), float(found.statistic) / (patients * (k - 1)))


def mean_ranks(values: Floats, higher_is_better: bool) -> Floats:
    """Mean over patients of the methods' ranks: (P, k) values to (k,) ranks, 1 is best, ties share; NaN without any."""
    patients, k = values.shape
    if not patients:
        return np.full(k, np.nan)
    rounded = np.round(values, tie_decimals(values))
    ranks = stats.rankdata(-rounded if higher_is_better else rounded, axis=1)
    return np.asarray(ranks.mean(axis=0))


def critical_difference(methods: int, patients: int, alpha: float = 0.05) -> float:
    """Nemenyi's: mean ranks that differ by it are apart at ``alpha``, corrected over all pairs of methods.

    q / sqrt(2) * sqrt(k (k + 1) / (6 P)), where q is the upper ``alpha`` quantile of the studentized range of k groups
    with infinite degrees of freedom (Demsar 2006, section 3.2.2; his table 5a gives q / sqrt(2)).
    """
    q = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * patients)))


def holm(p: Floats) -> Floats:
    """Holm's step-down correction over the p-values that are defined; NaN stays NaN.

    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6. The
    function of statsmodels gives the same numbers and collects garbage on every call, which takes a tenth of a second.
    """
    defined = np.flatnonzero(np.isfinite(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return corrected
