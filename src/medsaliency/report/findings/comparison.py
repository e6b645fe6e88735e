"""How methods compare with each other and with controls, by corrected tests alone."""

from __future__ import annotations

from collections.abc import Sequence

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import (
    SHOWN_NUMBERS,
    Finding,
    known,
    maps_of,
    names,
    p_value,
    scored,
    these,
    unit,
    verb,
    would_have_shown,
)
from medsaliency.report.verdicts import (
    Verdict,
    against_verdicts,
    all_compared,
    alpha,
    controls_against,
    explanations,
    has_values,
    localization,
    metrics,
    of_family,
    primary,
    undefined_images,
)
from medsaliency.report.wording import count, listing, method_label, metric_label, number, percent
from medsaliency.statistics.controls import RANDOM
from medsaliency.statistics.trust import PARTS
from medsaliency.types import Family

FAMILIES: dict[Family, str] = {
    "faithfulness": "Faithfulness",
    "information": "Information curves",
    "localization": "Localization",
}
"""Families in which a better score than random speaks for a map; concentration by itself does not."""
CLAUSES: dict[Verdict, str] = {
    "better": "better than",
    "open": "not shown to be better than",
    "worse": "worse than",
    "undefined": "without values to compare with",
}


def headlines(contents: Contents) -> list[str]:
    """Return the measures that are told in full: the primary one and the one of lesions, as far as they have values."""
    return [name for name in dict.fromkeys((primary(contents), localization(contents))) if has_values(contents, name)]


def as_published(contents: Contents) -> list[str]:
    """Return the published information curves that have values, less one that the study reads first."""
    found = [name for name in metrics(contents) if name.endswith("_published") and has_values(contents, name)]
    return [name for name in found if name not in headlines(contents)]


def asked(contents: Contents, family: Family) -> list[str]:
    """Return the measures of ``family`` that methods are compared with random maps on, beside those told in full.

    Left out are published curves, of which there is one sentence, and parts of a measure that is itself in the study.
    """
    left_out = {*headlines(contents), *as_published(contents), *PARTS}
    names_ = [name for name in of_family(contents, family) if name not in left_out and has_values(contents, name)]
    return [name for name in names_ if RANDOM in controls_against(contents, name)]


def differences(contents: Contents) -> list[Finding]:
    """State for the main measures whether methods differ at all, and who is not shown to differ from the best."""
    result = []
    for metric in headlines(contents):
        table = contents.inference.friedman
        found = table[table["metric"] == metric]
        if found.empty:
            continue
        row = dict(found.iloc[0])
        topic, label = f"Methods on {metric_label(metric)}", metric_label(metric)
        if not known(row["p_corrected"]):
            text = f"Whether methods differ on {label} was not tested: {row['reason'] or 'the reason is not known'}."
            result.append(Finding(topic, text, "caution"))
            continue
        test = f"Friedman's test over {count(row['patients'], unit(contents))}, corrected {p_value(row['p_corrected'])}"
        many = f"{row['methods']:.0f} methods"
        if row["p_corrected"] > alpha(contents):
            text = f"That the {many} differ on {label} is not shown ({test})."
            result.append(Finding(topic, text, "caution"))
            continue
        agree = (
            f"; {unit(contents)}s rank them with a Kendall's W of {number(row['kendall_w'], 2)}"
            if known(row["kendall_w"])
            else ""
        )
        text = f"The {many} differ on {label} ({test}{agree})."
        result.append(Finding(topic, text + _leading(contents, metric)))
    return result


def leader(contents: Contents, metric: str) -> str | None:
    """Return the explanation with the best mean rank on ``metric``; None where there are no ranks."""
    table = contents.inference.ranks
    own = table[(table["metric"] == metric) & ~table["method"].isin(contents.controls) & table["rank"].notna()]
    return None if own.empty else str(own.sort_values("rank", kind="stable")["method"].iloc[0])


def against_leader(contents: Contents, metric: str) -> dict[str, tuple[str, float]]:
    """Return for each explanation compared with the leader the leader's verdict, and the detectable difference.

    Controls are left out: they have a test of their own, and a pair would be judged twice.
    """
    first, table = leader(contents, metric), contents.inference.pairwise
    turned = {"better": "worse", "worse": "better"}
    result: dict[str, tuple[str, float]] = {}
    for _, row in table[table["metric"] == metric].iterrows():
        if row["method"] == first:
            result[str(row["other"])] = (str(row["verdict"]), float(row["detectable"]))
        elif row["other"] == first:
            result[str(row["method"])] = (turned.get(row["verdict"], "not shown"), float(row["detectable"]))
    return {name: judged for name, judged in result.items() if name not in contents.controls}


def _leading(contents: Contents, metric: str) -> str:
    first, judged = leader(contents, metric), against_leader(contents, metric)
    if first is None or not judged:
        return ""
    peers = [name for name, (verdict, _) in judged.items() if verdict not in ("better", "worse")]
    above = [name for name, (verdict, _) in judged.items() if verdict == "worse"]
    below = [name for name, (verdict, _) in judged.items() if verdict == "better"]
    text = f" {method_label(first)} has the best mean rank of the methods."
    if peers:
        many = len(peers) > SHOWN_NUMBERS and not above and not below
        text += f" Not shown to differ from it: {f'the other {len(peers)}' if many else names(peers)};"
        text += f" between them {would_have_shown([judged[name][1] for name in peers])}."
    if above:
        text += f" Pair by pair {names(above)} {verb(above, 'is', 'are')} shown to be better."
    if below:
        whom = names(below) if peers or above else "all other methods"
        text += f" It is shown to be better than {whom}."
    return text


