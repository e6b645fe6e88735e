"""What could not be shown, what the sample could have shown, and what was left out."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.comparison import (
    FAMILIES,
    as_published,
    asked,
    beating,
    headlines,
    separates,
    undecided,
)
from medsaliency.report.findings.finding import UNCHECKED, Finding, known, names, unit, verb, would_have_shown
from medsaliency.report.trust_card import criterion_label
from medsaliency.report.verdicts import (
    BLURRED,
    compared,
    criteria,
    family,
    has_values,
    higher_is_better,
    means,
    methods,
    metrics,
    of_family,
    patients_known,
    row,
    undefined_images,
)
from medsaliency.report.wording import count, listing, method_label, metric_label, number, percent


def missed(contents: Contents) -> list[Finding]:
    """State how many pairs of methods show no difference, and how large one could have been without being seen."""
    parts = []
    for metric in headlines(contents):
        pairs, least = undecided(contents, metric)
        if least:
            text = f"{len(least)} of {count(pairs, 'pair')} of methods {verb(least, 'shows', 'show')} no difference"
            parts.append(f"{text} on {metric_label(metric)}; in such a pair {would_have_shown(least)}.")
    if not parts:
        return []
    power = (contents.config.get("statistics") or {}).get("power")
    chance = (
        f" “Would have been shown” means with a chance of {percent(power)}."
        if known(power) and any("would have been" in part for part in parts)
        else ""
    )
    return [Finding("No difference shown", " ".join(parts) + chance, "caution")]


def not_asked(contents: Contents) -> list[Finding]:
    """Name the criteria of which nothing is shown for any method."""
    card = criteria(contents)
    asked = list(dict.fromkeys(name for own in card.values() for name in own))
    silent = [name for name in asked if all(own.get(name, "not shown") == "not shown" for own in card.values())]
    if not silent:
        return []
    named = listing(criterion_label(name).lower() for name in silent)
    start = verb(silent, "This criterion gives", "These criteria give")
    text = f"{start} no method a pass or a fail: {named}. The trust card says why, and what to run."
    return [Finding("Criteria left open", text, "caution")]


def noise(contents: Contents) -> list[Finding]:
    """Name the measures on which random maps hold up against most methods, and who beats them there."""
    winners: dict[tuple[str, ...], list[str]] = {}
    ahead = []
    for metric in [*headlines(contents), *(name for kind in FAMILIES for name in asked(contents, kind))]:
        if separates(contents, metric):
            continue
        random, (better, compared) = row(contents.summary, "random", metric), beating(contents, metric)
        level = f" (random {number(random['mean'])})" if random is not None and known(random["mean"]) else ""
        winners.setdefault(tuple(better), []).append(metric_label(metric) + level)
        if random is not None and 2 * _not_above(contents, metric, random["mean"]) > compared:
            ahead.append(metric_label(metric))
    parts = []
    for better_ones, on in winners.items():
        who = f"Only {names(better_ones)} {verb(better_ones, 'is', 'are')}" if better_ones else "No method is"
        parts.append(f"{who} shown to be better than random maps on {listing(on, 'and' if better_ones else 'or')}.")
    if parts:
        which = "this measure is" if sum(map(len, winners.values())) == 1 else "these measures are"
        parts.append(f"Here {which} not shown to tell most methods from noise, so a high value alone is no evidence.")
    if ahead:
        parts.append(f"Random maps themselves have a mean as good as most methods, or better, on {listing(ahead)}.")
    return [Finding("Limits of the measures", " ".join(parts), "caution")] if parts else []


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
            if metric in as_published(contents):
                continue
            numbers = compared(contents, source, metric, BLURRED)
            if numbers is None:
                continue
            if numbers["verdict"] == "worse":
                lost = numbers["superiority"]
                better = (
                    f", the unblurred maps are the better ones on {percent(lost)} of {unit(contents)}s"
                    if known(lost)
                    else ""
                )
                favored.append(f"{metric_label(metric)}{better}")
            else:
                rest.append(metric_label(metric))
        result += _blurred(source, favored, rest)
    return result


def _blurred(source: str, favored: list[str], rest: list[str]) -> list[Finding]:
    topic, whose = "Blur control", f"the maps of {method_label(source)}"
    if not favored:
        text = f"Blurring {whose} is not shown to improve their scores on {listing(rest, 'or')}."
        return [Finding(topic, text)] if rest else []
    text = (
        f"Blurring {whose} improves their scores: on {'; on '.join(favored)}. A smooth method's lead there may be due"
    )
    text += " to its smoothness."
    if rest:
        text += f" It is not shown to improve them on {listing(rest, 'or')}."
    return [Finding(topic, text, "caution")]


def few(contents: Contents) -> list[Finding]:
    """State the size of the sample, and name measures with so few patients that nobody has checked such intervals."""
    if contents.scores.empty:
        return []
    sample = count(contents.scores["sample"].nunique(), "image")
    if patients_known(contents):
        sample += f" of {count(contents.scores['patient'].nunique(), 'patient')}"
    sample += " were explained."
    scores = contents.scores[contents.scores["value"].notna()]
    patients_of = scores.groupby(["metric", "method"])["patient"].nunique()
    small: dict[int, list[str]] = {}
    for metric in _told(contents):
        least = min(int(patients_of.get((metric, method), 0)) for method in methods(contents))
        if least < UNCHECKED:
            small.setdefault(least, []).append(_label(contents, metric))
    if not small:
        return [Finding("Sample size", sample)]
    parts = [f"{count(many, unit(contents))} for {listing(dict.fromkeys(on))}" for many, on in sorted(small.items())]
    text = f"Some means rest on fewer than {UNCHECKED} {unit(contents)}s: {'; '.join(parts)}."
    end = "How often intervals from so few hold the truth is not known."
    return [Finding("Sample size", f"{sample} {text} {end}", "caution")]


def exclusions(contents: Contents) -> list[Finding]:
    """State the share of images on which a measure is undefined for at least one method."""
    missing: dict[tuple[int, int], list[str]] = {}
    for metric in _told(contents):
        lost, images = undefined_images(contents, None, metric)
        if lost:
            missing.setdefault((lost, images), []).append(_label(contents, metric))
    if not missing:
        but = ", but for the published curves" if as_published(contents) else ""
        return [Finding("Exclusions", f"Every measure shown has a value on every image, for every method{but}.")]
    shares = [
        f"{listing(dict.fromkeys(on))} on {lost} of {images} ({percent(lost / images)})"
        for (lost, images), on in sorted(missing.items(), key=lambda item: -item[0][0] / item[0][1])
    ]
    text = f"Undefined for at least one method: {'; '.join(shares)}. The means are over the images left, which may not"
    return [Finding("Exclusions", f"{text} be like those left out.", "caution")]


def failed(contents: Contents) -> list[Finding]:
    """State what failed for how many images while the study went on; nothing where all went well."""
    parts = []
    for each in contents.failures.itertuples(index=False):
        images = count(int(str(each.images)), "image")
        if each.kind == "image":
            parts.append(f"{images} could not be read or put before the model ({each.stage})")
        elif each.kind == "worker":
            parts.append(f"the process that worked on {images} ended each time ({each.stage})")
        elif each.kind == "method":
            parts.append(f"{method_label(str(each.name))} gave no finite map of {images}")
        else:
            of = method_label(str(each.method))
            parts.append(f"the {each.kind} {metric_label(str(each.name))} failed for maps of {of} on {images}")
    if not parts:
        return []
    text = f"While the study went on: {'; '.join(parts)}. The reasons are in failures.parquet of its folder."
    return [Finding("Failures", text, "caution")]


def _told(contents: Contents) -> list[str]:
    """All measures with values; published curves have a sentence of their own."""
    left_out = as_published(contents)
    return [name for name in metrics(contents) if has_values(contents, name) and name not in left_out]


def _label(contents: Contents, metric: str) -> str:
    """The name of a measure; of the many values of a check of randomization, that of the check."""
    label = metric_label(metric)
    return label.split(",")[0] if family(contents, metric) == "randomization" else label
