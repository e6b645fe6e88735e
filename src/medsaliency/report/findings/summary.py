"""What a reader with one minute must know, in at most five sentences."""

from __future__ import annotations

from collections.abc import Sequence

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import against_leader, leader
from medsaliency.report.findings.finding import Finding, few_names, known, maps_of, points, verb, would_have_shown
from medsaliency.report.findings.lesions import best
from medsaliency.report.findings.model import accuracy
from medsaliency.report.findings.reliance import Standing, every_control, standing
from medsaliency.report.findings.shortcut import relies, shares, showing, told_share
from medsaliency.report.trust_card import criterion_label
from medsaliency.report.verdicts import (
    against_verdicts,
    controls_against,
    criteria,
    explanations,
    localization,
    primary,
    to_beat,
)
from medsaliency.report.wording import count, listing, method_label, metric_label, percent
from medsaliency.statistics.controls import RANDOM
from medsaliency.statistics.trust import FAILED, NOT_SHOWN


def summary(contents: Contents) -> list[Finding]:
    """Return one sentence each on the model, the methods relied on, those not, what maps show, and what is open."""
    model = [Finding("Model", finding.text, finding.tone) for finding in accuracy(contents)]
    return [*model, *_shortcut(contents), *_relied_on(contents), *_lesions(contents), *_open(contents)][:5]


def _shortcut(contents: Contents) -> list[Finding]:
    if not relies(contents):
        return []
    found, shown = contents.inference.shortcut, showing(contents)
    text = f"The model relies on a marker planted with the class {found.get('class')}: on the very same images without"
    text = f"{text} it, accuracy drops by {points(found['drop'])}."
    if shown:
        first, whose = shown[0], few_names([str(row["method"]) for row in shown])
        text += f" The maps of {whose} show it, {method_label(first['method'])} the most: {told_share(first)} of its"
        text += f" attribution lies on {percent(first['area'], 1)} of the image."
    elif any(shares(contents)):
        text += " No method's maps are shown to show it."
    return [Finding("Shortcut", text, "caution")]


def _relied_on(contents: Contents) -> list[Finding]:
    if not criteria(contents):
        return []
    found = standing(contents)
    than = f"better than {every_control(contents)} on {metric_label(primary(contents))}"
    if found.relied:
        subject = verb(found.relied, "it is", "they are")
        text = (
            f"{few_names(found.relied)} may be relied on as far as was tested: {subject} shown to be {than}, and"
            f" {verb(found.relied, 'fails', 'fail')} no criterion. {_left_open(contents, found.relied)}"
        )
        result = [Finding("Relied on", text.strip(), "support")]
    else:
        text = f"No method may be relied on: that takes scores shown to be {than}, and no failed criterion."
        result = [Finding("Relied on", text, "caution")]
    parts = _not_relied_on(contents, found)
    return result + ([Finding("Not relied on", "; ".join(parts) + ".", "caution")] if parts else [])


def _left_open(contents: Contents, relied: Sequence[str]) -> str:
    """Say of how many criteria nothing is shown for those relied on: what was not tested is not passed."""
    card = criteria(contents)
    asked = {name for own in card.values() for name in own}
    silent = [sum(card[method].get(name, NOT_SHOWN) == NOT_SHOWN for name in asked) for method in relied]
    low, high = min(silent), max(silent)
    many = f"{low}" if low == high else f"{low} to {high}"
    return f"Nothing is shown by {many} of {count(len(asked), 'criterion', 'criteria')}." if high else ""


def _not_relied_on(contents: Contents, found: Standing) -> list[str]:
    card, parts = criteria(contents), []
    if found.failed:
        lost = dict.fromkeys(name for method in found.failed for name, own in card[method].items() if own == FAILED)
        named = listing(criterion_label(name).lower() for name in lost)
        parts.append(
            f"{few_names(found.failed)} {verb(found.failed, 'fails', 'fail')} at least one criterion ({named})"
        )
    if found.noise:
        others = [maps_of(control) for control in to_beat(contents.controls).values() if control != RANDOM]
        each = others[0] if len(others) == 1 else f"every other control ({', '.join(others)})"
        text = f"{verb(found.noise, 'is', 'are')} better than random maps, but not shown to be better than {each}"
        parts.append(f"{few_names(found.noise)} {text}")
    if found.unproven:
        text = f"{verb(found.unproven, 'is', 'are')} not shown to be better than random maps"
        parts.append(f"{few_names(found.unproven)} {text}")
    return parts


def _lesions(contents: Contents) -> list[Finding]:
    metric = localization(contents)
    controls, judged = controls_against(contents, metric), explanations(contents)
    if not controls or best(contents, metric) is None:
        return []
    verdicts = [against_verdicts(contents, metric, control) for control in controls]
    beats = [method for method in judged if all(own[method] == "better" for own in verdicts)]
    whom = listing(map(maps_of, controls))
    if not beats:
        text = f"No method is shown to mark lesions better than every control: {whom} ({metric_label(metric)})."
        return [Finding("Lesions", text, "caution")]
    text = f"{few_names(beats)} {verb(beats, 'marks', 'mark')} lesions better than {whom} ({metric_label(metric)})"
    rest = f"; {len(judged) - len(beats)} of {len(judged)} methods are not shown to" if len(beats) < len(judged) else ""
    return [Finding("Lesions", f"{text}{rest}.", "support" if not rest else "plain")]


def _open(contents: Contents) -> list[Finding]:
    for metric in (primary(contents), localization(contents)):
        first, judged = leader(contents, metric), against_leader(contents, metric)
        peers = [m for m, (verdict, _) in judged.items() if verdict not in ("better", "worse")]
        if first is None or not peers or not known(*(judged[name][1] for name in peers)):
            continue
        text = (
            f"Between {method_label(first)}, first on {metric_label(metric)}, and {few_names(peers)} no difference is"
        )
        return [Finding("Open", f"{text} shown; {would_have_shown([judged[name][1] for name in peers])}.", "caution")]
    return []
