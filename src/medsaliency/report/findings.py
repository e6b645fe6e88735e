"""Findings in plain words, each made from the numbers of a study and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from medsaliency.report.contents import Contents
from medsaliency.report.verdicts import (
    BLURRED,
    LESION_METRICS,
    RANDOM,
    Verdict,
    apart_verdict,
    coverage,
    explanations,
    has_values,
    higher_is_better,
    is_curve,
    is_faithfulness,
    methods,
    metrics,
    paired,
    paired_verdict,
    row,
    undefined_images,
)
from medsaliency.report.wording import LIKENESS, count, estimate, listing, method_label, metric_label, number, percent

FEW_PATIENTS = 20
"""Below this many patients, percentile intervals from resampling cover clearly less than they claim."""

RANDOMIZED = {
    "cascading": ("Parameter randomization", "by the trained and a wholly randomized model"),
    "independent": ("Layer randomization", "by the trained model and one with a stage randomized"),
    "permuted": ("Data randomization", "by the model and one trained on permuted labels"),
}
"""Kinds of randomization: the topic of the finding, and whose two maps of an image are compared."""

Tone = Literal["plain", "support", "caution"]


@dataclass(frozen=True)
class Finding:
    """One sentence or two about one subject; ``tone`` tells what supports an explanation from what limits it."""

    topic: str
    text: str
    tone: Tone = "plain"


def findings(contents: Contents) -> list[Finding]:
    """Return all findings, in reading order."""
    parts = (accuracy, patients, evidence, lesions, information, noise, further, sanity, smoothness, few, exclusions)
    return [finding for part in parts for finding in part(contents)]


def accuracy(contents: Contents) -> list[Finding]:
    """State how often the model is right, on how many images."""
    images = contents.performance.get("images")
    on = f" on {count(images, 'image')}" if images is not None else ""
    score = contents.performance.get("accuracy") or {}
    value, low, high = (score.get(key) for key in ("value", "low", "high"))
    if percent(value) == "undefined":
        return [Finding("Model", f"The model's accuracy{on} is undefined.", "caution")]
    text = f"The model's accuracy{on} is {percent(value, 1)}"
    if percent(low) == "undefined" or percent(high) == "undefined":
        return [Finding("Model", text + "; its interval is undefined.", "caution")]
    return [Finding("Model", f"{text} ({coverage(contents)} interval {percent(low, 1)} to {percent(high, 1)}).")]


def patients(contents: Contents) -> list[Finding]:
    """Warn where no image names its patient: neither the splits nor the intervals can take patients into account."""
    if (contents.provenance.get("data") or {}).get("patients_known", True):
        return []
    text = "No image names its patient: images of one patient may be in training and evaluation alike, which flatters"
    return [Finding("Patients", f"{text} the model, and the intervals, which take images as independent.", "caution")]


def evidence(contents: Contents) -> list[Finding]:
    """State for which methods it matters to the model where the map is, more than for random maps."""
    metric = "evidence"
    if not has_values(contents, metric):
        return []
    topic, result = "Evidence", []
    grouped = _grouped(explanations(contents), partial(paired_verdict, contents, metric=metric))
    if grouped["better"]:
        text = (
            "What these maps mark matters to the model more than the same marks elsewhere, and more than random maps do"
        )
        result.append(Finding(topic, f"{text}: {_scored(contents, grouped['better'], metric)}.", "support"))
    if rest := [*grouped["open"], *grouped["worse"]]:
        text = f"Not shown to mark what matters to the model: {_scored(contents, rest, metric)}."
        result.append(Finding(topic, text, "caution"))
    return result


def lesions(contents: Contents) -> list[Finding]:
    """State which methods find lesions better than random, by intervals that do not meet, and which do not."""
    metric = "lesion_auprc"
    if not has_values(contents, metric):
        asked = [name for name in metrics(contents) if name in LESION_METRICS]
        present = any(has_values(contents, name) for name in asked)
        text = "No image has a lesion mask with a score, so overlap with lesions says nothing here."
        return [] if present or not asked else [Finding("Lesion overlap", text, "caution")]
    random = row(contents.summary, RANDOM, metric)
    if random is None or number(random["mean"]) == "undefined":
        text = "Lesion AUPRC has no value for random maps, so no method can be compared with them."
        return [Finding("Lesion overlap", text, "caution")]

    def judge(method: str) -> Verdict:
        return apart_verdict(contents, method, metric)

    chance = f"random ({estimate(random['mean'], random['low'], random['high'])})"
    grouped = _grouped(explanations(contents), judge)
    result = []
    if grouped["better"]:
        text = (
            f"On lesion AUPRC, {_scored(contents, grouped['better'], metric)} {_lies(grouped['better'])} above {chance}"
        )
        result.append(Finding("Lesion overlap", text + ", with intervals apart.", "support"))
    if grouped["open"]:
        named = _scored(contents, grouped["open"], metric)
        tail = f" {chance}" if not grouped["better"] else " random"
        text = f"Not shown to beat{tail} on lesion AUPRC, as the intervals overlap: {named}."
        if paired := [m for m in grouped["open"] if paired_verdict(contents, m, metric) == "better"]:
            gaps = _gaps(contents, paired)
            text += f" Compared image by image, {_names(paired)} {_lies(paired)} above random, by {gaps}."
        result.append(Finding("Lesion overlap", text, "caution"))
    if grouped["worse"]:
        text = f"Below random on lesion AUPRC, with intervals apart: {_scored(contents, grouped['worse'], metric)}."
        result.append(Finding("Lesion overlap", text, "caution"))
    if grouped["undefined"]:
        text = f"Lesion AUPRC cannot be compared with random for {_names(grouped['undefined'])}."
        result.append(Finding("Lesion overlap", text, "caution"))
    return result + _control(contents, metric)


def information(contents: Contents) -> list[Finding]:
    """State which methods beat random on the information curves, by the paired difference, and which do not."""
    curves = [name for name in metrics(contents) if is_curve(name) and has_values(contents, name)]
    judged = explanations(contents)
    if not curves or not judged:
        return []
    verdicts = {method: {metric: paired_verdict(contents, method, metric) for metric in curves} for method in judged}
    everywhere = [m for m in judged if all(v == "better" for v in verdicts[m].values())]
    somewhere = [m for m in judged if m not in everywhere and "better" in verdicts[m].values()]
    nowhere = [m for m in judged if "better" not in verdicts[m].values()]
    topic, result = "Information curves", []
    which = f"all {len(curves)} information-curve measures" if len(curves) > 1 else metric_label(curves[0])
    if everywhere:
        text = f"{_names(everywhere)} {_beat(everywhere)} random on {which}: the interval of the paired difference is"
        result.append(Finding(topic, text + " beyond zero.", "support"))
    alike: dict[tuple[str, ...], list[str]] = {}
    for method in somewhere:
        alike.setdefault(tuple(name for name in curves if verdicts[method][name] == "better"), []).append(method)
    for wins, names in alike.items():
        rest = [metric_label(name) for name in curves if name not in wins]
        are = "is" if len(names) == 1 else "are"
        text = f"{_names(names)} {_beat(names)} random on {listing(metric_label(name) for name in wins)}"
        result.append(Finding(topic, f"{text}, but {are} not shown to on {listing(rest)}.", "caution"))
    if nowhere:
        text = f"Not shown to beat random on any information-curve measure: {_names(nowhere)}."
        result.append(Finding(topic, text, "caution"))
    below = [
        f"{method_label(method)} (on {_on([m for m, v in verdicts[method].items() if v == 'worse'], curves)})"
        for method in judged
        if "worse" in verdicts[method].values()
    ]
    if below:
        text = f"Worse than random, with the interval of the paired difference beyond zero: {listing(below)}."
        result.append(Finding(topic, text, "caution"))
    return result


def noise(contents: Contents) -> list[Finding]:
    """Name the information-curve measures on which random maps hold up against most methods, if there are any."""
    judged = explanations(contents)
    undecided: dict[tuple[int, int], list[str]] = {}
    ahead: list[str] = []
    for metric in (name for name in metrics(contents) if is_curve(name)):
        random = row(contents.summary, RANDOM, metric)
        verdicts = [paired_verdict(contents, method, metric) for method in judged]
        known = [verdict for verdict in verdicts if verdict != "undefined"]
        held = sum(verdict != "better" for verdict in known)
        if random is not None and known and 2 * held > len(known):
            named = f"{metric_label(metric)} (random {number(random['mean'])})"
            undecided.setdefault((held, len(known)), []).append(named)
            if 2 * _not_above(contents, metric, random["mean"]) > len(judged):
                ahead.append(metric_label(metric))
    if not undecided:
        return []
    parts = [
        f"{held} of {count(of, 'method')} {'is' if held == 1 else 'are'} not shown to beat random maps on {listing(on)}"
        for (held, of), on in undecided.items()
    ]
    which = "this measure does" if sum(map(len, undecided.values())) == 1 else "these measures do"
    text = (
        f"{'; '.join(parts)}. Here {which} not separate most explanations from noise, so a high value alone is no"
        " evidence for a method."
    )
    if ahead:
        text += f" Random maps themselves have a mean as good as most methods, or better, on {listing(ahead)}."
    return [Finding("Limits of the measure", text, "caution")]


def further(contents: Contents) -> list[Finding]:
    """State for every other measure which methods beat random by the paired difference, and which do not."""
    result = []
    for metric in metrics(contents):
        if contents.against_random.empty or metric not in set(contents.against_random["metric"]):
            continue
        if is_curve(metric) or metric in ("evidence", "lesion_auprc") or not has_values(contents, metric):
            continue
        grouped = _grouped(explanations(contents), partial(paired_verdict, contents, metric=metric))
        if grouped["better"]:
            names = grouped["better"]
            text = f"On {metric_label(metric)}, {_names(names)} {_beat(names)} random on the same images."
            result.append(Finding(metric_label(metric), text, "support"))
        if rest := [*grouped["open"], *grouped["worse"]]:
            text = f"Not shown to beat random on {metric_label(metric)}: {_names(rest)}."
            result.append(Finding(metric_label(metric), text, "caution"))
    return result


def sanity(contents: Contents) -> list[Finding]:
    """State which methods pass the randomization checks: by the margins below the likeness of two images' maps."""
    result = []
    for kind, (topic, without) in RANDOMIZED.items():
        margins = {f"{kind}_{name}_margin": word for name, word in LIKENESS.items()}
        margins = {name: word for name, word in margins.items() if has_values(contents, name)}
        passed: list[str] = []
        for method in explanations(contents) if margins else ():
            rows = [row(contents.summary, method, name) for name in margins]
            if all(numbers is not None and numbers["low"] > 0 for numbers in rows):
                passed.append(method)
        judged = listing(margins.values())
        if passed:
            text = f"{_names(passed)}: less alike {without} than the maps of two images are, by {judged}."
            result.append(Finding(topic, f"Passed by {text}", "support"))
        if rest := [name for name in explanations(contents) if margins and name not in passed]:
            text = f"Not shown to be less alike {without} than the maps of two images are, by each of {judged}"
            result.append(Finding(topic, f"{text}: {_names(rest)}.", "caution"))
    return result


