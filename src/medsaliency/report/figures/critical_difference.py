"""Critical-difference diagrams: mean ranks, and the methods between which no difference is shown.

Demšar 2006, J. Mach. Learn. Res. 7:1-30.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.figures.canvas import INK, MUTED, drawn_methods, headlines, sheets, stacked, style
from medsaliency.report.wording import method_label, metric_label

LINE, BAR = 0.15, 0.09
"""Inches from one label to the next, and from one bar to the next."""


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw one diagram a headline measure; a bar joins methods that no test tells apart, a dot for each member.

    The tests are the pairwise ones, Holm-corrected; a study without them is judged by Nemenyi's critical difference.
    """
    ranks = contents.inference.ranks
    shown = [name for name in headlines(contents) if len(_ranks(ranks, name)) > 1]
    drawn = drawn_methods(contents)
    joined = {metric: groups(contents, metric) for metric in shown}
    heights = {
        metric: 0.62
        + BAR * len(_levels(joined[metric], _ranks(ranks, metric)))
        + LINE * -(-len(_ranks(ranks, metric)) // 2)
        for metric in shown
    }
    figures = []
    for names in sheets(heights):
        figure, axes = stacked([heights[metric] for metric in names])
        for axis, metric in zip(axes, names, strict=True):
            _diagram(axis, _ranks(ranks, metric), joined[metric], drawn)
            axis.set_title(metric_label(metric))
            axis.set_title(_note(contents, metric), loc="right", fontsize=6.5, fontweight="normal", color=MUTED)
        figures.append(figure)
    return figures


def groups(contents: Contents, metric: str) -> list[list[str]]:
    """Return the largest sets of methods of which no two are shown to differ, each ordered by rank.

    By the verdicts of the pairwise tests where there are any; else two methods differ where their mean ranks are more
    than the critical difference apart.
    """
    ranks = _ranks(contents.inference.ranks, metric)
    pairs = _pairs(contents, metric)
    if len(pairs):
        # A pair without a test is not shown to differ either.
        told = pairs.loc[pairs["verdict"] != "not shown", ["method", "other"]]
        apart = {frozenset((str(one), str(other))) for one, other in zip(told["method"], told["other"], strict=True)}
        alike = {a: {b for b in ranks if a != b and frozenset((a, b)) not in apart} for a in ranks}
    else:
        limit = _critical(contents, metric)
        alike = {a: {b for b in ranks if a != b and abs(ranks[a] - ranks[b]) <= limit} for a in ranks}
    found = [sorted(clique, key=list(ranks).index) for clique in _cliques(alike, set(), set(alike), set())]
    return sorted((names for names in found if len(names) > 1), key=lambda names: (ranks[names[0]], -len(names)))


def by(contents: Contents, metric: str) -> str:
    """Return the test by which :func:`groups` joins the methods of ``metric``, as a reader is told."""
    if len(_pairs(contents, metric)):
        return "Holm-corrected signed-rank tests"
    if np.isfinite(_critical(contents, metric)):
        return "Nemenyi's critical difference"
    return ""


def _cliques(alike: Mapping[str, set[str]], chosen: set[str], free: set[str], done: set[str]) -> Iterator[set[str]]:
    """Bron and Kerbosch 1973, doi:10.1145/362342.362367, with a pivot."""
    if not free and not done:
        yield chosen
        return
    pivot = max(sorted(free | done), key=lambda name: len(alike[name] & free))
    for name in sorted(free - alike[pivot]):
        yield from _cliques(alike, chosen | {name}, free & alike[name], done & alike[name])
        free, done = free - {name}, done | {name}


def _ranks(table: pd.DataFrame, metric: str) -> dict[str, float]:
    part = table[(table["metric"] == metric) & table["rank"].notna()].sort_values("rank", kind="stable")
    return dict(zip(part["method"].astype(str), part["rank"].astype(float), strict=True))


def _pairs(contents: Contents, metric: str) -> pd.DataFrame:
    table = contents.inference.pairwise
    return table[table["metric"] == metric]


def _critical(contents: Contents, metric: str) -> float:
    table = contents.inference.friedman
    found = table.loc[table["metric"] == metric, "critical_difference"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _note(contents: Contents, metric: str) -> str:
    table = contents.inference.friedman
    found = table.loc[table["metric"] == metric, "patients"]
    many = f" over {int(found.iloc[0])} patients" if len(found) and np.isfinite(found.iloc[0]) else ""
    test = by(contents, metric)
    bars = f"; bars: no difference by {test}, α = {verdicts.alpha(contents):g}" if test else ""
    return f"mean rank{many}, 1 is best{bars}"


def _levels(bars: list[list[str]], ranks: Mapping[str, float]) -> list[list[list[str]]]:
    """Put bars that do not meet on one line, as few lines as a first fit needs."""
    gap = 0.02 * (len(ranks) or 1)
    levels: list[list[list[str]]] = []
    for names in bars:
        free = (line for line in levels if ranks[line[-1][-1]] + gap < ranks[names[0]])
        line = next(free, None)
        if line is None:
            levels.append([names])
        else:
            line.append(names)
    return levels


def _diagram(axis: Axes, ranks: Mapping[str, float], bars: list[list[str]], drawn: Mapping[str, Style]) -> None:
    levels = _levels(bars, ranks)
    below = BAR * (len(levels) + 1.2)
    depth = below + LINE * -(-len(ranks) // 2)
    first, last = 1.0, float(max(len(ranks), 2))
    # The axis takes the middle of the width; names stand at both sides of it.
    side = 0.42 * (last - first)
    axis.set(xlim=(first - side, last + side), ylim=(depth, -0.16))
    axis.set_axis_off()
    axis.plot([first, last], [0, 0], color=INK, linewidth=0.8)
    ticks = np.arange(first, last + 0.5, max(1, round((last - first) / 12)))
    axis.vlines(ticks, 0, -0.05, color=INK, linewidth=0.8, capstyle="projecting")
    for rank in ticks:
        axis.text(rank, -0.07, f"{rank:.0f}", ha="center", va="bottom", in_layout=False)
    for level, line in enumerate(levels, 1):
        for names in line:
            places = [ranks[name] for name in names]
            y = [BAR * level] * len(places)
            axis.plot(places, y, color=INK, linewidth=1.8, solid_capstyle="round", marker="o", markersize=2.8)
    _names(axis, below, (first, last), ranks, drawn)


def _names(
    axis: Axes, top: float, ends: tuple[float, float], ranks: Mapping[str, float], drawn: Mapping[str, Style]
) -> None:
    order = list(ranks)
    half = (len(order) + 1) // 2
    margin = 0.015 * (ends[1] - ends[0])
    elbows: list[list[tuple[float, float]]] = []
    colors: list[str] = []
    for left, names in ((True, order[:half]), (False, order[half:][::-1])):
        for place, name in enumerate(names):
            y, rank = top + LINE * (place + 0.5), ranks[name]
            x = ends[0] - margin if left else ends[1] + margin
            elbows.append([(rank, 0), (rank, y), (x, y)])
            colors.append(drawn[name].color if name in drawn else MUTED)
            label, value = method_label(name), f"{rank:.1f}"
            text = f"{label}\u2002{value}" if left else f"{value}\u2002{label}"
            slant = "italic" if name in drawn and drawn[name].control else "normal"
            where = x - margin if left else x + margin
            axis.text(where, y, text, ha="right" if left else "left", va="center", fontstyle=slant)
    axis.add_collection(LineCollection(elbows, colors=colors, linewidths=0.8, capstyle="projecting", zorder=1))
    places = [corner[0][0] for corner in elbows]
    axis.scatter(places, [0] * len(places), s=3.2**2, c=colors, linewidths=1.0, clip_on=False, zorder=3)
