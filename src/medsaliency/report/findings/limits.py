"""What could not be shown, what the sample could have shown, and what was left out."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import headlines, undecided
from medsaliency.report.findings.finding import Finding, known, verb, would_have_shown
from medsaliency.report.trust_card import criterion_label
from medsaliency.report.verdicts import (
    BLURRED,
    against_verdicts,
    compared,
    criteria,
    has_values,
    higher_is_better,
    means,
    methods,
    metrics,
    of_family,
    row,
    undefined_images,
)
from medsaliency.report.wording import count, listing, method_label, metric_label, number, percent

FEW_PATIENTS = 20
"""Below this many patients, intervals from resampling cover less than they claim."""


def missed(contents: Contents) -> list[Finding]:
    """State how many pairs of methods show no difference, and how large one could have been without being seen."""
    result = []
    for metric in headlines(contents):
        pairs, least = undecided(contents, metric)
        if not least:
            continue
        text = f"{len(least)} of {count(pairs, 'pair')} of methods {verb(least, 'shows', 'show')} no difference"
        text += f" on {metric_label(metric)}; in such a pair {would_have_shown(least)}."
        result.append(Finding("No difference shown", text, "caution"))
    return result


def not_asked(contents: Contents) -> list[Finding]:
    """Name the criteria of which nothing is shown for any method."""
    card = criteria(contents)
    asked = list(dict.fromkeys(name for own in card.values() for name in own))
    silent = [name for name in asked if all(own.get(name, "not shown") == "not shown" for own in card.values())]
    if not silent:
        return []
    named = listing(criterion_label(name).lower() for name in silent)
    text = f"Of no method is anything shown by {verb(silent, 'this criterion', 'these criteria')}: {named}."
    return [Finding("Criteria left open", f"{text} The trust card says why, and what to run.", "caution")]


def noise(contents: Contents) -> list[Finding]:
    """Name the measures on which random maps hold up against most methods, if there are any."""
    undecided_by: dict[tuple[int, int], list[str]] = {}
    ahead = []
    for metric in of_family(contents, "faithfulness", "information", "localization"):
        judged = list(against_verdicts(contents, metric).values())
        defined = [verdict for verdict in judged if verdict != "undefined"]
        held = sum(verdict != "better" for verdict in defined)
        random = row(contents.summary, "random", metric)
        if defined and 2 * held > len(defined):
            level = f" (random {number(random['mean'])})" if random is not None and known(random["mean"]) else ""
            undecided_by.setdefault((held, len(defined)), []).append(metric_label(metric) + level)
            if random is not None and 2 * _not_above(contents, metric, random["mean"]) > len(judged):
                ahead.append(metric_label(metric))
    if not undecided_by:
        return []
    parts = [
        f"{held} of {count(of, 'method')} {'is' if held == 1 else 'are'} not shown to beat random maps on {listing(on)}"
        for (held, of), on in undecided_by.items()
    ]
    which = "this measure does" if sum(map(len, undecided_by.values())) == 1 else "these measures do"
    text = f"{'; '.join(parts)}. Here {which} not separate most explanations from noise, so a high value alone is no"
    text += " evidence for a method."
    if ahead:
        text += f" Random maps themselves have a mean as good as most methods, or better, on {listing(ahead)}."
    return [Finding("Limits of the measure", text, "caution")]


def _not_above(contents: Contents, metric: str, random: float) -> int:
    sign = 1 if higher_is_better(contents, metric) else -1
    return sum(sign * mean <= sign * random for mean in means(contents, metric).values())


def smoothness(contents: Contents) -> list[Finding]:
    """State which measures of faithfulness score a method's own maps better once they are blurred."""
    table = contents.inference.against_controls
    sources = [str(name) for name in dict.fromkeys(table.loc[table["control"] == BLURRED, "method"])]
    result = []
    for source in sources:
        favored, rest = [], []
        for metric in of_family(contents, "information", "faithfulness"):
            numbers = compared(contents, source, metric, BLURRED)
            if numbers is None:
                continue
            if numbers["verdict"] == "worse":
                lost = numbers["superiority"]
                better = (
                    f", the unblurred maps are the better ones on {percent(lost)} of patients" if known(lost) else ""
                )
                favored.append(f"{metric_label(metric)}{better}")
            else:
                rest.append(metric_label(metric))
        result += _blurred(source, favored, rest)
    return result


def _blurred(source: str, favored: list[str], rest: list[str]) -> list[Finding]:
    topic, whose = "Blur control", f"the maps of {method_label(source)}"
    if not favored:
        text = f"Blurring {whose} is not shown to improve their scores on {listing(rest)}."
        return [Finding(topic, text)] if rest else []
    text = (
        f"Blurring {whose} improves their scores: on {'; on '.join(favored)}. A smooth method's lead there may be due"
    )
    text += " to its smoothness."
    if rest:
        text += f" It is not shown to improve them on {listing(rest)}."
    return [Finding(topic, text, "caution")]


def few(contents: Contents) -> list[Finding]:
    """State the size of the sample, and warn of measures with so few patients that an interval cannot be believed."""
    if contents.scores.empty:
        return []
    sample = f"{count(contents.scores['sample'].nunique(), 'image')} of "
    sample += f"{count(contents.scores['patient'].nunique(), 'patient')} were explained."
    scores = contents.scores[contents.scores["value"].notna()]
    patients_of = scores.groupby(["metric", "method"])["patient"].nunique()
    small: dict[int, list[str]] = {}
    scored = [name for name in metrics(contents) if has_values(contents, name)]
    for metric in scored:
        least = min(int(patients_of.get((metric, method), 0)) for method in methods(contents))
        if least < FEW_PATIENTS:
            small.setdefault(least, []).append(metric_label(metric))
    if not small:
        return [Finding("Sample size", sample)]
    if sum(map(len, small.values())) == len(scored) > 1:
        low, high = min(small), max(small)
        patients = count(high, "patient") if low == high else f"{low} to {high} patients"
        text = f"All means rest on few patients, {patients}: intervals from so few are too narrow to be relied on."
    else:
        parts = [f"{count(patients, 'patient')} for {listing(names)}" for patients, names in sorted(small.items())]
        text = f"Some means rest on few patients: {'; '.join(parts)}. Intervals from so few are too narrow to be"
        text += " relied on."
    return [Finding("Sample size", f"{sample} {text}", "caution")]


def exclusions(contents: Contents) -> list[Finding]:
    """State the share of images on which a measure is undefined for at least one method."""
    missing: dict[tuple[int, int], list[str]] = {}
    for metric in metrics(contents):
        lost, images = undefined_images(contents, None, metric)
        if lost and has_values(contents, metric):
            missing.setdefault((lost, images), []).append(metric_label(metric))
    if not missing:
        return [Finding("Exclusions", "Every measure shown has a value on every image, for every method.")]
    shares = [
        f"{listing(names)} on {lost} of {images} ({percent(lost / images)})"
        for (lost, images), names in sorted(missing.items(), key=lambda item: -item[0][0] / item[0][1])
    ]
    text = f"Undefined for at least one method: {'; '.join(shares)}. The means are over the images left, which may not"
    return [Finding("Exclusions", f"{text} be like those left out.", "caution")]
