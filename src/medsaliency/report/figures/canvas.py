"""What all figures for papers share: size, type, inks and files; matplotlib without pyplot and without global state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style, styles
from medsaliency.report.wording import method_label

WIDE = 7.2
"""Inches: the width of a page of two columns, 183 mm."""
TALL = 9.6
"""Inches: the height of a page for printing, less a line of legend. What is taller goes on to a further sheet."""
ROW = 0.17
"""Inches of one method's row."""
INK, MUTED, GRID = "#000000", "#59636e", "#dfe4e9"
"""Text and axes, notes, and the lines behind; the page draws each in its own theme's color."""
TONES = {"better": "#14866b", "worse": "#c0452f", "not shown": "#7f8a96"}
"""A verdict's color. A second sign goes with it: a filled mark where a difference is shown, a hollow one where not."""
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
"""A line's pattern, by how often the colors had been used up before its method."""
HEADLINE_MEASURES = (
    "evidence", "sic_mean", "aic_mean", "insertion_gain", "deletion_gain", "road", "lesion_auprc", "relevance_mass",
    "pointing_game",
)  # fmt: skip
HEADLINES = 6

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    # Where a title stands anyway, as nothing is above an axis; else every tick's label is measured to find it out.
    "axes.titley": 1.0,
    "axes.labelsize": 7,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "hatch.linewidth": 0.4,
    # A name with two dollar signs is a name, not mathematics.
    "text.parse_math": False,
    # Text stays text, in fonts that a journal accepts; ids hang on what is drawn and not on the day.
    "svg.fonttype": "none",
    "svg.hashsalt": "medsaliency",
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Set type and inks while a figure is drawn or written, whatever the user's own settings; usable as a decorator."""
    with rc_context():
        rcdefaults()
        rcParams.update(_RC)
        yield


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, at its final size in print."""
    figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.06, hspace=0.04, wspace=0.04)  # type: ignore[union-attr, call-arg]
    return figure


@style()
def svg(figure: Figure, *, background: str = "white") -> str:
    """Return a figure as an SVG file's text: text as text, the same for the same figure on any day."""
    buffer = BytesIO()
    figure.set_facecolor(background)
    # Not by savefig, which draws twice: a figure is laid out whenever it is drawn.
    metadata = {"Date": None, "Creator": "medsaliency"}
    FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    return buffer.getvalue().decode("utf-8")


