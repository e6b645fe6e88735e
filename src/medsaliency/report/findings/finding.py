"""What a finding is, and the words that all findings share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from medsaliency.report.contents import Contents
from medsaliency.report.verdicts import explanations, patients_known, row
from medsaliency.report.wording import NO_SPREAD, estimate, has_width, listing, method_label, number, percent
from medsaliency.statistics.controls import RANDOM

Tone = Literal["plain", "support", "caution"]
SHOWN_NUMBERS = 6
"""Names of which a sentence gives each its numbers; the tables hold those of more."""
EXCEPTED = 3
"""Names that a sentence leaves out of all methods."""
NAMED = 4
"""Names that a sentence of the summary lists."""
UNCHECKED = 10
"""With fewer patients than this, how often an interval holds the truth is not known (docs/explanation/intervals.md)."""


@dataclass(frozen=True)
class Finding:
    """One to four sentences about one subject.

    Args:
        topic: The subject.
        text: The sentences.
        tone: What supports an explanation, from what limits it.
        group: The heading that it stands under.
    """

    topic: str
    text: str
    tone: Tone = "plain"
    group: str = ""


def names(methods: Iterable[str]) -> str:
    """List methods as a sentence does."""
    return listing(method_label(name) for name in methods)


def these(contents: Contents, methods: Sequence[str]) -> str:
    """List methods, or where they are nearly all of many, name those that are missing."""
    every = explanations(contents)
    missing = [name for name in every if name not in methods]
    if len(every) <= SHOWN_NUMBERS or len(missing) > EXCEPTED or len(methods) + len(missing) != len(every):
        return names(methods)
    return f"all {len(every)} methods{f' but {names(missing)}' if missing else ''}"


def few_names(methods: Sequence[str]) -> str:
    """List the first methods, and count the rest."""
    if len(methods) <= NAMED + 1:
        return names(methods)
    return f"{', '.join(method_label(name) for name in methods[:NAMED])} and {len(methods) - NAMED} more"


def maps_of(control: str) -> str:
    """Return what a control's maps are called in a sentence."""
    words = {RANDOM: "random maps", "edge": "the edge map", "center_gaussian": "the center map"}
    return words.get(control, f"the control {method_label(control)}")


def verb(subjects: Sequence[object], one: str, many: str) -> str:
    """Return the form of a verb that fits the number of its subjects."""
    return one if len(subjects) == 1 else many


def scored(contents: Contents, methods: Sequence[str], metric: str) -> str:
    """List methods with their means and intervals; more than a few without."""
    if len(methods) > SHOWN_NUMBERS:
        return these(contents, methods)
    rows = {name: row(contents.summary, name, metric) for name in methods}
    return listing(
        method_label(name)
        if own is None or not known(own["mean"])
        else f"{method_label(name)} ({estimate(own['mean'], own['low'], own['high'])})"
        for name, own in rows.items()
    )


def unit(contents: Contents) -> str:
    """Return what was resampled and tested: a patient, or where none is known an image."""
    return "patient" if patients_known(contents) else "image"


def known(*values: object) -> bool:
    """Tell whether all values are finite numbers."""
    return all(isinstance(value, Real) and math.isfinite(value) for value in values)


def p_value(p: float) -> str:
    """Write a p value, "p = 0.032" or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def share(interval: Mapping[str, Any] | None, coverage: str = "", digits: int = 0) -> str:
    """Write a share with its interval as percentages, "61% (50% to 70%)"; empty where it is not known."""
    value, low, high = ((interval or {}).get(key) for key in ("value", "low", "high"))
    if not known(value):
        return ""
    if not known(low, high):
        return f"{percent(value, digits)} (interval undefined)"
    if not has_width(low, high):
        return f"{percent(value, digits)} ({NO_SPREAD})"
    named = f"{coverage} interval " if coverage else ""
    return f"{percent(value, digits)} ({named}{percent(low, digits)} to {percent(high, digits)})"


def points(interval: Mapping[str, Any] | None) -> str:
    """Write a difference of two shares, "34.0 percentage points (25.0 to 43.0)"; empty where it is not known."""
    ends = [(interval or {}).get(key) for key in ("value", "low", "high")]
    if not known(ends[0]):
        return ""
    value, low, high = (number(100 * end, 1) if known(end) else "" for end in ends)  # type: ignore[operator]
    if low and high:
        return f"{value} percentage points ({f'{low} to {high}' if has_width(*ends[1:]) else NO_SPREAD})"
    return f"{value} percentage points (interval undefined)"


def would_have_shown(least: Sequence[float]) -> str:
    """Say what the smallest detectable differences are: one number, or from the least to the largest."""
    sizes = [value for value in least if known(value)]
    if not sizes:
        return "how large a difference could have been missed is not known"
    low, high = number(min(sizes)), number(max(sizes))
    size = low if low == high else f"{low} to {high}"
    rest = "" if len(sizes) == len(least) else ", where that is known"
    return f"a difference of {size} would have been shown{rest}"
