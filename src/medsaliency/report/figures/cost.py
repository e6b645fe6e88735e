"""What a method costs and what its maps are worth by the study's primary measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import (
    MUTED,
    WIDE,
    arrow,
    canvas,
    drawn_methods,
    headlines,
    spread,
    style,
)
from medsaliency.report.wording import method_label, metric_label


@dataclass(frozen=True)
class Point:
    """One method: seconds an image, and mean of a measure with its interval."""

    method: str
    seconds: float
    value: float
    low: float
    high: float


def points(contents: Contents) -> tuple[str, list[Point]]:
    """Return the measure (the first headline) and a point for each method whose time and mean are known."""
    metric = next(iter(headlines(contents, 1)), "")
    each = seconds_each(contents)
    found = []
    for method in verdicts.methods(contents) if metric else ():
        numbers = verdicts.row(contents.summary, method, metric)
        seconds = each.get(method, math.nan)
        if numbers is not None and math.isfinite(numbers["mean"]) and seconds > 0:
            found.append(Point(method, seconds, numbers["mean"], numbers["low"], numbers["high"]))
    return metric, found


def seconds_each(contents: Contents) -> dict[str, float]:
    """Return each method's seconds an image."""
    table = contents.seconds
    if table.empty:
        return {}
    own = table[(table["kind"] == "method") & (table["images"] > 0)]
    return dict(zip(own["name"].astype(str), (own["seconds"] / own["images"]).astype(float), strict=True))


def table(contents: Contents) -> pd.DataFrame:
    """Return method, seconds an image, measure, mean, low and high: what the figure shows."""
    metric, found = points(contents)
    rows = [(p.method, p.seconds, metric, p.value, p.low, p.high) for p in found]
    return pd.DataFrame(rows, columns=["method", "seconds_per_image", "metric", "mean", "low", "high"])


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw seconds an image, on a logarithmic axis, against the primary measure with its interval."""
    metric, found = points(contents)
    if not found:
        return []
    drawn = drawn_methods(contents)
    figure = canvas(WIDE, max(2.6, 0.155 * len(found) + 0.6))
    axis = figure.subplots()
    axis.set_xscale("log")
    left, right = _padded([math.log10(p.seconds) for p in found])
    low, high = _padded([end for p in found for end in (p.value, p.low, p.high) if math.isfinite(end)])
    axis.set(xlim=(10**left, 10**right), ylim=(low, high))
    # Names stand in the order of the marks at the right, each tied to its own, so that none covers another.
    order = sorted(found, key=lambda p: p.value)
    places = [((math.log10(p.seconds) - left) / (right - left), (p.value - low) / (high - low)) for p in order]
    heights = spread([y for _, y in places], 0.155 / figure.get_size_inches()[1], 0.02, 0.98)
    ties = [[place, (1.05, height)] for place, height in zip(places, heights, strict=True)]
    colors = [drawn[p.method].color for p in order]
    level: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
    axis.add_collection(LineCollection(ties, colors=colors, linewidths=0.5, alpha=0.7, zorder=1, **level))
    for point, height in zip(order, heights, strict=True):
        look = drawn[point.method]
        if math.isfinite(point.low) and math.isfinite(point.high):
            axis.plot([point.seconds] * 2, [point.low, point.high], color=look.color, linewidth=0.9, alpha=0.7)
        axis.plot([point.seconds], [point.value], "s" if look.control else "o", color=look.color, markersize=4.5)
        slant = "italic" if look.control else "normal"
        axis.text(1.06, height, method_label(point.method), va="center", fontstyle=slant, **level)
    axis.grid(axis="both")
    for ticks in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else ""))
    axis.set_xlabel("Seconds an image (logarithmic)")
    axis.set_ylabel(f"{metric_label(metric)}\n({arrow(contents, metric)})")
    axis.tick_params(which="both", color=MUTED)
    return [figure]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.05 * ((high - low) or 1.0)
    return low - pad, high + pad
