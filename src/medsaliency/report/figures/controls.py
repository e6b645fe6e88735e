"""Each method against each control: the paired difference with its interval and the corrected verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    GRID,
    INK,
    MUTED,
    ROW,
    TALL,
    TONES,
    Mark,
    arrow,
    columns_for,
    drawn_methods,
    headlines,
    interval_marks,
    method_rows,
    panels,
    sheets,
    style,
)
from medsaliency.report.wording import method_label, metric_label

MARKS = ("o", "s", "^", "D", "v", "P")


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw a forest a headline measure: the shape of a mark is the control, its filling and color the verdict."""
    table = contents.inference.against_controls
    shown = [name for name in headlines(contents) if name in set(table["metric"])]
    controls = [str(name) for name in table["control"].unique()]
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    columns = columns_for(len(shown))
    row = max(ROW, 0.09 * len(controls) + 0.03)
    # One row of panels has to fit a page; the marks of a method then stand closer.
    height = min(row * len(drawn), max(TALL - 0.75, ROW * len(drawn))) + 0.75
    figures = []
    for names in sheets(dict.fromkeys(shown, height), columns):
        figure, axes = panels(len(names), columns, height)
        for place, (axis, metric) in enumerate(zip(axes, names, strict=True)):
            method_rows(axis, drawn, labels=place % columns == 0)
            _forest(axis, contents, metric, controls, drawn)
        figure.legend(handles=_key(controls), loc="outside lower center", ncols=4)
        figures.append(figure)
    return figures


def _forest(axis: Axes, contents: Contents, metric: str, controls: list[str], drawn: Mapping[str, Style]) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1)
    between = [row + 0.5 for row in range(len(drawn))]
    axis.hlines(between, 0, 1, transform=axis.get_yaxis_transform(), color=GRID, linewidth=0.5, zorder=0)
    for turn, control in enumerate(controls):
        known = verdicts.all_compared(contents, metric, control)
        away = 0.8 * ((turn + 0.5) / len(controls) - 0.5)
        marks = [_mark(row + away, known[method]) for row, method in enumerate(drawn) if method in known]
        interval_marks(axis, marks, marker=MARKS[turn % len(MARKS)], size=3)
    table = contents.inference.against_controls
    images = table.loc[table["metric"] == metric, "images"]
    axis.set_title(metric_label(metric))
    axis.set_xlabel(f"method less control; {arrow(contents, metric)}\nn = {_range(images.min(), images.max())} images")


def _mark(y: float, numbers: Mapping[str, Any]) -> Mark:
    verdict = str(numbers["verdict"])
    ends = (numbers["difference"], numbers["low"], numbers["high"])
    return Mark(y, *ends, shown=verdict != "not shown", color=TONES[verdict])


def _range(low: float, high: float) -> str:
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _key(controls: list[str]) -> list[Line2D]:
    shapes = [
        Line2D([], [], linestyle="", marker=MARKS[i % len(MARKS)], color=INK, label=f"against {method_label(name)}")
        for i, name in enumerate(controls)
    ]
    tones = [
        Line2D([], [], marker="o", color=TONES["better"], label="better"),
        Line2D([], [], marker="o", color=TONES["not shown"], markerfacecolor="white", label="no difference shown"),
        Line2D([], [], marker="o", color=TONES["worse"], label="worse"),
    ]
    return shapes + tones
