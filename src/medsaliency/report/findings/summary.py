"""What a reader with one minute must know, in at most five sentences."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import against_leader, leader
from medsaliency.report.findings.finding import Finding, few_names, known, points, verb, would_have_shown
from medsaliency.report.findings.lesions import best
from medsaliency.report.findings.model import accuracy
from medsaliency.report.findings.reliance import sorted_out
from medsaliency.report.findings.shortcut import relies
from medsaliency.report.trust_card import criterion_label
from medsaliency.report.verdicts import (
    against_verdicts,
    controls_against,
    criteria,
    explanations,
    localization,
    primary,
)
from medsaliency.report.wording import listing, method_label, metric_label


def summary(contents: Contents) -> list[Finding]:
    """Return one sentence each on the model, the methods relied on, those not, what maps show, and what is open."""
    model = [Finding("Model", finding.text, finding.tone) for finding in accuracy(contents)]
    return [*model, *_shortcut(contents), *_relied_on(contents), *_lesions(contents), *_open(contents)][:5]


def _shortcut(contents: Contents) -> list[Finding]:
    if not relies(contents):
        return []
    found = contents.inference.shortcut
    text = f"The model relies on a marker planted with the class {found.get('class')}: on the very same images without"
    return [Finding("Shortcut", f"{text} it, accuracy drops by {points(found['drop'])}.", "caution")]


def _relied_on(contents: Contents) -> list[Finding]:
    card = criteria(contents)
    if not card:
        return []
    relied, failed, rest = sorted_out(contents)
    measure = metric_label(primary(contents))
    if relied:
        text = (
            f"{few_names(relied)} may be relied on as far as was tested: {verb(relied, 'it beats', 'they beat')} random"
        )
        result = [
            Finding(
                "Relied on", f"{text} maps on {measure} and {verb(relied, 'fails', 'fail')} no criterion.", "support"
            )
        ]
    else:
        text = (
            f"No method may be relied on: none is shown to beat random maps on {measure} without failing a criterion."
        )
        result = [Finding("Relied on", text, "caution")]
    parts = []
    if failed:
        at = [name for name in dict.fromkeys(n for own in card.values() for n in own)
              if any(card[method].get(name) == "fail" for method in failed)]  # fmt: skip
        named = listing(criterion_label(name).lower() for name in at)
        parts.append(f"{few_names(failed)} {verb(failed, 'fails', 'fail')} at least one criterion ({named})")
    if rest:
        parts.append(f"{few_names(rest)} {verb(rest, 'is', 'are')} not shown to beat random maps")
    return result + ([Finding("Not relied on", "; ".join(parts) + ".", "caution")] if parts else [])


def _lesions(contents: Contents) -> list[Finding]:
    metric = localization(contents)
    controls, judged = controls_against(contents, metric), explanations(contents)
    if not controls or best(contents, metric) is None:
        return []
    verdicts = [against_verdicts(contents, metric, control) for control in controls]
    beats = [method for method in judged if all(own[method] == "better" for own in verdicts)]
    whom = f"the {verb(controls, 'control', 'controls')} {listing(map(method_label, controls))}"
    if not beats:
        return [Finding("Lesions", f"No method is shown to mark lesions better than {whom}.", "caution")]
    text = f"{few_names(beats)} {verb(beats, 'marks', 'mark')} lesions better than {whom} ({metric_label(metric)})"
    rest = f"; {len(judged) - len(beats)} of {len(judged)} methods are not shown to" if len(beats) < len(judged) else ""
    return [Finding("Lesions", f"{text}{rest}.", "support" if not rest else "plain")]


def _open(contents: Contents) -> list[Finding]:
    for metric in (primary(contents), localization(contents)):
        first, judged = leader(contents, metric), against_leader(contents, metric)
        peers = [m for m, (verdict, _) in judged.items() if verdict not in ("better", "worse")]
        peers = [name for name in peers if name not in contents.controls]
        if first is None or not peers or not known(*(judged[name][1] for name in peers)):
            continue
        text = (
            f"Between {method_label(first)}, first on {metric_label(metric)}, and {few_names(peers)} no difference is"
        )
        return [Finding("Open", f"{text} shown; {would_have_shown([judged[name][1] for name in peers])}.", "caution")]
    return []