def smoothness(contents: Contents) -> list[Finding]:
    """State which measures of faithfulness score a method's own maps better once they are blurred."""
    verdicts = {}
    for metric in filter(is_faithfulness, metrics(contents)):
        numbers = row(contents.blur_control, BLURRED, metric)
        if numbers is not None:
            higher = higher_is_better(contents, metric)
            verdicts[metric] = (paired(numbers["low"], numbers["high"], higher_is_better=higher), numbers["wins"])
    if not verdicts:
        return []
    source = str(contents.config["explain"]["methods"][BLURRED]["of"])
    better = [f"{metric_label(m)} ({percent(wins)} of images)" for m, (v, wins) in verdicts.items() if v == "better"]
    rest = [metric_label(m) for m, (v, _) in verdicts.items() if v != "better"]
    topic, whose = "Blur control", f"the maps of {method_label(source)}"
    if not better:
        text = f"Blurring {whose} is not shown to improve their scores on {listing(rest)}."
        return [Finding(topic, text, "support")]
    text = (
        f"Blurring {whose} improves their scores on {listing(better)}: a smooth method's lead there may be due to"
        " its smoothness."
    )
    if rest:
        text += f" It is not shown to improve them on {listing(rest)}."
    return [Finding(topic, text, "caution")]


def few(contents: Contents) -> list[Finding]:
    """Warn of measures whose means rest on so few patients that a resampled interval is too narrow to be believed."""
    if contents.scores.empty:
        return []
    known = contents.scores[contents.scores["value"].notna()]
    patients_of = known.groupby(["metric", "method"])["patient"].nunique()
    small: dict[int, list[str]] = {}
    for metric in (name for name in metrics(contents) if has_values(contents, name)):
        least = min(int(patients_of.get((metric, method), 0)) for method in methods(contents))
        if least < FEW_PATIENTS:
            small.setdefault(least, []).append(metric_label(metric))
    if not small:
        return []
    if sum(map(len, small.values())) == len([name for name in metrics(contents) if has_values(contents, name)]) > 1:
        least, most = min(small), max(small)
        patients = count(most, "patient") if least == most else f"{least} to {most} patients"
        text = f"All means rest on few patients, {patients}: intervals from so few are too narrow to be relied on."
        return [Finding("Sample size", text, "caution")]
    parts = [f"{count(patients, 'patient')} for {listing(names)}" for patients, names in sorted(small.items())]
    text = f"Some means rest on few patients: {'; '.join(parts)}. Intervals from so few are too narrow to be relied on."
    return [Finding("Sample size", text, "caution")]


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
    text = (
        f"Undefined for at least one method: {'; '.join(shares)}. The means are over the images left,"
        " which may not be like those left out."
    )
    return [Finding("Exclusions", text, "caution")]


