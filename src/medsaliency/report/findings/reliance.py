"""Which methods may be relied on, by the trust card and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, Tone, names, verb
from medsaliency.report.trust_card import QUESTIONS, criterion_label
from medsaliency.report.verdicts import criteria, explanations

CHECKS = ("parameter_randomization", "data_randomization", "repeatable", "reproducible", "stable")
"""Criteria that explain again, told one by one: the others have findings of their own."""


def sorted_out(contents: Contents) -> tuple[list[str], list[str], list[str]]:
    """Return the methods that may be relied on, those that fail, and the rest, in the order of the card.

    Nothing is relied on that is not shown to beat random maps, or that fails any criterion.
    """
    card = criteria(contents)
    failed = [method for method, own in card.items() if "fail" in own.values()]
    relied = [method for method, own in card.items() if method not in failed and own.get("beats_random") == "pass"]
    return relied, failed, [method for method in card if method not in (*failed, *relied)]


def reliable(contents: Contents) -> list[Finding]:
    """Name the methods that beat random maps and fail nothing, and what they passed."""
    topic = "May be relied on"
    card = criteria(contents)
    if not card:
        text = "No trust card was made, so no method is called reliable."
        return [Finding(topic, text, "caution")] if explanations(contents) else []
    relied, _, _ = sorted_out(contents)
    if not relied:
        text = "No method is called reliable here. That takes better scores than random maps, and no failed criterion."
        return [Finding(topic, text, "caution")]
    by = _alike({method: _of(card[method], "pass") for method in relied})
    text = (
        f"As far as was tested, {'; '.join(f'{names(methods)} (passed: {passed})' for passed, methods in by.items())}."
    )
    return [Finding(topic, f"{text} What is not named was not shown.", "support")]


def unproven(contents: Contents) -> list[Finding]:
    """Name the methods that fail nothing and are not shown to beat random maps either."""
    _, _, rest = sorted_out(contents)
    if not rest:
        return []
    text = f"{names(rest)} {verb(rest, 'is', 'are')} not shown to beat random maps, and so not called reliable."
    return [Finding("Not shown to beat random", f"{text} No criterion is failed.", "caution")]


def failing(contents: Contents) -> list[Finding]:
    """Name the methods that fail a criterion, and which."""
    card = criteria(contents)
    _, failed, _ = sorted_out(contents)
    by = _alike({method: _of(card[method], "fail") for method in failed})
    text = "; ".join(f"{names(methods)} ({lost})" for lost, methods in by.items())
    return [Finding("Not to be relied on", f"Failed: {text}.", "caution")] if failed else []


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
        by = {verdict: [m for m, own in card.items() if own.get(name) == verdict] for verdict in ("pass", "fail")}
        if not any(by.values()):
            continue
        rest = [m for m in card if m not in (*by["pass"], *by["fail"])]
        parts = [
            f"{start} {names(methods)}."
            for start, methods in (
                ("Passed by", by["pass"]), ("Failed by", by["fail"]), ("Nothing is shown of", rest)
            )
            if methods
        ]  # fmt: skip
        tone: Tone = "support" if by["pass"] and not by["fail"] and not rest else "caution"
        result.append(Finding(criterion_label(name), " ".join([QUESTIONS[name], *parts]), tone))
    return result
