"""Scores of single images for each method: their spread, and not only their mean.

Weissgerber et al. 2015, doi:10.1371/journal.pbio.1002128.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    INK,
    MUTED,
    ROW,
    arrow,
    columns_for,
    drawn_methods,
    headlines,
    level_lines,
    method_rows,
    panels,
    sheets,
    style,
)
from medsaliency.report.wording import metric_label
from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.comparison import common_images
from medsaliency.types import generator

DOTS = 40
"""Most dots of a row. With more images each dot is an equal share of them, at the quantiles of their scores."""


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw dots, box (quartiles, 5 to 95%) and mean of each method's scores, a panel for each headline measure."""
    scores = shared(contents)
    shown = [name for name in headlines(contents) if name in set(scores["metric"])]
    drawn = drawn_methods(contents, among=[str(name) for name in scores["method"].unique()])
    columns = columns_for(len(shown))
    height = ROW * len(drawn) + 0.75
    return [
        _sheet(contents, scores, drawn, names, columns, height)
        for names in sheets(dict.fromkeys(shown, height), columns)
    ]


def _sheet(
    contents: Contents, scores: pd.DataFrame, drawn: Mapping[str, Style], shown: list[str], columns: int, height: float
) -> Figure:
    most = max(scores.loc[scores["metric"] == metric, "sample"].nunique() for metric in shown)
    figure, axes = panels(len(shown), columns, height)
    for place, (axis, metric) in enumerate(zip(axes, shown, strict=True)):
        method_rows(axis, drawn, labels=place % columns == 0)
        part = scores[scores["metric"] == metric]
        _rows(axis, {str(name): group.to_numpy() for name, group in part.groupby("method")["value"]}, drawn)
        axis.set_title(metric_label(metric))
        axis.set_xlabel(f"{arrow(contents, metric)}; n = {part['sample'].nunique()} images")
    figure.legend(handles=_key(most), loc="outside lower center", ncols=5)
    return figure


def table(contents: Contents) -> pd.DataFrame:
    """Return the scores behind the figure: metric, image, then a column a method; images by their order, unnamed.

    Only images on which every method has a value, as in the figure.
    """
    scores = shared(contents)
    scores = scores[scores["metric"].isin(headlines(contents))]
    if scores.empty:
        return pd.DataFrame(columns=["metric", "image"])
    number = {sample: place for place, sample in enumerate(dict.fromkeys(contents.scores["sample"]), 1)}
    scores = scores.assign(image=scores["sample"].map(number), value=scores["value"].round(4))
    wide = scores.pivot(index=["metric", "image"], columns="method", values="value")
    order = [name for name in drawn_methods(contents) if name in wide]
    wide = wide.reindex(headlines(contents), level="metric")[order].reset_index()
    return wide.rename_axis(columns=None)


def shared(contents: Contents) -> pd.DataFrame:
    """Return the rows of the scores of images on which all methods have a value, measure by measure."""
    if contents.scores.empty:
        return pd.DataFrame(columns=["sample", "method", "metric", "value"])
    return common_images(contents.scores)


def _rows(axis: Axes, scores: Mapping[str, Floats], drawn: Mapping[str, Style]) -> None:
    found = [(row, name, look.color) for row, (name, look) in enumerate(drawn.items()) if name in scores]
    for row, name, color in found:
        values = np.sort(scores[name])
        dots = values if len(values) <= DOTS else np.quantile(values, (np.arange(DOTS) + 0.5) / DOTS)
        heights = row + generator(0, "jitter", name).uniform(-0.27, 0.27, len(dots))
        axis.plot(dots, heights, "o", color=color, markersize=2.0, markeredgewidth=0, alpha=0.45, zorder=1)
    places, colors = [row for row, *_ in found], [color for *_, color in found]
    low, first, median, third, high = np.transpose(
        [np.quantile(scores[name], (0.05, 0.25, 0.5, 0.75, 0.95)) for _, name, _ in found]
    )
    level_lines(axis, list(zip(places, low, high, strict=True)), colors, 0.9, zorder=2)
    level_lines(axis, list(zip(places, first, third, strict=True)), colors, 4, zorder=3)
    axis.plot(median, places, "|", color=INK, markersize=6.5, markeredgewidth=1.3, zorder=4)
    means = [scores[name].mean() for _, name, _ in found]
    axis.plot(means, places, "D", color=INK, markerfacecolor="white", markersize=2.8, zorder=5)


def _key(most: int) -> list[Line2D]:
    dot = "an image" if most <= DOTS else f"an image, or 1/{DOTS} of them"
    return [
        Line2D([], [], linestyle="", marker="o", color=MUTED, alpha=0.6, markersize=2.5, label=dot),
        Line2D([], [], color=MUTED, linewidth=4, solid_capstyle="butt", label="middle half"),
        Line2D([], [], color=MUTED, linewidth=0.9, label="5 to 95%"),
        Line2D([], [], linestyle="", marker="|", color=INK, markersize=6.5, markeredgewidth=1.3, label="median"),
        Line2D([], [], linestyle="", marker="D", color=INK, markerfacecolor="white", markersize=2.8, label="mean"),
    ]
