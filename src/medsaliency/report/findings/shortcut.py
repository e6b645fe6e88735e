"""What a planted shortcut does: the sandbox alone can show the very same image without its marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, known, names, points, share
from medsaliency.report.verdicts import coverage
from medsaliency.report.wording import count, method_label, percent

TOPIC = "Planted shortcut"


def relies(contents: Contents) -> bool:
    """Tell whether the model is shown to rely on the marker: the drop without it has an interval above zero."""
    low: Any = _part(contents, "drop").get("low")
    return known(low) and bool(low > 0)


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
        sentences.append(
            f"The model's accuracy is {with_it} with the marker and {without} on the very same images without it"
            f" ({coverage(contents)} intervals)."
        )
    drop = points(_part(contents, "drop"))
    if relies(contents):
        sentences.append(f"Without it accuracy drops by {drop}, so the model relies on the marker.")
    elif drop:
        sentences.append(f"A drop by {drop} does not show that the model relies on the marker.")
    marked = [share(_part(contents, f"class_accuracy_{end}"), digits=1) for end in ("with", "without")]
    if all(marked):
        sentences.append(f"On the marked images alone it is {marked[0]} with the marker and {marked[1]} without.")
    return [Finding(TOPIC, " ".join(sentences), "caution"), *_on_others(contents)]


def _on_others(contents: Contents) -> list[Finding]:
    given, not_given = _part(contents, "called_with"), _part(contents, "called_without")
    if not (share(given) and share(not_given)):
        return []
    label = contents.inference.shortcut.get("class")
    text = (
        f"Of images of other classes the model calls {share(given, digits=1)} {label} when the marker is put on them,"
        f" and {share(not_given, digits=1)} without it."
    )
    ends = (given.get("low"), not_given.get("high"))
    brings = known(*ends) and given["low"] > not_given["high"]
    text += " The marker alone brings the class." if brings else " That the marker alone brings the class is not shown."
    return [Finding(TOPIC, text, "caution")]


def attribution_on_marker(contents: Contents) -> list[Finding]:
    """State which methods put more of their attribution on the marker than its share of the image."""
    table = contents.inference.shortcut_shares
    table = table[~table["method"].isin(contents.controls)]
    rows = table[pd.to_numeric(table["share"], errors="coerce").notna()]
    if rows.empty:
        return []
    more, less = rows[rows["low"] > rows["area"]], rows[rows["high"] < rows["area"]]
    text = f"The marker covers {percent(float(rows['area'].iloc[0]), 1)} of an image."
    if len(more):
        methods = more["method"].tolist()
        text += f" More of the attribution than that lies on it for {names(methods)}: {_range(more)}."
    if len(less):
        methods = less["method"].tolist()
        text += f" Less than that lies on it for {names(methods)}: {_range(less)}."
    rest = [name for name in table["method"] if name not in {*more["method"], *less["method"]}]
    if rest:
        text += f" Neither more nor less is shown for {names(rest)}."
    return [Finding("Attribution on the shortcut", text, "caution")]


def _range(rows: pd.DataFrame) -> str:
    """The least and the largest share, with whose they are."""
    ordered = rows.sort_values("share", kind="stable")
    ends: Sequence[Mapping[str, Any]] = [dict(ordered.iloc[place]) for place in ((0, -1) if len(rows) > 1 else (0,))]
    parts = []
    for end in ends:
        told = share({"value": end["share"], "low": end["low"], "high": end["high"]}, digits=1)
        parts.append(told if len(rows) == 1 else f"{told} for {method_label(str(end['method']))}")
    return parts[0] if len(parts) == 1 else f"from {parts[0]} to {parts[1]}"


def _part(contents: Contents, key: str) -> Mapping[str, Any]:
    return contents.inference.shortcut.get(key) or {}
