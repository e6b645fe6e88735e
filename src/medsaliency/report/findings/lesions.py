"""Whether maps lie on the lesion, in words; only where lesions are known."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import against
from medsaliency.report.findings.finding import Finding, known, names, share
from medsaliency.report.verdicts import (
    blind,
    has_values,
    higher_is_better,
    localization,
    means,
    of_family,
    row,
)
from medsaliency.report.wording import count, estimate, listing, method_label, metric_label

TOPIC = "Lesion overlap"
POINTED = {"pointing_game": "on the lesion or close to it", "hit_rate": "on the lesion"}
"""Measures that are shares of images, and where the map's highest pixel lies in them."""


def best(contents: Contents, metric: str) -> str | None:
    """Return the explanation with the best mean on ``metric``; None where none has one."""
    defined = means(contents, metric)
    if not defined:
        return None
    return (max if higher_is_better(contents, metric) else min)(defined, key=lambda name: defined[name])


def lesions(contents: Contents) -> list[Finding]:
    """State the best overlap beside that of the controls, and who is better than each of them."""
    metric = localization(contents)
    first = best(contents, metric)
    if first is None:
        asked = of_family(contents, "localization")
        present = any(has_values(contents, name) for name in asked)
        text = "No image has a lesion mask with a score, so overlap with lesions says nothing here."
        return [] if present or not asked else [Finding(TOPIC, text, "caution")]
    own = row(contents.summary, first, metric) or {}
    level = estimate(own["mean"], own["low"], own["high"])
    on = f" on {count(own['images'], 'image')}" if known(own.get("images")) else ""
    text = f"{method_label(first)} has the best mean {metric_label(metric)} of the methods{on}: {level}"
    beside = []
    for control in blind(contents):
        reached = row(contents.summary, control, metric)
        if reached is not None and known(reached["mean"]):
            numbers = estimate(reached["mean"], reached["low"], reached["high"])
            beside.append(f"{method_label(control)} {numbers}")
    others = f". Maps that explain nothing reach: {listing(beside)}." if beside else "."
    return [Finding(TOPIC, text + others), *against(contents, metric, TOPIC)]


def pointing(contents: Contents) -> list[Finding]:
    """State in which share of images the highest pixel lies on the lesion: of the best method and the best control."""
    parts = []
    for metric, where in POINTED.items():
        found = means(contents, metric) if has_values(contents, metric) else {}
        if not found:
            continue
        first, *others = (name for name, mean in found.items() if mean == max(found.values()))
        level = _pointed(contents, first, metric)
        also = f", and in as many for {names(others)}" if others else ""
        parts.append(f"The highest pixel lies {where} in {level} of the images for {method_label(first)}{also}.")
        found_rows = {name: row(contents.summary, name, metric) or {} for name in blind(contents)}
        reached = {name: own["mean"] for name, own in found_rows.items() if known(own.get("mean"))}
        text = "No method does better"
        if reached:
            control = max(reached, key=lambda name: reached[name])
            text += f"; of the controls {method_label(control)} does best, {_pointed(contents, control, metric)}"
        parts.append(f"{text}.")
    return [Finding("Pointing", " ".join(parts))] if parts else []


def _pointed(contents: Contents, method: str, metric: str) -> str:
    own = row(contents.summary, method, metric) or {}
    return share({"value": own["mean"], "low": own["low"], "high": own["high"]})
