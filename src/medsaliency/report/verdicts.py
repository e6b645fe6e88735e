"""Which side of random a method is on, by its interval alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd

from medsaliency.report.contents import Contents

RANDOM, BLURRED = "random", "blurred"
LESION_METRICS = (
    *("lesion_auprc", "pointing_game", "hit_rate", "energy_in_lesion", "relevance_mass", "relevance_rank"),
    *("lesion_iou", "lesion_dice"),
)
CURVE_PREFIXES = ("aic_", "sic_")
FAITHFULNESS_PREFIXES = (
    *CURVE_PREFIXES,
    *("evidence", "insertion_", "deletion_", "place_rank", "road", "infidelity", "faithfulness_"),
)

Verdict = Literal["better", "worse", "open", "undefined"]


def paired(low: float, high: float, *, higher_is_better: bool) -> Verdict:
    """Judge the paired difference, method minus random, by its interval: "open" where it holds zero."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "undefined"
    if low > 0:
        return "better" if higher_is_better else "worse"
    if high < 0:
        return "worse" if higher_is_better else "better"
    return "open"


def apart(method: tuple[float, float], random: tuple[float, float], *, higher_is_better: bool) -> Verdict:
    """Judge two means by their intervals, each (low, high): "open" where the intervals meet."""
    if not all(math.isfinite(end) for end in (*method, *random)):
        return "undefined"
    if method[0] > random[1]:
        return "better" if higher_is_better else "worse"
    if method[1] < random[0]:
        return "worse" if higher_is_better else "better"
    return "open"


def is_curve(metric: str) -> bool:
    """Tell whether ``metric`` is the area under an information curve."""
    return metric.startswith(CURVE_PREFIXES)


def is_faithfulness(metric: str) -> bool:
    """Tell whether ``metric`` asks the model what becomes of its output, where a map shows or takes pixels."""
    return metric.startswith(FAITHFULNESS_PREFIXES)


def higher_is_better(contents: Contents, metric: str) -> bool:
    """Return the direction of ``metric``; a measure that says nothing is taken as better when higher."""
    measure = contents.measures.get(metric)
    return measure is None or measure.higher_is_better


def row(table: pd.DataFrame, method: str, metric: str) -> dict[str, float] | None:
    """Return the numbers of one method and metric, or None where the table has no such row."""
    found = table[(table["method"] == method) & (table["metric"] == metric)] if len(table) else table
    if found.empty:
        return None
    cells = found.iloc[0].drop(["method", "metric"]).items()
    return {str(name): _float(value) for name, value in cells if not isinstance(value, (list, tuple, np.ndarray, str))}


def _float(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan


def paired_verdict(contents: Contents, method: str, metric: str) -> Verdict:
    """Judge ``method`` on ``metric`` by its row of ``against_random``."""
    numbers = row(contents.against_random, method, metric)
    if numbers is None:
        return "undefined"
    return paired(numbers["low"], numbers["high"], higher_is_better=higher_is_better(contents, metric))


def apart_verdict(contents: Contents, method: str, metric: str) -> Verdict:
    """Judge ``method`` on ``metric`` by whether its interval of ``summary`` lies beyond that of random."""
    own, random = row(contents.summary, method, metric), row(contents.summary, RANDOM, metric)
    if own is None or random is None:
        return "undefined"
    ends = ((own["low"], own["high"]), (random["low"], random["high"]))
    return apart(*ends, higher_is_better=higher_is_better(contents, metric))


def coverage(contents: Contents) -> str:
    """Return the coverage that the study's intervals aim at, "95%" where it does not say."""
    level = contents.performance.get("level") or (contents.config.get("statistics") or {}).get("level") or 0.95
    return f"{100 * level:.4g}%"


def methods(contents: Contents) -> list[str]:
    """Return all methods in the order of the summary, explanations before controls."""
    names = list(dict.fromkeys(str(name) for name in contents.summary["method"])) if len(contents.summary) else []
    return sorted(names, key=lambda name: name in contents.controls)


def explanations(contents: Contents) -> list[str]:
    """Return the methods that are not controls."""
    return [name for name in methods(contents) if name not in contents.controls]


def metrics(contents: Contents) -> list[str]:
    """Return all metrics of the summary, in the order of ``measures`` and then of the summary."""
    found = list(dict.fromkeys(str(name) for name in contents.summary["metric"])) if len(contents.summary) else []
    known = [name for name in contents.measures if name in found]
    return known + [name for name in found if name not in known]


def has_values(contents: Contents, metric: str) -> bool:
    """Tell whether any method has a finite mean on ``metric``."""
    if contents.summary.empty:
        return False
    means = contents.summary.loc[contents.summary["metric"] == metric, "mean"]
    return bool(pd.to_numeric(means, errors="coerce").notna().any())


def undefined_images(contents: Contents, method: str | None, metric: str) -> tuple[int, int]:
    """Return (images without a value, all images) of ``metric``.

    For one method the rows are counted. With ``method`` None an image counts once, as undefined where any method
    lacks a value.
    """
    rows = contents.scores[contents.scores["metric"] == metric] if len(contents.scores) else contents.scores
    if method is not None and len(rows):
        rows = rows[rows["method"] == method]
    if rows.empty:
        return 0, 0
    missing = pd.to_numeric(rows["value"], errors="coerce").isna().groupby(rows["sample"]).any()
    return int(missing.sum()), len(missing)


def reasons(contents: Contents, wanted: Sequence[str]) -> list[str]:
    """Return the distinct reasons for undefined values of ``wanted`` metrics, most frequent first."""
    if contents.scores.empty:
        return []
    rows = contents.scores[contents.scores["metric"].isin(list(wanted))]
    named = rows.loc[rows["reason"].fillna("") != "", "reason"]
    return [str(reason) for reason in named.value_counts().index]
