"""Randomization checks: does a map change when what the model has learned is taken away.

Adebayo et al. 2018, arXiv:1810.03292; margins after Arun et al. 2021, doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import (
    MUTED,
    ROW,
    TONES,
    columns_for,
    drawn_methods,
    interval_mark,
    method_rows,
    panels,
    style,
)
from medsaliency.report.wording import metric_label

END = "_margin"


def margins(contents: Contents) -> list[str]:
    """Return the margins of the randomization checks that have a value, in the study's order."""
    known = verdicts.of_family(contents, "randomization")
    return [name for name in known if name.endswith(END) and verdicts.has_values(contents, name)]


@style()
def draw(contents: Contents) -> Figure | None:
    """Draw a panel a check: each method's margin with its interval; right of 0 the map depends on what was learned."""
    shown = margins(contents)
    known = contents.summary[contents.summary["metric"].isin(shown)] if shown else contents.summary
    drawn = drawn_methods(contents, among=[str(name) for name in known["method"].unique()]) if shown else {}
    if not drawn:
        return None
    columns = columns_for(len(shown))
    figure, axes = panels(len(shown), columns, ROW * len(drawn) + 0.8)
    for place, (axis, metric) in enumerate(zip(axes, shown, strict=True)):
        method_rows(axis, drawn, labels=place % columns == 0)
        _margins(axis, contents, metric, drawn)
        axis.set_title(metric_label(metric).removesuffix(", margin").replace(", ", "\n", 1))
        axis.set_xlabel(f"margin; above 0 passes{_images(contents, metric)}")
    return figure


def side(low: float, high: float) -> str:
    """Return on which side of 0 an interval lies, as a verdict: a check is passed on the right of it."""
    return "better" if low > 0 else "worse" if high < 0 else "not shown"


def _images(contents: Contents, metric: str) -> str:
    counts = contents.summary.loc[contents.summary["metric"] == metric, "images"].dropna()
    low, high = counts.min(), counts.max()
    return f"; n = {low:.0f}" + ("" if low == high else f" to {high:.0f}") + " images"


def _margins(axis: Axes, contents: Contents, metric: str, drawn: dict[str, Style]) -> None:
    axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1)
    for row, method in enumerate(drawn):
        numbers = verdicts.row(contents.summary, method, metric)
        if numbers is None or not math.isfinite(numbers["mean"]):
            continue
        tone = side(numbers["low"], numbers["high"])
        ends = (numbers["mean"], numbers["low"], numbers["high"])
        interval_mark(axis, row, *ends, shown=tone != "not shown", color=TONES[tone])
