"""Whether maps lie on the lesion, in words; only where lesions are known."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import against
from medsaliency.report.findings.finding import Finding, known, share
from medsaliency.report.verdicts import (
    controls_against,
    coverage,
    has_values,
    higher_is_better,
    localization,
    means,
    methods,
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
    text = f"{method_label(first)} has the best mean {metric_label(metric)} of the methods: {level}"
    beside = []
    for control in (name for name in methods(contents) if name in contents.controls):
        reached = row(contents.summary, control, metric)
        if reached is not None and known(reached["mean"]):
            numbers = estimate(reached["mean"], reached["low"], reached["high"])
            beside.append(f"{method_label(control)} {numbers}")
    images = f" On {count(own['images'], 'image')}." if known(own.get("images")) else ""
    others = f". Maps that explain nothing reach: {listing(beside)}." if beside else "."
    result = [Finding(TOPIC, text + others + images)]
    for control in controls_against(contents, metric):
        result += against(contents, metric, control, TOPIC)
    return result


def pointing(contents: Contents) -> list[Finding]:
    """State in which share of images the best method's highest pixel lies on the lesion."""
    result = []
    for metric, where in POINTED.items():
        first = best(contents, metric) if has_values(contents, metric) else None
        if first is None:
            continue
        own = row(contents.summary, first, metric) or {}
        told = share({"value": own["mean"], "low": own["low"], "high": own["high"]}, coverage(contents))
        text = f"The highest pixel of a map of {method_label(first)} lies {where} in {told} of the images, the largest"
        result.append(Finding(TOPIC, f"{text} such share of the methods."))
    return result
