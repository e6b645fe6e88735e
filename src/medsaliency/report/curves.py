"""The colors and lines by which the whole report tells methods apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Middle tones, so that one set reads on white and on dark; ordered to keep neighbors apart in color-blind vision.
COLORS = (
    "#2f78c4", "#dd7a26", "#229a72", "#b9508e", "#8763cf", "#a98a12", "#16a0b5", "#cf4a58", "#74862b", "#96613f",
)  # fmt: skip
CONTROL_COLORS = ("#6b7480", "#a0a8b2", "#858e99")


@dataclass(frozen=True)
class Style:
    """How one method is drawn: a color, whether it is a control, and how often the colors had been used up before."""

    color: str
    control: bool
    turn: int = 0


def styles(methods: Iterable[str], controls: frozenset[str]) -> dict[str, Style]:
    """Give each method its color, grays to the controls; with more methods than colors they repeat, a turn later."""
    result: dict[str, Style] = {}
    taken = {True: 0, False: 0}
    for name in methods:
        control = name in controls
        colors = CONTROL_COLORS if control else COLORS
        turn, place = divmod(taken[control], len(colors))
        result[name] = Style(colors[place], control, turn)
        taken[control] += 1
    return result