def against_controls(contents: Contents) -> list[Finding]:
    """State who is better than which controls on the primary measure."""
    return against(contents, primary(contents), metric_label(primary(contents)))


def against(contents: Contents, metric: str, topic: str) -> list[Finding]:
    """State of the methods with the same verdicts against all controls together what these are.

    Each method is named once, with its mean. What the sample would have shown stands beside what it did not.
    """
    controls = controls_against(contents, metric)
    judged = {control: against_verdicts(contents, metric, control) for control in controls}
    alike: dict[tuple[Verdict, ...], list[str]] = {}
    for method in explanations(contents) if controls else ():
        alike.setdefault(tuple(judged[control][method] for control in controls), []).append(method)
    ordered = sorted(alike.items(), key=lambda item: -item[0].count("better"))
    return [_pattern(contents, metric, topic, dict(zip(controls, one, strict=True)), who) for one, who in ordered]


def _pattern(
    contents: Contents, metric: str, topic: str, verdicts: dict[str, Verdict], methods: Sequence[str]
) -> Finding:
    """One finding of the methods that have these verdicts, by control."""
    by = {word: [control for control, own in verdicts.items() if own == word] for word in CLAUSES}
    rows = {control: all_compared(contents, metric, control) for control in verdicts}

    def cells(word: Verdict, key: str) -> list[float]:
        return [float(rows[control][method][key]) for control in by[word] for method in methods]

    clauses = []
    for word, start in CLAUSES.items():
        if by[word]:
            clause = f"{start} {listing(map(maps_of, by[word]), 'or' if word == 'open' else 'and')}"
            clauses.append(clause + (_at_most(cells(word, "p_corrected")) if word in ("better", "worse") else ""))
    said = "; ".join(clauses)
    text = f"On {metric_label(metric)} {said}: {scored(contents, methods, metric)}."
    if by["open"]:
        least = would_have_shown(cells("open", "detectable"))
        text += f" {least[0].upper()}{least[1:]}."
    return Finding(topic, text, "support" if len(by["better"]) == len(verdicts) else "caution")


def _at_most(ps: Sequence[float]) -> str:
    """The largest corrected p: all of the rest are at or below it."""
    largest = max((p for p in ps if known(p)), default=None)
    if largest is None:
        return ""
    return f" (corrected {p_value(largest)}{' at most' if len(ps) > 1 and largest >= 0.001 else ''})"


def beating(contents: Contents, metric: str) -> tuple[list[str], int]:
    """Return who is shown to be better than random maps on ``metric``, and how many methods could be compared."""
    verdicts = against_verdicts(contents, metric)
    better = [method for method, verdict in verdicts.items() if verdict == "better"]
    return better, sum(verdict != "undefined" for verdict in verdicts.values())


def separates(contents: Contents, metric: str) -> bool:
    """Tell whether at least half of the methods that can be compared are shown to be better than random maps."""
    better, compared = beating(contents, metric)
    return compared == 0 or 2 * len(better) >= compared


def other_measures(contents: Contents) -> list[Finding]:
    """State family by family who is better than random maps on which other measures, and who is worse.

    Measures on which random maps hold up against most methods are told among the limits.
    """
    result = []
    for family, topic in FAMILIES.items():
        told = [name for name in asked(contents, family) if separates(contents, name)]
        if told and explanations(contents):
            result.append(_family(contents, told, topic))
    return result


def _family(contents: Contents, told: Sequence[str], topic: str) -> Finding:
    wins: dict[tuple[str, ...], list[str]] = {}
    losses: dict[tuple[str, ...], list[str]] = {}
    verdicts = {name: against_verdicts(contents, name) for name in told}
    for method in explanations(contents):
        wins.setdefault(tuple(name for name in told if verdicts[name][method] == "better"), []).append(method)
        losses.setdefault(tuple(name for name in told if verdicts[name][method] == "worse"), []).append(method)
    losses.pop((), None)
    parts = []
    for won, methods in sorted(wins.items(), key=lambda item: -len(item[0])):
        lost = listing((metric_label(name) for name in told if name not in won), "or")
        if won:
            end = f", not shown to be on {lost}" if lost else ""
            parts.append(
                f"Better than random maps on {listing(map(metric_label, won))}{end}: {these(contents, methods)}."
            )
        else:
            parts.append(f"Not shown to be better than random maps on {lost}: {these(contents, methods)}.")
    if losses:
        worse = listing(f"{names(methods)} (on {listing(map(metric_label, on))})" for on, methods in losses.items())
        parts.append(f"Worse than random maps: {worse}.")
    everywhere = list(wins) == [tuple(told)]
    return Finding(topic, " ".join(parts), "support" if everywhere else "caution")


def published(contents: Contents) -> list[Finding]:
    """Say once why nothing is concluded from information curves as they were published, and what they lose."""
    found = as_published(contents)
    if not found:
        return []
    lost = [missing / images for missing, images in (undefined_images(contents, None, name) for name in found)]
    low, high = percent(min(lost)), percent(max(lost))
    share = low if low == high else f"{low} to {high}"
    text = (
        f"Nothing is concluded from {count(len(found), 'information curve')} as published: where the truth was known,"
        f" such curves did not dependably tell it from noise. Here they are undefined on {share} of the images."
    )
    return [Finding("Published curves", text, "caution")]


def undecided(contents: Contents, metric: str) -> tuple[int, list[float]]:
    """Return how many pairs of explanations were tested on ``metric``, and what is detectable in those left open."""
    table = contents.inference.pairwise
    controls = contents.controls
    rows = table[(table["metric"] == metric) & ~table["method"].isin(controls) & ~table["other"].isin(controls)]
    return len(rows), rows.loc[~rows["verdict"].isin(["better", "worse"]), "detectable"].astype(float).tolist()
