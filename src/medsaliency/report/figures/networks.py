"""Whether networks trained anew give the same maps.

Arun et al. 2021, doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    INK,
    ROW,
    Mark,
    columns_for,
    drawn_methods,
    interval_marks,
    method_rows,
    panels,
    sheets,
    style,
)
from medsaliency.report.wording import LIKENESS

WORDS = {"repeatability": "Repeatability", "reproducibility": "Reproducibility"}


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw a panel a kind and likeness: maps of one image by two networks, and (cross) of two images by one network."""
    table = contents.inference.networks
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    parts = {f"{kind} {measure}": part for (kind, measure), part in table.groupby(["kind", "measure"], sort=False)}
    columns = columns_for(len(parts))
    height = ROW * len(drawn) + 0.85
    figures = []
    for names in sheets(dict.fromkeys(parts, height), columns):
        figure, axes = panels(len(names), columns, height)
        for place, (axis, name) in enumerate(zip(axes, names, strict=True)):
            method_rows(axis, drawn, labels=place % columns == 0)
            _panel(axis, parts[name], drawn)
        figure.legend(handles=_key(), loc="outside lower center", ncols=2)
        figures.append(figure)
    return figures


def _panel(axis: Axes, part: pd.DataFrame, drawn: Mapping[str, Style]) -> None:
    known = {str(row["method"]): row for row in part.to_dict("records") if math.isfinite(row["value"])}
    found = [(row, known[name], look.color) for row, (name, look) in enumerate(drawn.items()) if name in known]
    interval_marks(axis, [Mark(row, n["value"], n["low"], n["high"], True, color) for row, n, color in found])
    axis.plot([n["two_images"] for _, n, _ in found], [row for row, *_ in found], "x", color=INK, markersize=3.5)
    kind, measure = str(part["kind"].iloc[0]), str(part["measure"].iloc[0])
    axis.set_title(WORDS.get(kind, kind))
    axis.set_xlabel(f"{LIKENESS.get(measure, measure)} of two maps\nn = {part['images'].max():.0f} images")


def _key() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", color=INK, label="one image, two networks"),
        Line2D([], [], linestyle="", marker="x", color=INK, label="two images, one network"),
    ]
