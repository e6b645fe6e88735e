"""Each method against each control: the paired difference with its interval and the corrected verdict."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import (
    GRID,
    INK,
    MUTED,
    ROW,
    TONES,
    arrow,
    columns_for,
    drawn_methods,
    headlines,
    interval_mark,
    method_rows,
    panels,
    style,
)
from medsaliency.report.wording import method_label, metric_label

MARKS = ("o", "s", "^", "D", "v", "P")


@style()
def draw(contents: Contents) -> Figure | None:
    """Draw a forest a headline measure: the shape of a mark is the control, its filling and color the verdict."""
    table = contents.inference.against_controls
    shown = [name for name in headlines(contents) if name in set(table["metric"])]
    if not shown:
        return None
    controls = [str(name) for name in table["control"].unique()]
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    columns = columns_for(len(shown))
    row_height = max(ROW, 0.09 * len(controls) + 0.03)
    figure, axes = panels(len(shown), columns, row_height * len(drawn) + 0.75)
    for place, (axis, metric) in enumerate(zip(axes, shown, strict=True)):
        method_rows(axis, drawn, labels=place % columns == 0)
        axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1)
        for row in range(len(drawn)):
            axis.axhline(row + 0.5, color=GRID, linewidth=0.5, zorder=0)
        for turn, control in enumerate(controls):
            known = verdicts.all_compared(contents, metric, control)
            for row, method in enumerate(drawn):
                numbers = known.get(method)
                if numbers is None or not math.isfinite(numbers["difference"]):
                    continue
                y = row + 0.8 * ((turn + 0.5) / len(controls) - 0.5)
                interval_mark(
                    axis, y, numbers["difference"], numbers["low"], numbers["high"],
                    shown=numbers["verdict"] != "not shown", color=TONES[numbers["verdict"]],
                    marker=MARKS[turn % len(MARKS)], markersize=3,
                )  # fmt: skip
        images = table.loc[table["metric"] == metric, "images"]
        axis.set_title(metric_label(metric))
        axis.set_xlabel(
            f"method less control; {arrow(contents, metric)}\nn = {_range(images.min(), images.max())} images"
        )
    figure.legend(handles=_key(controls), loc="outside lower center", ncols=4)
    return figure


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
