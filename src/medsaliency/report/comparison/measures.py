"""Each measure of a comparison as a table: methods by runs, drawn and written, and what was shown between runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.report.comparison.contents import Comparison, records
from medsaliency.report.comparison.tables import cell, difference
from medsaliency.report.wording import method_label, metric_label, number, without_folders

WIDE, TALL, MARGIN = 160, 10, 5
"""Units of the drawing of a row: its width, the height of a run, and how far marks stay from the ends."""
SHAPES = 4
"""Shapes of marks; runs are not told apart by color alone."""
Scale = tuple[float, float]


def measure_tables(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the table of every measure, those read first in front."""
    return [_table(comparison, name, place) for place, name in enumerate(comparison.measures)]


def _table(comparison: Comparison, name: str, place: int) -> dict[str, Any]:
    measure = comparison.measures[name]
    means = comparison.means[comparison.means["metric"] == name]
    estimates = {(row["method"], row["run"]): row for row in records(means)}
    gaps = comparison.differences[comparison.differences["metric"] == name]
    apart = untested(comparison)
    between = {(row["run"], row["other"], row["method"]): row for row in records(gaps)}
    scale = _scale(means)
    rows = []
    for method in comparison.methods:
        own = [estimates[method, run] for run in comparison.runs]
        found = {pair: difference(between[(*pair, method)]) for pair in apart}
        rows.append(
            {
                "method": method_label(method),
                "control": method in comparison.controls,
                "cells": [cell(estimate["mean"], estimate["low"], estimate["high"]) for estimate in own],
                "marks": [mark for run, estimate in enumerate(own) if (mark := _mark(run, estimate, scale))],
                # That images are not the same is told once, above all tables.
                "differences": [
                    {**gap, "more": "" if gap["more"] == apart[pair] else gap["more"]} for pair, gap in found.items()
                ],
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
    }


def untested(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Return for every two runs why their images are not the same, empty where they are."""
    rows = comparison.pairs
    return {
        (str(run), str(other)): without_folders(reason)
        for run, other, reason in zip(rows["run"], rows["other"], rows["reason"], strict=True)
    }


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
