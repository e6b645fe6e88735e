"""Randomization checks: does a map change when what the model has learned is taken away.

Adebayo et al. 2018, arXiv:1810.03292; margins after Arun et al. 2021, doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    DASHES,
    INK,
    MUTED,
    ROW,
    TONES,
    Mark,
    columns_for,
    drawn_methods,
    interval_marks,
    line_keys,
    method_rows,
    panels,
    sheets,
    style,
)
from medsaliency.report.wording import has_width, metric_label

END = "_margin"
KEYS = 5
"""Methods a row of the legend."""
BANDS = 10
"""Most methods whose bands are drawn; those of more cover each other, and stand in the data alone."""
ASIDE = 1.07
"""Where the crosses stand, right of the last stage."""


def margins(contents: Contents) -> list[str]:
    """Return the margins of the randomization checks that have a value, in the study's order."""
    known = verdicts.of_family(contents, "randomization")
    return [name for name in known if name.endswith(END) and verdicts.has_values(contents, name)]


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw likeness against the share of stages drawn anew, a panel a likeness; and on its own sheets each margin.

    Either is left out where the study has no numbers for it.
    """
    return [*_ways(contents), *_margins(contents)]


def two_images(contents: Contents, metric: str) -> dict[str, float]:
    """Return how alike a method's maps of two images are, by method, on the scale of the likeness ``metric``.

    A margin is that baseline less the likeness, image by image, so it is the sum of both means where they are of the
    same images. Where they are not, the method is left out.
    """
    found = {}
    for method in verdicts.methods(contents):
        likeness = verdicts.row(contents.summary, method, metric)
        margin = verdicts.row(contents.summary, method, f"{metric}{END}")
        if likeness is not None and margin is not None and likeness["images"] == margin["images"]:
            baseline = likeness["mean"] + margin["mean"]
            if math.isfinite(baseline):
                found[method] = baseline
    return found


def side(low: float, high: float) -> str:
    """Return on which side of 0 an interval lies, as a verdict: a check is passed on the right of it.

    An interval without width shows nothing of other patients.
    """
    if not has_width(low, high):
        return "not shown"
    return "better" if low > 0 else "worse" if high < 0 else "not shown"


def _ways(contents: Contents) -> list[Figure]:
    table = contents.inference.stages
    likenesses = list(dict.fromkeys(str(name) for name in table["metric"]))
    if not likenesses:
        return []
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    columns = min(3, len(likenesses))
    height = 2.3 + ROW * (1 + -(-len(drawn) // KEYS)) / -(-len(likenesses) // columns)
    figure, axes = panels(len(likenesses), columns, height)
    crossed = False
    for place, (axis, metric) in enumerate(zip(axes, likenesses, strict=True)):
        part = table[table["metric"] == metric]
        for name, way in part.groupby("method", sort=False):
            _way(axis, way, drawn[str(name)], band=len(drawn) <= BANDS)
        baselines = {name: value for name, value in two_images(contents, metric).items() if name in drawn}
        crossed |= bool(baselines)
        colors = [drawn[name].color for name in baselines]
        axis.scatter([ASIDE] * len(baselines), list(baselines.values()), s=12, c=colors, marker="x", linewidths=1)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axis.grid()
        axis.set_title(metric_label(metric).replace(", ", "\n", 1))
        axis.set_xlabel(f"share of stages drawn anew\n{_range(part['images'])}")
        if place % columns == 0:
            axis.set_ylabel("likeness to the maps\nof the trained model")
    figure.legend(handles=_key(drawn, crossed=crossed), loc="outside lower center", ncols=KEYS)
    return [figure]


def _way(axis: Axes, way: pd.DataFrame, look: Style, *, band: bool) -> None:
    dashes = DASHES[look.turn % len(DASHES)]
    axis.plot(way["share"], way["value"], color=look.color, linestyle=dashes, linewidth=1.2, marker="o", markersize=2)
    if band:
        axis.fill_between(way["share"], way["low"], way["high"], color=look.color, alpha=0.15, linewidth=0)


def _key(drawn: Mapping[str, Style], *, crossed: bool) -> list[Line2D]:
    lines = line_keys(drawn)
    cross = Line2D([], [], linestyle="", marker="x", color=INK, label="its maps of two images")
    return [*lines, cross] if crossed else lines


def _margins(contents: Contents) -> list[Figure]:
    shown = margins(contents)
    rows = contents.summary[contents.summary["metric"].isin(shown)] if shown else contents.summary[:0]
    drawn = drawn_methods(contents, among=[str(name) for name in rows["method"].unique()])
    columns = columns_for(len(shown))
    height = ROW * len(drawn) + 0.9
    figures = []
    for names in sheets(dict.fromkeys(shown, height), columns):
        figure, axes = panels(len(names), columns, height)
        for place, (axis, metric) in enumerate(zip(axes, names, strict=True)):
            method_rows(axis, drawn, labels=place % columns == 0)
            _forest(axis, rows[rows["metric"] == metric], drawn)
            axis.set_title(metric_label(metric).removesuffix(", margin").replace(", ", "\n", 1))
        figures.append(figure)
    return figures


def _forest(axis: Axes, rows: pd.DataFrame, drawn: Mapping[str, Style]) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1)
    known = {str(numbers["method"]): numbers for numbers in rows.to_dict("records")}
    marks = []
    for row, method in enumerate(drawn):
        if method in known:
            value, low, high = (known[method][end] for end in ("mean", "low", "high"))
            tone = side(low, high)
            marks.append(Mark(row, value, low, high, shown=tone != "not shown", color=TONES[tone]))
    interval_marks(axis, marks)
    axis.set_xlabel(f"margin; above 0 passes\n{_range(rows['images'])}")


def _range(images: pd.Series) -> str:
    low, high = images.min(), images.max()
    return f"n = {low:.0f}" + ("" if low == high else f" to {high:.0f}") + " images"
