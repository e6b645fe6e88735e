"""Coefficients of the mixed models: what a score goes with, patients taken as random.

Laird and Ware 1982, doi:10.2307/2529876.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import INK, MUTED, ROW, WIDE, Mark, interval_marks, sheets, stacked, style
from medsaliency.report.wording import method_label, metric_label

TERMS = {
    "method": "Method",
    "class": "Class",
    "confidence": "Confidence",
    "correct": "Correct prediction",
    "lesion_size": "Lesion size",
    "lesion_place": "Lesion place",
}


def coefficients(contents: Contents) -> dict[str, pd.DataFrame]:
    """Return the coefficients that have an estimate, for each measure that has any."""
    table = contents.inference.mixed_coefficients
    known = table[pd.to_numeric(table["estimate"], errors="coerce").notna()]
    found = {str(metric): part for metric, part in known.groupby("metric", sort=False)}
    order = [name for name in verdicts.metrics(contents) if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def row_label(term: str, level: str) -> str:
    """Return a coefficient's name: its term, and its level where it has one."""
    name = ", ".join(TERMS.get(part, part.replace("_", " ")) for part in term.split(":"))
    return f"{name}: {', '.join(method_label(part) for part in level.split(':'))}" if level else name


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw a forest a measure: each coefficient in the measure's own units, filled where its own p is below alpha."""
    parts = coefficients(contents)
    heights = {metric: ROW * len(part) + 0.75 for metric, part in parts.items()}
    figures = []
    for names in sheets(heights):
        figure, axes = stacked([heights[metric] for metric in names], width=WIDE * 0.8)
        for axis, metric in zip(axes, names, strict=True):
            axis.set_title(metric_label(metric))
            _forest(axis, parts[metric], verdicts.alpha(contents))
        figures.append(figure)
    return figures


def _forest(axis: Axes, part: pd.DataFrame, level: float) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1)
    interval_marks(axis, [_mark(row, numbers, level) for row, numbers in enumerate(part.to_dict("records"))])
    labels = [row_label(str(term), str(level)) for term, level in zip(part["term"], part["level"], strict=True)]
    axis.set_yticks(range(len(part)), labels)
    axis.set_ylim(len(part) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_xlabel(
        "difference of the score; of a quantity, for one standard deviation more\n"
        f"(filled: the coefficient's own p is at most {level:g})"
    )


def _mark(row: int, numbers: Mapping[Any, Any], level: float) -> Mark:
    shown = math.isfinite(numbers["p"]) and numbers["p"] <= level
    ends = (numbers["estimate"], numbers["low"], numbers["high"])
    return Mark(row, *ends, shown=shown, color=INK if shown else MUTED)
