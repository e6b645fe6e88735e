"""Each measure of a comparison as a table: methods by runs, drawn and written, and what was shown between runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.report.comparison.contents import Comparison
from medsaliency.report.comparison.tables import difference, pairs
from medsaliency.report.wording import interval, method_label, metric_label, number, without_folders

HEADLINES = 4
"""Measures whose tables are open; those of others unfold."""
WIDE, TALL, MARGIN = 200, 10, 5
"""Units of the drawing of a row: its width, the height of a run, and how far marks stay from the ends."""
SHAPES = 4
"""Shapes of marks; runs are not told apart by color alone."""
Scale = tuple[float, float]


def measure_tables(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the table of every measure, those read first in front."""
    return [_table(comparison, name, place) for place, name in enumerate(comparison.measures)]


def _table(comparison: Comparison, name: str, place: int) -> dict[str, Any]:
    measure = comparison.measures[name]
    means = comparison.means[comparison.means["metric"] == name].set_index(["method", "run"])
    gaps = comparison.differences[comparison.differences["metric"] == name]
    why = {pair: _shared_reason(gaps, *pair) for pair in pairs(comparison)}
    between = {(row["run"], row["other"], row["method"]): row for row in gaps.to_dict("records")}
    scale = _scale(means)
    rows = []
    for method in comparison.methods:
        own = [{str(key): cell for key, cell in means.loc[(method, run)].items()} for run in comparison.runs]
        found = {pair: difference(between[(*pair, method)]) for pair in why}
        rows.append(
            {
                "method": method_label(method),
                "control": method in comparison.controls,
                "cells": [_cell(estimate) for estimate in own],
                "marks": [mark for run, estimate in enumerate(own) if (mark := _mark(run, estimate, scale))],
                # What keeps all methods from being tested is told once, above the table.
                "differences": [{**gap, "more": "" if why[pair] else gap["more"]} for pair, gap in found.items()],
            }
        )
    return {
        "id": f"measure-{place + 1}",
        "name": metric_label(name),
        "direction": "higher is better" if measure.higher_is_better else "lower is better",
        "description": measure.description.rstrip("."),
        "rows": rows,
        "height": TALL * len(comparison.runs) + 6,
        "ends": [number(end) for end in scale] if scale else [],
        "notes": [
            f"{run} and {other} were not tested against each other: {reason}."
            for (run, other), reason in why.items()
            if reason
        ],
    }


def _shared_reason(gaps: pd.DataFrame, run: str, other: str) -> str:
    """Return what keeps all methods of two runs from being tested, empty where that is not one thing."""
    reasons = set(gaps.loc[(gaps["run"] == run) & (gaps["other"] == other), "reason"])
    return without_folders(reasons.pop()) if len(reasons) == 1 else ""


def _cell(estimate: Mapping[str, float]) -> dict[str, str]:
    if not math.isfinite(estimate["mean"]):
        return {"mean": "undefined", "interval": ""}
    return {"mean": number(estimate["mean"]), "interval": interval(estimate["low"], estimate["high"])}


def _scale(means: pd.DataFrame) -> Scale | None:
    """Return the ends of a drawing that holds all intervals, None where there is nothing to draw."""
    values = means[["mean", "low", "high"]].to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        return None
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _mark(run: int, estimate: Mapping[str, float], scale: Scale | None) -> dict[str, float] | None:
    """Return where a mean and the ends of its interval are drawn, None where it is undefined."""
    if scale is None or not math.isfinite(estimate["mean"]):
        return None
    ends = [estimate[key] if math.isfinite(estimate[key]) else estimate["mean"] for key in ("low", "mean", "high")]
    low, x, high = (MARGIN + (WIDE - 2 * MARGIN) * (end - scale[0]) / (scale[1] - scale[0]) for end in ends)
    places = {"low": round(low, 1), "x": round(x, 1), "high": round(high, 1)}
    return {**places, "run": run, "shape": run % SHAPES, "y": TALL * run + 8}
