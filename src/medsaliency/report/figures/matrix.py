"""A matrix of correlations with a color scale, as the agreement figures draw it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medsaliency.report.figures.canvas import INK, MUTED
from medsaliency.statistics.bootstrap import Floats

COLORS = colormaps["PuOr_r"].resampled(41)
"""Diverging about 0 and told apart in every kind of color vision: purple below, orange above.

Few enough steps for matplotlib to draw the scale as shapes and not as a picture.
"""
WRITTEN = 14
"""Most rows in which each cell's number is written."""


def draw_matrix(figure: Figure, axis: Axes, values: Floats, labels: Sequence[str], *, title: str) -> None:
    """Draw correlations (K, K) in [-1, 1] as colored cells; what is not known is blank.

    Args:
        figure: Takes the color scale.
        axis: Where to draw.
        values: (K, K), row by column; NaN where unknown and where nothing is to be shown.
        labels: K names.
        title: What the color means.
    """
    size = len(labels)
    shown = np.ma.masked_invalid(values)
    edges = np.arange(size + 1) - 0.5
    # Cells are drawn with edges of their own color: viewers leave hairlines between bare neighbors.
    cells = axis.pcolormesh(edges, edges, shown, cmap=COLORS, vmin=-1, vmax=1, edgecolors="face", linewidth=0.3)
    axis.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
    axis.set_xticks(range(size), labels, rotation=90)
    axis.set_yticks(range(size), labels)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    if size <= WRITTEN:
        _numbers(axis, values)
    bar = figure.colorbar(cells, ax=axis, shrink=0.6, aspect=25, ticks=[-1, -0.5, 0, 0.5, 1])
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
    bar.outline.set_visible(False)
    bar.set_label(title, color=INK)
    bar.ax.tick_params(color=MUTED)


def _numbers(axis: Axes, values: Floats) -> None:
    colors = COLORS((np.nan_to_num(values) + 1) / 2)
    # Relative luminance as WCAG 2 has it; not pure black or white, which the page takes for its own inks.
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    light = linear[..., :3] @ np.array([0.2126, 0.7152, 0.0722]) > 0.179
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        ink = "#111418" if light[row, column] else "#fcfdfd"
        text = f"{values[row, column]:.2f}".replace("-", "−")
        axis.text(column, row, text, ha="center", va="center", fontsize=5.5, color=ink, in_layout=False)
