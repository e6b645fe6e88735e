"""Aggregated information curves as plotly figures, and the colors by which the whole report tells methods apart."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io
from numpy.typing import NDArray

from medsaliency.report.wording import method_label

POINTS = 121
"""Points drawn of a curve. The areas come from the full grid; a screen shows no more than this."""

# Middle tones, so that one set reads on white and on dark; ordered to keep neighbors apart in color-blind vision.
_COLORS = (
    "#2f78c4", "#dd7a26", "#229a72", "#b9508e", "#8763cf", "#a98a12", "#16a0b5", "#cf4a58", "#74862b", "#96613f",
)  # fmt: skip
_CONTROL_COLORS = ("#6b7480", "#a0a8b2", "#858e99")

_AXES = {"aic": "Images still given the class", "sic": "Probability of the class"}
_INFORMATION = {
    "entropy": "entropy",
    "webp": "WebP length",
    "mean": "mean of entropy and WebP length",
    "entropy_published": "entropy, as published",
    "webp_published": "WebP length, as published",
    "mean_published": "mean of entropy and WebP length, as published",
}


@dataclass(frozen=True)
class Style:
    """How one method is drawn: a color, and whether it is a control."""

    color: str
    control: bool


def styles(methods: Iterable[str], controls: frozenset[str]) -> dict[str, Style]:
    """Give each method its color, grays to the controls; with more methods than colors they repeat."""
    result: dict[str, Style] = {}
    taken = {True: 0, False: 0}
    for name in methods:
        control = name in controls
        colors = _CONTROL_COLORS if control else _COLORS
        result[name] = Style(colors[taken[control] % len(colors)], control)
        taken[control] += 1
    return result


def curve_figure(curves: pd.DataFrame, metric: str, drawn: dict[str, Style]) -> go.Figure:
    """Draw mean with band and, hidden at first, median of each method's aggregated curve.

    Args:
        curves: As in ``Contents.curves``.
        metric: The rows to draw.
        drawn: The methods to draw, in order, with their style.

    Returns:
        A figure; each trace's ``meta`` holds ``method`` and ``role``, which is "band", "mean" or "median".
    """
    rows = {str(row["method"]): row for _, row in curves[curves["metric"] == metric].iterrows()}
    # Controls first, so that they lie behind; bands before lines for the same reason.
    order = sorted((name for name in drawn if name in rows), key=lambda name: not drawn[name].control)
    figure = go.Figure(layout=_layout(metric))
    for name in order:
        figure.add_trace(_band(rows[name], name, drawn[name]))
    for name in order:
        figure.add_trace(_line(rows[name], name, drawn[name], "mean"))
        figure.add_trace(_line(rows[name], name, drawn[name], "median"))
    return figure


def figure_data(figure: go.Figure) -> dict[str, Any]:
    """Return a figure as plain data for ``Plotly.newPlot``, NaN as null."""
    data: dict[str, Any] = json.loads(plotly.io.to_json(figure, validate=False, engine="json"))
    return data


def _thinned(row: pd.Series[Any], *columns: str) -> list[NDArray[np.float64]]:
    values = [np.asarray(row[column], dtype=np.float64) for column in columns]
    if not len(values[0]):
        return values
    keep = np.unique(np.round(np.linspace(0, len(values[0]) - 1, POINTS)).astype(np.intp))
    return [np.round(column[keep], 4) for column in values]


def _band(row: pd.Series[Any], method: str, style: Style) -> go.Scatter:
    x, low, high = _thinned(row, "x", "low", "high")
    known = np.isfinite(low) & np.isfinite(high)
    red, green, blue = (int(style.color[start : start + 2], 16) for start in (1, 3, 5))
    return go.Scatter(
        x=[*x[known].tolist(), *x[known][::-1].tolist()],
        y=[*high[known].tolist(), *low[known][::-1].tolist()],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        meta={"method": method, "role": "band"},
    )


def _line(row: pd.Series[Any], method: str, style: Style, role: str) -> go.Scatter:
    x, y = _thinned(row, "x", role)
    return go.Scatter(
        x=x.tolist(),
        y=[value if np.isfinite(value) else None for value in y.tolist()],
        mode="lines",
        # plotly reads names as a small subset of HTML, so a name from outside is escaped for it as well.
        name=html.escape(method_label(method)) + (", median" if role == "median" else ""),
        line={
            "color": style.color,
            "width": 1.5 if role == "median" else 2.25,
            "dash": "dash" if role == "median" else "solid",
        },
        visible=role == "mean",
        hovertemplate="%{y:.3f}",
        meta={"method": method, "role": role},
    )


def _layout(metric: str) -> go.Layout:
    family, _, information = metric.partition("_")
    grid = {"gridcolor": "rgba(128,140,152,0.22)", "zeroline": False, "ticks": "", "fixedrange": False}
    return go.Layout(
        template=go.layout.Template(),
        margin={"l": 48, "r": 10, "t": 26, "b": 44},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8e99a5", "activecolor": "#2f78c4"},
        height=340,
        autosize=True,
        showlegend=False,
        hovermode="x unified",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#6b7480"},
        xaxis={
            **grid,
            "title": {"text": f"Information shown ({html.escape(_INFORMATION.get(information, information))})"},
            "range": [0, 1],
        },
        yaxis={**grid, "title": {"text": _AXES.get(family, html.escape(family))}, "range": [0, 1.02]},
    )
