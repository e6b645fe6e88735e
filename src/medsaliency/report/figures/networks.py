"""Whether networks trained anew give the same maps.

Arun et al. 2021, doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import (
    INK,
    ROW,
    columns_for,
    drawn_methods,
    interval_mark,
    method_rows,
    panels,
    style,
)
from medsaliency.report.wording import LIKENESS

WORDS = {"repeatability": "Repeatability", "reproducibility": "Reproducibility"}


@style()
def draw(contents: Contents) -> Figure | None:
    """Draw a panel a kind and likeness: maps of one image by two networks, and (cross) of two images by one network."""
    table = contents.inference.networks
    if table.empty:
        return None
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    parts = list(table.groupby(["kind", "measure"], sort=False))
    columns = columns_for(len(parts))
    figure, axes = panels(len(parts), columns, ROW * len(drawn) + 0.75)
    for place, (axis, ((kind, measure), part)) in enumerate(zip(axes, parts, strict=True)):
        method_rows(axis, drawn, labels=place % columns == 0)
        known = {str(numbers["method"]): numbers for numbers in part.to_dict("records")}
        for row, (name, look) in enumerate(drawn.items()):
            numbers = known.get(name)
            if numbers is not None and math.isfinite(numbers["value"]):
                ends = (numbers["value"], numbers["low"], numbers["high"])
                interval_mark(axis, row, *ends, shown=True, color=look.color)
                axis.plot([numbers["two_images"]], [row], "x", color=INK, markersize=3.5)
        axis.set_title(WORDS.get(str(kind), str(kind)))
        images = part["images"].max()
        axis.set_xlabel(f"{LIKENESS.get(str(measure), measure)} of two maps; n = {images:.0f} images")
    figure.legend(handles=_key(), loc="outside lower center", ncols=2)
    return figure


def _key() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", color=INK, label="one image, two networks"),
        Line2D([], [], linestyle="", marker="x", color=INK, label="two images, one network"),
    ]
