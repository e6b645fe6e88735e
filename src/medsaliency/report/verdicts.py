"""How the report reads its tables: rows, verdicts, and what a study counts as its measures and controls."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from medsaliency.report.contents import Contents
from medsaliency.statistics.controls import RANDOM
from medsaliency.statistics.trust import BEATEN, FAILED, PASSED, Thresholds, combine
from medsaliency.types import Family

BLURRED = "blurred"
Verdict = Literal["better", "worse", "open", "undefined"]


def of_family(contents: Contents, *families: Family) -> list[str]:
    """Return the metrics of the summary that belong to ``families``, in order."""
    return [name for name in metrics(contents) if family(contents, name) in families]


def family(contents: Contents, metric: str) -> Family:
    """Return what ``metric`` asks; "other" for a measure that says nothing."""
    measure = contents.measures.get(metric)
    return "other" if measure is None else measure.family


def higher_is_better(contents: Contents, metric: str) -> bool:
    """Return the direction of ``metric``; a measure that says nothing is taken as better when higher."""
    measure = contents.measures.get(metric)
    return measure is None or measure.higher_is_better


def primary(contents: Contents) -> str:
    """Return the measure that must be better than that of controls, ``trust.measure`` of the configuration."""
    return str((contents.config.get("trust") or {}).get("measure") or Thresholds.measure)


def localization(contents: Contents) -> str:
    """Return the measure by which maps lie on lesions, ``trust.localization`` of the configuration."""
    return str((contents.config.get("trust") or {}).get("localization") or Thresholds.localization)


def alpha(contents: Contents) -> float:
    """Return the level of the study's tests, 0.05 where it does not say."""
    return float((contents.config.get("statistics") or {}).get("alpha") or 0.05)


def row(table: pd.DataFrame, method: str, metric: str) -> dict[str, float] | None:
    """Return the numbers of one method and metric, or None where the table has no such row."""
    found = table[(table["method"] == method) & (table["metric"] == metric)] if len(table) else table
    if found.empty:
        return None
    cells = found.iloc[0].drop(["method", "metric"]).items()
    return {str(name): _float(value) for name, value in cells if not isinstance(value, (list, tuple, np.ndarray, str))}


def means(contents: Contents, metric: str) -> dict[str, float]:
    """Return the finite means of ``metric`` by explanation, in order."""
    rows = contents.summary[contents.summary["metric"] == metric] if len(contents.summary) else contents.summary
    found = {str(row["method"]): _float(row["mean"]) for row in rows.to_dict("records")}
    return {name: found[name] for name in explanations(contents) if math.isfinite(found.get(name, math.nan))}


def _float(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan


def compared(contents: Contents, method: str, metric: str, control: str = RANDOM) -> Mapping[str, Any] | None:
    """Return the row of ``against_controls`` of one method, metric and control, or None where there is none."""
    return all_compared(contents, metric, control).get(method)


def all_compared(contents: Contents, metric: str, control: str = RANDOM) -> dict[str, Mapping[str, Any]]:
    """Return the rows of ``against_controls`` of one metric and control, by method."""
    table = contents.inference.against_controls
    found = table[(table["metric"] == metric) & (table["control"] == control)]
    return {str(row["method"]): {str(key): cell for key, cell in row.items()} for row in found.to_dict("records")}


def against_verdict(contents: Contents, method: str, metric: str, control: str = RANDOM) -> Verdict:
    """Judge ``method`` on ``metric`` against a control by the corrected permutation test."""
    return verdict_of(compared(contents, method, metric, control))


def against_verdicts(contents: Contents, metric: str, control: str = RANDOM) -> dict[str, Verdict]:
    """Judge every explanation on ``metric`` against a control by the corrected permutation test, in order."""
    rows = all_compared(contents, metric, control)
    return {name: verdict_of(rows.get(name)) for name in explanations(contents)}


def verdict_of(numbers: Mapping[str, Any] | None) -> Verdict:
    """Judge a row of ``against_controls``; "undefined" without one, or without a difference."""
    if numbers is None or not math.isfinite(numbers["difference"]):
        return "undefined"
    verdicts: dict[str, Verdict] = {"better": "better", "worse": "worse"}
    return verdicts.get(numbers["verdict"], "open")


def controls_against(contents: Contents, metric: str) -> list[str]:
    """Return the controls that methods are compared with on ``metric``; blurred maps, of one method, are not."""
    table = contents.inference.against_controls
    found = dict.fromkeys(str(name) for name in table.loc[table["metric"] == metric, "control"])
    return [name for name in found if name != BLURRED]


def criteria(contents: Contents) -> dict[str, dict[str, str]]:
    """Return for each method of the trust card its verdict by criterion, "pass", "fail" or "not shown", in order."""
    grouped: dict[str, dict[str, list[str]]] = {}
    table = contents.inference.trust
    for method, criterion, verdict in zip(table["method"], table["criterion"], table["verdict"], strict=True):
        grouped.setdefault(str(method), {}).setdefault(str(criterion), []).append(str(verdict))
    return {method: {name: combine(given) for name, given in own.items()} for method, own in grouped.items()}


def patients_known(contents: Contents) -> bool:
    """Tell whether images name their patients; where they do not, each image was taken for a patient of its own."""
    return bool((contents.provenance.get("data") or {}).get("patients_known", True))


def to_beat(controls: Collection[str]) -> dict[str, str]:
    """Return the criteria of better scores than a control's that a study with these controls asks, with the control.

    Random maps are to be beaten whether or not the study has them: without, nothing is shown.
    """
    return {name: control for name, control in BEATEN.items() if control == RANDOM or control in controls}


def relied_on(own: Mapping[str, str], controls: Collection[str]) -> bool:
    """Tell whether a method may be relied on: it passes against every control of the study, and fails no criterion.

    Args:
        own: The method's verdicts by criterion.
        controls: Of the study.
    """
    return FAILED not in own.values() and all(own.get(name) == PASSED for name in to_beat(controls))


def coverage(contents: Contents) -> str:
    """Return the coverage that the study's intervals aim at, "95%" where it does not say."""
    level = contents.performance.get("level") or (contents.config.get("statistics") or {}).get("level") or 0.95
    return f"{100 * level:.4g}%"


def methods(contents: Contents) -> list[str]:
    """Return all methods in the order of the summary, explanations before controls."""
    names = list(dict.fromkeys(str(name) for name in contents.summary["method"])) if len(contents.summary) else []
    return sorted(names, key=lambda name: name in contents.controls)


def blind(contents: Contents) -> list[str]:
    """Return the controls that never look at the model, in the order of the summary; blurred maps do."""
    return [name for name in methods(contents) if name in contents.controls and name != BLURRED]


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
