"""What a planted shortcut does: the sandbox alone can show the very same image without its marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import UNCHECKED, Finding, known, names, points, share
from medsaliency.report.verdicts import BLURRED, coverage
from medsaliency.report.wording import count, has_width, method_label, number, percent

TOPIC = "Planted shortcut"


def relies(contents: Contents) -> bool:
    """Tell whether the model is shown to rely on the marker: the drop without it has an interval above zero."""
    drop = _part(contents, "drop")
    return has_width(drop.get("low"), drop.get("high")) and bool(drop["low"] > 0)


def marker(contents: Contents) -> list[Finding]:
    """State how often the model is right with the marker and without, and what the marker does to other classes."""
    found = contents.inference.shortcut
    if not found:
        return []
    text = f"A marker was planted in images of the class {found.get('class')}"
    if known(found.get("marked"), found.get("images")):
        text += f" ({found['marked']:,} of {count(found['images'], 'image')})"
    sentences = [text + "."]
    with_it, without = (share(_part(contents, f"accuracy_{end}"), digits=1) for end in ("with", "without"))
    if with_it and without:
        text = f"The model's accuracy is {with_it} with the marker and {without} on the very same images without it"
        sentences.append(f"{text} ({coverage(contents)} intervals).")
    drop = points(_part(contents, "drop"))
    if relies(contents):
        sentences.append(f"Without it accuracy drops by {drop}, so the model relies on the marker.")
    elif drop:
        sentences.append(f"A drop by {drop} does not show that the model relies on the marker.")
    marked = [share(_part(contents, f"class_accuracy_{end}"), digits=1) for end in ("with", "without")]
    if all(marked):
        sentences.append(f"On the marked images alone it is {marked[0]} with the marker and {marked[1]} without.")
    return [Finding(TOPIC, " ".join([*sentences, *_on_others(contents)]), "caution")]


def _on_others(contents: Contents) -> list[str]:
    given, not_given = _part(contents, "called_with"), _part(contents, "called_without")
    if not (share(given) and share(not_given)):
        return []
    label = contents.inference.shortcut.get("class")
    text = (
        f"Of images of other classes the model calls {share(given, digits=1)} {label} when the marker is put on them,"
        f" and {share(not_given, digits=1)} without it."
    )
    # Where no image changes its share without the marker, the interval with it is that of the difference itself.
    ends = (given.get("low"), not_given.get("high"))
    brings = known(*ends) and has_width(given["low"], given.get("high")) and given["low"] > not_given["high"]
    if (given["value"], not_given["value"]) == (1, 0):
        return [text, "On every one of these images the marker alone brings the class."]
    shown = (
        "The marker alone brings the class more often." if brings else "That the marker alone does this is not shown."
    )
    return [text, shown]


def shares(contents: Contents) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the rows of ``shortcut_shares`` whose share is known, the largest first: of methods, of blind controls.

    Blind are controls that never look at the model; blurred maps do.
    """
    table = contents.inference.shortcut_shares
    rows = table[pd.to_numeric(table["share"], errors="coerce").notna()]
    ordered = rows.sort_values("share", ascending=False, kind="stable").to_dict("records")
    found: list[Mapping[str, Any]] = [{str(key): value for key, value in row.items()} for row in ordered]
    own = [row for row in found if row["method"] not in contents.controls]
    return own, [row for row in found if row["method"] in contents.controls - {BLURRED}]


def showing(contents: Contents) -> list[Mapping[str, Any]]:
    """Return the rows of the methods whose maps show the marker, the largest share first.

    More of the attribution lies on it than its area and than in the maps of any control that never looks at the model:
    a bright marker draws some of those too. The intervals must not meet.
    """
    own, blind = shares(contents)
    ends = [float(row[key]) for row in blind for key in ("share", "high") if known(row[key])]
    return [row for row in own if _above(row, max([float(row["area"]), *ends]))]


def _above(row: Mapping[str, Any], line: float) -> bool:
    return has_width(row["low"], row["high"]) and bool(row["low"] > line)


def told_share(row: Mapping[str, Any]) -> str:
    """Write a row's share of the attribution with its interval."""
    return share({"value": row["share"], "low": row["low"], "high": row["high"]}, digits=1)


def attribution_on_marker(contents: Contents) -> list[Finding]:
    """State whose attribution lies on the marker, how many times its area, and whose maps show the shortcut."""
    own, _ = shares(contents)
    if not own:
        return []
    first = own[0]
    times = f", {number(first['share'] / first['area'], 1)} times its area" if first["area"] > 0 else ""
    parts = [
        f"The marker covers {percent(first['area'], 1)} of an image. {method_label(first['method'])} has the"
        f" largest share of its attribution on it, {told_share(first)}{times}, on {_images(first)}."
    ]
    more = [row["method"] for row in own if _above(row, row["area"])]
    less = [row["method"] for row in own if has_width(row["low"], row["high"]) and row["high"] < row["area"]]
    rest = [row["method"] for row in own if row["method"] not in (*more, *less)]
    parts += [f"More than its area is shown to lie on it for {names(more)}."] if more else []
    parts += [f"Less is shown for {names(less)}."] if less else []
    parts += [f"Neither is shown for {names(rest)}."] if rest else []
    parts += _meaning(contents, any_more=bool(more))
    return [Finding("Attribution on the shortcut", " ".join(parts), "caution")]


def _images(row: Mapping[str, Any]) -> str:
    few = f"; with fewer than {UNCHECKED}, how often an interval holds the truth is not known"
    return count(row["images"], "marked image") + (few if row["images"] < UNCHECKED else "")


def _meaning(contents: Contents, *, any_more: bool) -> list[str]:
    """Say whose maps show the shortcut, beside the control that has most on it."""
    _, blind = shares(contents)
    shown, parts = names(row["method"] for row in showing(contents)), []
    if any_more and blind:
        text = f"Of the controls, which never look at the model, {method_label(blind[0]['method'])} has most"
        parts.append(f"{text}: {told_share(blind[0])}.")
    if shown:
        why = ": more lies on it than in the maps of any control, beyond the intervals" if parts else ""
        parts.append(f"The maps of {shown} show the shortcut{why}.")
    elif any_more:
        parts.append("No method is shown to have more on it than that, so that maps show the shortcut is not shown.")
    if shown and relies(contents):
        parts.append("A map that marks the shortcut is right about the model: the fault is the model's.")
    return parts


def _part(contents: Contents, key: str) -> Mapping[str, Any]:
    return contents.inference.shortcut.get(key) or {}
