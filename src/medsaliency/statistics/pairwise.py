"""Which methods differ from which: every pair of methods on every metric, on patients' means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import Floats, mean_limits
from medsaliency.statistics.comparison import common_images, patient_means
from medsaliency.statistics.detectable import detectable, signed_rank_critical
from medsaliency.statistics.effects import effect_sizes
from medsaliency.statistics.friedman import compared, friedman_test, holm
from medsaliency.statistics.signed_rank import signed_rank
from medsaliency.statistics.ties import tie_decimals
from medsaliency.statistics.verdict import FAMILIES, verdicts
from medsaliency.types import Measure, generator

COLUMNS = [
    *("metric", "method", "other", "patients", "images", "difference", "low", "high", "p", "p_corrected"),
    *("rank_biserial", "rank_biserial_low", "rank_biserial_high"),
    *("cliffs_delta", "cliffs_delta_low", "cliffs_delta_high", "superiority", "verdict", "detectable"),
]


@dataclass(frozen=True)
class PairTests:
    """Of the m pairs of k methods on one metric.

    Args:
        first: (m,) index of each pair's first method.
        second: (m,) of its second.
        differences: (m, P) patient means of the first less the second, rounded so that ties are ties.
        p: (m,) of the signed-rank test.
        rank_biserial: (m,) positive where the first has the larger values.
        p_corrected: (m,) over the pairs and, by the metric's own test, over metrics.
    """

    first: np.ndarray
    second: np.ndarray
    differences: Floats
    p: Floats
    rank_biserial: Floats
    p_corrected: Floats


def pair_tests(tables: Sequence[Floats], *, families: int = 1) -> list[PairTests]:
    """Test all pairs of methods on several metrics.

    The pairs of a metric are corrected by Holm. This alone would let every metric make its own false statements. So
    that all methods are equal on all metrics and still one is said to differ in no more than a share alpha of studies,
    a pair is shown only where its metric is: Friedman's test (that of the pair where there are only two methods),
    corrected by Holm over metrics. ``p_corrected`` is the larger of the two, times ``families``.

    Args:
        tables: For each metric (P, k), k methods on P patients.
        families: See :data:`medsaliency.statistics.verdict.FAMILIES`.
    """
    pairs = [_pairs(np.asarray(values)) for values in tables]
    gates = [
        p[0] if len(p) == 1 else np.nan_to_num(friedman_test(np.asarray(values)).p, nan=1.0)
        for values, (*_, p, _) in zip(tables, pairs, strict=True)
    ]
    return [
        PairTests(first, second, differences, p, correlation, (families * np.maximum(holm(p), gate)).clip(max=1))
        for (first, second, differences, p, correlation), gate in zip(pairs, holm(np.array(gates)), strict=True)
    ]


def _pairs(values: Floats) -> tuple[np.ndarray, np.ndarray, Floats, Floats, Floats]:
    decimals = tie_decimals(values)
    rounded = np.round(values, decimals)
    first, second = np.triu_indices(values.shape[1], 1)
    differences = np.round(rounded[:, first] - rounded[:, second], decimals).T
    return first, second, differences, *signed_rank(differences)


def pairwise(
    scores: pd.DataFrame,
    measures: Mapping[str, Measure],
    *,
    methods: Sequence[str] | None = None,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    alpha: float = 0.05,
    power: float = 0.8,
    families: int = FAMILIES,
) -> pd.DataFrame:
    """Compare every pair of methods by Wilcoxon's signed-rank test on patients' means.

    See :func:`pair_tests` for the correction, :mod:`medsaliency.statistics.effects` for the effect sizes.

    Args:
        scores: Columns sample, patient, method, metric, value.
        measures: The direction of each metric.
        methods: Those compared; all that have a value by default. Images are those that all methods of ``scores``
            have in common, whichever are compared.
        seed: Of intervals and of the simulated power.
        draws: Bootstrap samples.
        level: Coverage of the intervals.
        alpha: Level of the verdicts.
        power: With which ``detectable`` would have been shown.
        families: Tables of tests that share the error ``alpha``; 1 where no methods are compared with controls.

    Returns:
        One row a metric and unordered pair, in the order of ``scores``. A metric without an image that all methods have
        in common has none.

        - metric, method, other, patients, images;
        - difference (method less other, mean over images, in the metric's units), low, high (over patients);
        - p (two-sided, of this pair by itself), p_corrected;
        - rank_biserial and cliffs_delta, each with _low and _high: positive where ``method`` is the better one,
          whatever the metric's direction; superiority: share of patients on which it is, ties half;
        - verdict: ``better``, ``worse`` or ``not shown``, of ``method``, in the metric's direction;
        - detectable: the smallest absolute difference of patients' means that this sample would have shown at the level
          of Holm's first step, ``alpha`` over the number of families and pairs; NaN where it cannot be said, or where a
          difference was shown.
    """
    images = {str(metric): group for metric, group in common_images(scores).groupby("metric", sort=False)}
    tables = {metric: compared(table, methods) for metric, table in patient_means(scores).items()}
    tables = {metric: table for metric, table in tables.items() if table.shape[1] > 1}
    tests = pair_tests([table.to_numpy(dtype=np.float64) for table in tables.values()], families=families)
    parts = [pd.DataFrame(columns=COLUMNS)]
    for (metric, table), found in zip(tables.items(), tests, strict=True):
        sign = 1.0 if measures[metric].higher_is_better else -1.0
        values = sign * table.to_numpy(dtype=np.float64).T
        each = images[metric].pivot(index="sample", columns="method", values="value").sort_index()
        owner = images[metric].drop_duplicates("sample").set_index("sample")["patient"].loc[each.index]
        value = each[list(table.columns)].to_numpy(dtype=np.float64)
        rng = generator(seed, "pairwise", metric)
        between = value[:, found.first] - value[:, found.second]
        mean, low, high = mean_limits(between, owner, rng, draws=draws, level=level)
        effects = effect_sizes(values[found.first], values[found.second], rng, draws=draws, level=level)
        verdict = verdicts(sign * found.rank_biserial, sign * mean, found.p_corrected, alpha)
        names = np.array(table.columns)
        columns = {"metric": metric, "method": names[found.first], "other": names[found.second]}
        columns |= {"patients": len(table), "images": len(each), "difference": mean, "low": low, "high": high}
        columns |= {"p": found.p, "p_corrected": found.p_corrected, "verdict": verdict}
        for name in ("rank_biserial", "cliffs_delta"):
            columns |= {name: effects[name].value, f"{name}_low": effects[name].low, f"{name}_high": effects[name].high}
        columns["superiority"] = effects["superiority"].value
        columns["detectable"] = _detectable(found, verdict, alpha / families, power, (seed, metric))
        parts.append(pd.DataFrame(columns, columns=COLUMNS))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _detectable(
    found: PairTests, verdict: Sequence[str], alpha: float, power: float, names: tuple[int, str]
) -> list[float]:
    """Of pairs that are not shown to differ; all pairs of a metric draw the same patients."""
    critical = signed_rank_critical(found.differences.shape[1], alpha / len(found.p))
    seed, metric = names
    return [
        detectable(own, critical, generator(seed, "pairwise", metric, "detectable"), power=power)
        if word == "not shown"
        else float("nan")
        for own, word in zip(found.differences, verdict, strict=True)
    ]
