"""Information curves: what the model says of an image as the pixels that a map ranks highest are shown to it.

Kapishnikov et al. 2019, doi:10.1109/ICCV.2019.00505.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    DASHES,
    GRID,
    INK,
    MUTED,
    WIDE,
    canvas,
    drawn_methods,
    headlines,
    sheets,
    style,
)
from medsaliency.report.wording import method_label, metric_label
from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.controls import RANDOM

POINTS = 61
"""Points drawn of a curve. The areas come from the full grid; paper and screen show no more than this."""
AXES = {"aic": "Share of images\nstill given the class", "sic": "Probability of the class"}
INFORMATION = {
    "entropy": "entropy",
    "webp": "WebP length",
    "mean": "mean of entropy and WebP length",
    "entropy_published": "entropy, as published",
    "webp_published": "WebP length, as published",
    "mean_published": "mean of both, as published",
}


def drawable(contents: Contents) -> list[str]:
    """Return the information measures that have aggregated curves, in the study's order."""
    present = set(contents.curves["metric"]) if len(contents.curves) else set()
    return [name for name in verdicts.of_family(contents, "information") if name in present]


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw one small panel a method: its mean curves with bands, over those of all other methods and of random."""
    known = drawable(contents)
    shown = [name for name in headlines(contents) if name in known] or known[:1]
    drawn = drawn_methods(contents, among=_with_curves(contents, shown))
    names = [name for name, look in drawn.items() if not look.control]
    if not names:
        return []
    rows_each = -(-len(names) // 5)
    height = 1.25 * rows_each + 0.4
    figures = []
    for metrics in sheets(dict.fromkeys(shown, height)):
        heights = [*[height] * len(metrics), 0.25]
        figure = canvas(WIDE, sum(heights))
        *blocks, foot = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for block, metric in zip(blocks, metrics, strict=True):
            _block(block, contents, metric, drawn, names, rows_each)
        foot.legend(handles=_key(), loc="center", ncols=3)
        figures.append(figure)
    return figures


def _block(
    block: SubFigure, contents: Contents, metric: str, drawn: Mapping[str, Style], names: list[str], rows_each: int
) -> None:
    block.suptitle(f"{metric_label(metric)}{_images(contents, metric)}", x=0.01, ha="left", fontweight="bold")
    columns = -(-len(names) // rows_each)
    axes = block.subplots(rows_each, columns, sharex=True, sharey=True, squeeze=False).ravel()
    rows = _rows(contents, metric)
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, rows, drawn, name)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    block.supxlabel(f"Information shown ({information(metric)})", fontsize=7)
    block.supylabel(AXES.get(metric.partition("_")[0], metric_label(metric)), fontsize=7)


@style()
def overlay(contents: Contents, metric: str) -> Figure:
    """Draw all methods' curves of one measure on the same axes, each under the id ``series:ROLE:METHOD``.

    ROLE is "band", "mean" or "median"; a page shows and hides them by it.
    """
    rows = _rows(contents, metric)
    drawn = drawn_methods(contents, among=list(rows))
    # Room for two lines of label and one of ticks, which are the same in each of these charts: nothing to lay out.
    figure = Figure(figsize=(4.4, 2.9), dpi=72)
    axis = figure.add_axes((0.131, 0.136, 0.84, 0.843))
    # Controls first, so that they lie behind.
    for name in sorted(drawn, key=lambda name: not drawn[name].control):
        look = drawn[name]
        x, mean, median, low, high = thinned(rows[name])
        axis.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0, gid=f"series:band:{name}")
        dashes = DASHES[look.turn % len(DASHES)]
        axis.plot(x, mean, color=look.color, linestyle=dashes, linewidth=1.5, gid=f"series:mean:{name}")
        axis.plot(x, median, color=look.color, linestyle=":", linewidth=1, gid=f"series:median:{name}")
    _frame(axis)
    axis.set(xticks=np.arange(0, 1.01, 0.2), yticks=np.arange(0, 1.01, 0.2))
    axis.set_xlabel(f"Information shown ({information(metric)})")
    axis.set_ylabel(AXES.get(metric.partition("_")[0], metric_label(metric)))
    return figure


def table(contents: Contents) -> pd.DataFrame:
    """Return what the curves are made of: metric, method, images, x, mean, median, low, high, one row a point."""
    rows = [
        (metric, name, int(row["images"]), *(round(float(value), 4) for value in point))
        for metric in drawable(contents)
        for name, row in _rows(contents, metric).items()
        for point in zip(*thinned(row), strict=True)
    ]
    return pd.DataFrame(rows, columns=["metric", "method", "images", "x", "mean", "median", "low", "high"])


def information(metric: str) -> str:
    """Return by what the horizontal axis of ``metric`` measures information."""
    kind = metric.partition("_")[2]
    return INFORMATION.get(kind, kind)


def thinned(row: Mapping[str, Any], points: int = POINTS) -> tuple[Floats, ...]:
    """Return x, mean, median, low and high of a row of ``Contents.curves`` at no more than ``points``, ends kept."""
    values = [np.asarray(row[column], dtype=np.float64) for column in ("x", "mean", "median", "low", "high")]
    keep = np.unique(np.round(np.linspace(0, max(len(values[0]) - 1, 0), points)).astype(np.intp))
    return tuple(column[keep] if len(column) else column for column in values)


def _rows(contents: Contents, metric: str) -> dict[str, Mapping[str, Any]]:
    part = contents.curves[contents.curves["metric"] == metric]
    return {str(row["method"]): dict(row) for _, row in part.iterrows()}


def _with_curves(contents: Contents, metrics: list[str]) -> list[str]:
    if not len(contents.curves):
        return []
    return [str(name) for name in contents.curves.loc[contents.curves["metric"].isin(metrics), "method"].unique()]


def _images(contents: Contents, metric: str) -> str:
    counts = {int(row["images"]) for row in _rows(contents, metric).values()}
    low, high = min(counts), max(counts)
    return f"   n = {low} images" if low == high else f"   n = {low} to {high} images"


def _frame(axis: Axes) -> None:
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axis.grid(color=GRID)


def _panel(axis: Axes, rows: Mapping[str, Mapping[str, Any]], drawn: Mapping[str, Style], name: str) -> None:
    others = [other for other in rows if other not in (name, RANDOM) and other in drawn]
    behind = [np.column_stack(thinned(rows[other], 16)[:2]) for other in others]
    axis.add_collection(LineCollection(behind, colors="#c3cad1", linewidths=0.5))
    if RANDOM in rows:
        x, mean, *_ = thinned(rows[RANDOM])
        axis.plot(x, mean, color=MUTED, linewidth=0.9, linestyle=(0, (3, 1.2)))
    _frame(axis)
    axis.set_title(method_label(name), fontweight="normal", fontsize=7, color=INK)
    if name in rows:
        x, mean, _, low, high = thinned(rows[name])
        axis.fill_between(x, low, high, color=drawn[name].color, alpha=0.25, linewidth=0)
        axis.plot(x, mean, color=drawn[name].color, linewidth=1.4)


def _key() -> list[Line2D]:
    """Return the marks of the legend of :func:`draw`."""
    return [
        Line2D([], [], color=INK, linewidth=1.4, label="the method, with its band"),
        Line2D([], [], color=MUTED, linestyle=(0, (3, 1.2)), linewidth=0.9, label="random maps"),
        Line2D([], [], color="#c3cad1", linewidth=0.5, label="all other methods"),
    ]
