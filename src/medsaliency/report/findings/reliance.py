"""Which methods may be relied on, by the trust card and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, Tone, maps_of, names, these
from medsaliency.report.trust_card import QUESTIONS, criterion_label
from medsaliency.report.verdicts import criteria, explanations, primary, relied_on, to_beat
from medsaliency.report.wording import listing, metric_label
from medsaliency.statistics.trust import FAILED, NOT_SHOWN, PASSED

CHECKS = ("parameter_randomization", "data_randomization", "repeatable", "reproducible", "stable")
"""Criteria that explain again, told one by one: the others have findings of their own."""


class Standing(NamedTuple):
    """The methods of the card, each in one group, in the order of the card.

    Args:
        relied: Better than every control that the study has, and fails nothing.
        noise: Better than random maps, not shown to be better than each other control, and fails nothing.
        unproven: Not shown to be better than random maps, and fails nothing.
        failed: Fails a criterion.
    """

    relied: list[str]
    noise: list[str]
    unproven: list[str]
    failed: list[str]


def standing(contents: Contents) -> Standing:
    """Sort the methods of the card."""
    result = Standing([], [], [], [])
    for method, own in criteria(contents).items():
        if FAILED in own.values():
            result.failed.append(method)
        elif relied_on(own, contents.controls):
            result.relied.append(method)
        elif own.get("beats_random") == PASSED:
            result.noise.append(method)
        else:
            result.unproven.append(method)
    return result


def every_control(contents: Contents) -> str:
    """Name the controls that a method must beat to be relied on."""
    return listing(map(maps_of, to_beat(contents.controls).values()))


def reliable(contents: Contents) -> list[Finding]:
    """Name the methods that beat every control and fail nothing, and what they passed."""
    topic = "May be relied on"
    card = criteria(contents)
    if not card:
        text = "No trust card was made, so no method is called reliable."
        return [Finding(topic, text, "caution")] if explanations(contents) else []
    relied = standing(contents).relied
    if not relied:
        text = f"No method is called reliable here. That takes better scores on {metric_label(primary(contents))} than"
        return [Finding(topic, f"{text} {every_control(contents)}, and no failed criterion.", "caution")]
    by = _alike({method: _of(card[method], PASSED) for method in relied})
    text = "; ".join(f"{names(methods)} (passed: {passed})" for passed, methods in by.items())
    return [Finding(topic, f"As far as was tested, {text}. What is not named was not shown.", "support")]


def noise_only(contents: Contents) -> list[Finding]:
    """Name the methods that beat random maps and fail nothing, but are not shown to beat each other control."""
    card, asked = criteria(contents), to_beat(contents.controls)
    by = _alike(
        {
            method: listing((maps_of(asked[name]) for name in asked if card[method].get(name) != PASSED), "or")
            for method in standing(contents).noise
        }
    )
    if not by:
        return []
    text = "; ".join(f"not shown to be better than {whom}: {these(contents, methods)}" for whom, methods in by.items())
    end = "A control never looks at the model, so no such method is called reliable. No criterion is failed."
    start = f"Better than random maps on {metric_label(primary(contents))}, but"
    return [Finding("Better than noise only", f"{start} {text}. {end}", "caution")]


def unproven(contents: Contents) -> list[Finding]:
    """Name the methods that fail nothing and are not shown to beat random maps either."""
    rest = standing(contents).unproven
    if not rest:
        return []
    text = f"Not shown to be better than random maps, and so not called reliable: {these(contents, rest)}."
    return [Finding("Not shown to beat random", f"{text} No criterion is failed.", "caution")]


def failing(contents: Contents) -> list[Finding]:
    """Name the methods that fail a criterion, and which."""
    card = criteria(contents)
    by = _alike({method: _of(card[method], FAILED) for method in standing(contents).failed})
    text = "; ".join(f"{names(methods)} ({lost})" for lost, methods in by.items())
    return [Finding("Not to be relied on", f"Failed: {text}.", "caution")] if by else []


def _of(verdicts: Mapping[str, str], wanted: str) -> str:
    return ", ".join(criterion_label(name).lower() for name, verdict in verdicts.items() if verdict == wanted)


def _alike(words: Mapping[str, str]) -> dict[str, list[str]]:
    """Methods of whom the same is said, in the order of the first."""
    result: dict[str, list[str]] = {}
    for method, said in words.items():
        result.setdefault(said, []).append(method)
    return result


def checks(contents: Contents) -> list[Finding]:
    """State for each check that says anything who passes it, who fails and for whom nothing is shown."""
    card, result = criteria(contents), []
    for name in CHECKS:
        by: dict[str, list[str]] = {PASSED: [], FAILED: [], NOT_SHOWN: []}
        for method, own in card.items():
            by[own.get(name, NOT_SHOWN)].append(method)
        if not by[PASSED] and not by[FAILED]:
            continue
        starts = {PASSED: "Passed by", FAILED: "Failed by", NOT_SHOWN: "Nothing is shown of"}
        parts = [f"{start} {these(contents, by[verdict])}." for verdict, start in starts.items() if by[verdict]]
        tone: Tone = "caution" if by[FAILED] or by[NOT_SHOWN] else "support"
        result.append(Finding(criterion_label(name), " ".join([QUESTIONS[name], *parts]), tone))
    return result