@style()
def pdf(figure: Figure) -> bytes:
    """Return a figure as a PDF file with its fonts embedded as TrueType, without a date."""
    buffer = BytesIO()
    figure.set_facecolor("white")
    metadata = {"CreationDate": None, "Creator": "medsaliency"}
    FigureCanvasPdf(figure).print_pdf(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def drawn_methods(contents: Contents, *, among: Sequence[str] | None = None) -> dict[str, Style]:
    """Return every method's style, the same in all figures; only those of ``among`` if given, in the study's order."""
    known = styles(verdicts.methods(contents), contents.controls)
    return known if among is None else {name: look for name, look in known.items() if name in set(among)}


def headlines(contents: Contents, most: int = HEADLINES) -> list[str]:
    """Return the measures that figures show first: the study's primary one, then one or two of each question.

    A study without any of :data:`HEADLINE_MEASURES` shows the first of its own. Measures without a value are left out.
    """
    summary = contents.summary
    valued = set(summary.loc[summary["mean"].notna(), "metric"]) if len(summary) else set()
    known = [name for name in verdicts.metrics(contents) if name in valued]
    wanted = list(dict.fromkeys(name for name in (verdicts.primary(contents), *HEADLINE_MEASURES) if name in known))
    return (wanted or known)[:most]


def arrow(contents: Contents, metric: str) -> str:
    """Return which way ``metric`` is better, as the labels of axes say it."""
    return "higher is better" if verdicts.higher_is_better(contents, metric) else "lower is better"


def method_rows(axis: Axes, drawn: Mapping[str, Style], *, labels: bool = True) -> None:
    """Make the vertical axis a row a method, the first on top, controls in italics."""
    axis.set_ylim(len(drawn) - 0.5, -0.5)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    if not labels:
        axis.set_yticks([])
        return
    axis.set_yticks(range(len(drawn)), [method_label(name) for name in drawn])
    axis.tick_params(axis="y", length=0)
    for label, look in zip(axis.get_yticklabels(), drawn.values(), strict=True):
        label.set_fontstyle("italic" if look.control else "normal")


def line_keys(drawn: Mapping[str, Style]) -> list[Line2D]:
    """Return a legend's lines, one a method in its color and dashes."""
    return [
        Line2D([], [], color=look.color, linestyle=DASHES[look.turn % len(DASHES)], label=method_label(name))
        for name, look in drawn.items()
    ]


def panels(count: int, columns: int, height: float, *, width: float = WIDE) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels of ``height`` inches, ``columns`` a row, and its axes in order."""
    rows = -(-count // columns)
    figure = canvas(width, rows * height)
    axes: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def stacked(heights: Sequence[float], *, width: float = WIDE) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels of those heights, one below the other, and their axes."""
    figure = canvas(width, sum(heights))
    ratios = {"height_ratios": list(heights)}
    return figure, figure.subplots(len(heights), 1, squeeze=False, gridspec_kw=ratios).ravel().tolist()


def sheets(heights: Mapping[str, float], columns: int = 1) -> list[list[str]]:
    """Divide panels, ``columns`` a row, into sheets that fit a page: whole rows, one at least.

    Args:
        heights: Inches of each panel, in order.
        columns: Panels that stand side by side.

    Returns:
        The names of each sheet's panels.
    """
    names = list(heights)
    found: list[list[str]] = []
    room = 0.0
    for start in range(0, len(names), columns):
        row = names[start : start + columns]
        tall = max(heights[name] for name in row)
        if not found or tall > room:
            found.append([])
            room = TALL
        found[-1] += row
        room -= tall
    return found


def columns_for(count: int) -> int:
    """Return how many panels stand side by side: three, or two where that leaves no gap."""
    return 2 if count in (2, 4) else max(1, min(3, count))


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return the heights of labels near ascending ``values``, at least ``gap`` apart and within ``low`` to ``high``.

    Where they do not fit, they share the height evenly.
    """
    if len(values) > 1 and gap * (len(values) - 1) >= high - low:
        return [float(height) for height in np.linspace(low, high, len(values))]
    heights: list[float] = []
    for value in values:
        heights.append(max(value, low if not heights else heights[-1] + gap))
    ceiling = high
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], ceiling)
        ceiling = heights[place] - gap
    return heights


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval at height ``y``: filled where something is ``shown``, hollow where not."""

    y: float
    value: float
    low: float
    high: float
    shown: bool
    color: str


def interval_marks(axis: Axes, marks: Sequence[Mark], *, marker: str = "o", size: float = 3.5) -> None:
    """Draw estimates with their intervals, all of one shape; a value that is not a number is left out."""
    known = [mark for mark in marks if np.isfinite(mark.value)]
    if not known:
        return
    ends = [mark for mark in known if np.isfinite(mark.low) and np.isfinite(mark.high)]
    level_lines(axis, [(mark.y, mark.low, mark.high) for mark in ends], [mark.color for mark in ends], 1.1, zorder=2)
    axis.scatter(
        [mark.value for mark in known], [mark.y for mark in known], s=size**2, marker=marker, zorder=3,
        c=[mark.color if mark.shown else "white" for mark in known], edgecolors=[mark.color for mark in known],
        linewidths=1.0,
    )  # fmt: skip


def level_lines(
    axis: Axes, lines: Sequence[tuple[float, float, float]], colors: Sequence[str], width: float, *, zorder: float
) -> None:
    """Draw level lines, (height, from, to) each, in one piece: hundreds of separate lines take seconds."""
    y, low, high = zip(*lines, strict=True) if lines else ((), (), ())
    axis.hlines(y, low, high, colors=colors, linewidth=width, capstyle="butt", zorder=zorder)