def _control(contents: Contents, metric: str) -> list[Finding]:
    result = []
    for control in methods(contents):
        own = row(contents.summary, control, metric)
        if control not in contents.controls or control == RANDOM or own is None:
            continue
        # A control that explains nothing of its own sets the level above which an explanation begins to say something.
        above = [m for m in explanations(contents) if _above(contents, m, control, metric)]
        level = estimate(own["mean"], own["low"], own["high"])
        if number(own["mean"]) == "undefined":
            continue
        reached = (
            f"only {_names(above)} {_lies(above)} above it with intervals apart"
            if above and len(above) < len(explanations(contents))
            else "every method lies above it with intervals apart"
            if above
            else "no method lies above it with intervals apart"
        )
        text = f"The control {method_label(control)}, which explains nothing of its own, reaches {level}; {reached}."
        tone: Tone = "support" if len(above) == len(explanations(contents)) else "caution"
        result.append(Finding("Lesion overlap", text, tone))
    return result


def _not_above(contents: Contents, metric: str, random: float) -> int:
    sign = 1 if higher_is_better(contents, metric) else -1
    rows = (row(contents.summary, method, metric) for method in explanations(contents))
    return sum(sign * r["mean"] <= sign * random for r in rows if r is not None)


def _above(contents: Contents, method: str, control: str, metric: str) -> bool:
    own, other = row(contents.summary, method, metric), row(contents.summary, control, metric)
    return own is not None and other is not None and own["low"] > other["high"]


