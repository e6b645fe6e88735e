"""What the model says of the class as a map's best pixels are shown or taken, step by step."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import DASHES, ROW, drawn_methods, line_keys, panels, style
from medsaliency.report.figures.sanity import BANDS, KEYS
from medsaliency.report.wording import metric_label

COLUMNS = 2


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw the mean at each share of the pixels with its interval, a panel a measure and a line a method."""
    table = contents.inference.steps
    measures = list(dict.fromkeys(str(name) for name in table["metric"]))
    if not measures:
        return []
    drawn = drawn_methods(contents, among=[str(name) for name in table["method"].unique()])
    rows = -(-len(measures) // COLUMNS)
    figure, axes = panels(len(measures), COLUMNS, 2.3 + ROW * (1 + -(-len(drawn) // KEYS)) / rows)
    for place, (axis, metric) in enumerate(zip(axes, measures, strict=True)):
        part = table[table["metric"] == metric]
        for name, look in drawn.items():
            own = part[part["method"] == name]
            _line(axis, own["share"], own["value"], look)
            if len(drawn) <= BANDS:
                axis.fill_between(own["share"], own["low"], own["high"], color=look.color, alpha=0.12, linewidth=0)
        axis.set_xscale("log")
        shares = sorted(part["share"].unique())
        axis.set_xticks(shares, [f"{100 * share:.3g}%" for share in shares])
        axis.set_xticks([], minor=True)
        axis.grid()
        axis.set_title(metric_label(metric))
        axis.set_xlabel(f"share of the pixels\nn = {part['images'].max():.0f} images")
        if place % COLUMNS == 0:
            axis.set_ylabel("what the model says of the class")
    figure.legend(handles=line_keys(drawn), loc="outside lower center", ncols=KEYS)
    return [figure]


def _line(axis: Axes, x: object, y: object, look: Style) -> None:
    dashes = DASHES[look.turn % len(DASHES)]
    axis.plot(x, y, color=look.color, linestyle=dashes, linewidth=1.2, marker="o", markersize=2)  # type: ignore[arg-type]
