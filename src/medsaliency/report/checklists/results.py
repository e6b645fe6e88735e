"""What a study measured, one sentence or two a subject; "" for what was not measured.

Each sentence holds a number of the study. Nothing is said that no table says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from medsaliency.report import verdicts
from medsaliency.report.checklists.facts import SHOWN_NAMES, names, section
from medsaliency.report.contents import Contents
from medsaliency.report.wording import count, estimate, listing, method_label, metric_label, number
from medsaliency.types import Family


def tested(contents: Contents) -> str:
    """Say on what the model was tested."""
    images, patients = contents.performance.get("images"), contents.performance.get("patients")
    if not images:
        return ""
    of = f" of {count(patients, 'patient')}" if patients and section(contents, "data").get("patients_known") else ""
    return f"Tested on {count(images, 'evaluation image')}{of}."


def performance(contents: Contents) -> str:
    """Give accuracy and macro F1 with their intervals."""
    labels = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}
    found = [f"{label} {written}." for key, label in labels.items() if (written := _interval(contents, key))]
    return " ".join(filter(None, (tested(contents), *found))) if found else ""


def diagnostic(contents: Contents) -> tuple[str, str]:
    """Give the AUROC of each class with its interval, and say for which it is left to a human."""
    scores: Mapping[str, Any] = contents.performance.get("auroc") or {}
    known = {name: score for name, score in scores.items() if _finite((score or {}).get("value"))}
    if not known:
        return "", "Give sensitivity, specificity or their like for each class."
    given = [f"{name} {_written(score)}" for name, score in list(known.items())[:SHOWN_NAMES]]
    more = f", and {len(known) - len(given)} more" if len(known) > len(given) else ""
    lost = [name for name in scores if name not in known]
    missing = f"Give it for {names(lost, 'class', 'classes')}, for which it is undefined here." if lost else ""
    return f"AUROC: {', '.join(given)}{more}.", missing


def errors(contents: Contents) -> str:
    """Count the wrong predictions and name the most frequent confusion."""
    confusion = contents.performance.get("confusion")
    if not confusion or len(confusion) != len(contents.classes):
        return ""
    total = sum(map(sum, confusion))
    wrong = {
        (true, predicted): n
        for true, row in enumerate(confusion)
        for predicted, n in enumerate(row)
        if true != predicted and n
    }
    if not wrong:
        return f"None of {count(total, 'evaluation image')} is classified wrong."
    (true, predicted), most = max(wrong.items(), key=lambda pair: pair[1])
    pair = f"{contents.classes[true]} taken for {contents.classes[predicted]}"
    lost = sum(wrong.values())
    return f"{lost:,} of {count(total, 'evaluation image')} are classified wrong, most often {pair} ({most:,})."


def checks(contents: Contents) -> str:
    """Name the checks of the explanations that the study ran."""
    families: tuple[Family, ...] = ("randomization", "stability")
    found = verdicts.of_family(contents, *families)
    return f"Of the explanations, by {listing(metric_label(name) for name in found)}." if found else ""


def retrained(contents: Contents) -> str:
    """Say with what kinds of networks trained anew the maps were compared."""
    kinds = [str(name) for name in dict.fromkeys(contents.inference.networks["kind"])]
    if not kinds:
        return ""
    images = contents.inference.networks["images"].max()
    return f"Maps were compared with those of networks trained anew ({listing(kinds)}) on {count(images, 'image')}."


def calibrated(contents: Contents) -> str:
    """Give the expected calibration error before and after temperature scaling."""
    known = contents.inference.calibration
    before, after = known.get("error_before") or {}, known.get("error_after") or {}
    if not _finite(before.get("value")):
        written = _interval(contents, "expected_calibration_error")
        return f"Expected calibration error {written}." if written else ""
    said = f"Expected calibration error {_written(before)}"
    if not _finite(after.get("value")):
        return f"{said}."
    return f"{said}, after temperature scaling on {count(known['images'], 'validation image')} {_written(after)}."


def undefined(contents: Contents) -> str:
    """Count the scores that are undefined; each has a reason in the tables."""
    values = contents.scores["value"] if len(contents.scores) else pd.Series(dtype=float)
    lost = int(values.isna().sum())
    if not len(values):
        return ""
    return f"{lost:,} of {count(len(values), 'score')} are undefined, each with its reason; none was filled in."


def speed(contents: Contents) -> str:
    """Give the fastest and the slowest method in seconds an image."""
    rows = contents.seconds[contents.seconds["kind"] == "method"] if len(contents.seconds) else contents.seconds
    own = rows[rows["name"].isin(verdicts.explanations(contents))] if len(rows) else rows
    each = {str(row["name"]): row["seconds"] / row["images"] for _, row in own.iterrows() if row["images"]}
    each = {name: float(value) for name, value in each.items() if math.isfinite(value)}
    if not each:
        return ""
    fast, slow = min(each, key=lambda name: each[name]), max(each, key=lambda name: each[name])
    return (
        f"Seconds an image: from {number(each[fast])} ({method_label(fast)}) to {number(each[slow])} "
        f"({method_label(slow)})."
    )


def has_lesions(contents: Contents) -> bool:
    """Tell whether any map was scored against a lesion."""
    return any(verdicts.has_values(contents, name) for name in verdicts.of_family(contents, "localization"))


def shown(contents: Contents) -> str:
    """Say how many maps of how many images the report shows."""
    if not contents.cases:
        return ""
    maps = max(len(case.maps) for case in contents.cases)
    return (
        f"{count(len(contents.cases), 'case')} with {count(maps, 'map')} each over the image, with one shared legend."
    )


def plausibility(contents: Contents) -> str:
    """Say whether overlap with lesions was shown to depend on whether the prediction is right."""
    table, metric = contents.inference.mixed_terms, verdicts.localization(contents)
    rows = table[(table["metric"] == metric) & (table["term"] == "correct")]
    p = float(rows["p_corrected"].iloc[0]) if len(rows) else math.nan
    if not math.isfinite(p):
        return ""
    shown = p <= verdicts.alpha(contents)
    depends = "differs between right and wrong predictions" if shown else "was not shown to differ by the prediction"
    return f"{metric_label(metric)} {depends} (corrected p {number(p)}, {count(rows['images'].iloc[0], 'image')})."


def shortcut(contents: Contents) -> str:
    """Give the accuracy with and without a planted marker."""
    known = contents.inference.shortcut
    before, after = known.get("accuracy_with") or {}, known.get("accuracy_without") or {}
    if not (_finite(before.get("value")) and _finite(after.get("value"))):
        return ""
    return (
        f"A marker was planted in images of {known.get('class', 'one class')}: accuracy on "
        f"{count(known['images'], 'image')} is {_written(before)} with it and {_written(after)} without."
    )


def card(contents: Contents, *criteria: str) -> str:
    """Count how many methods pass, fail or are not shown to pass criteria of the trust card."""
    found = verdicts.criteria(contents)
    parts = []
    for name in criteria:
        given = [own[name] for own in found.values() if name in own]
        if given:
            pairs = [(given.count(word), word) for word in ("pass", "fail", "not shown") if word in given]
            parts.append(f"{name.replace('_', ' ')}: " + ", ".join(f"{word} {n}" for n, word in pairs))
    return f"Trust card, methods by verdict: {'; '.join(parts)}." if parts else ""


def _interval(contents: Contents, key: str) -> str:
    score = contents.performance.get(key) or {}
    return _written(score) if _finite(score.get("value")) else ""


def _written(score: Mapping[str, Any]) -> str:
    return estimate(score["value"], score.get("low"), score.get("high"))


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