def _grouped(names: Sequence[str], judge: Callable[[str], Verdict]) -> dict[Verdict, list[str]]:
    result: dict[Verdict, list[str]] = {"better": [], "open": [], "worse": [], "undefined": []}
    for name in names:
        result[judge(name)].append(name)
    return result


def _on(metrics_of: Sequence[str], every: Sequence[str]) -> str:
    if len(metrics_of) == len(every) > 1:
        return f"all {len(every)}"
    return listing(metric_label(name) for name in metrics_of)


def _names(names: Sequence[str]) -> str:
    return listing(method_label(name) for name in names)


def _scored(contents: Contents, names: Sequence[str], metric: str) -> str:
    parts = []
    for name in names:
        numbers = row(contents.summary, name, metric)
        if numbers is not None:
            parts.append(f"{method_label(name)} ({estimate(numbers['mean'], numbers['low'], numbers['high'])})")
    return listing(parts)


def _gaps(contents: Contents, names: Sequence[str]) -> str:
    rows = (row(contents.against_random, name, "lesion_auprc") for name in names)
    return listing(estimate(r["difference"], r["low"], r["high"]) for r in rows if r is not None)


def _lies(names: Sequence[str]) -> str:
    return "lies" if len(names) == 1 else "lie"


def _beat(names: Sequence[str]) -> str:
    return "beats" if len(names) == 1 else "beat"
