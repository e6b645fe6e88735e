"""Findings of a comparison in plain words, each made from its numbers and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medsaliency.report.comparison.contents import ACCURACY, Comparison, records
from medsaliency.report.comparison.tables import OPPOSITE, SAME, agreement, pairs
from medsaliency.report.findings.finding import (
    Finding,
    few_names,
    known,
    maps_of,
    names,
    p_value,
    points,
    verb,
    would_have_shown,
)
from medsaliency.report.trust_card import criterion_label
from medsaliency.report.verdicts import relied_on, to_beat
from medsaliency.report.wording import count, estimate, listing, method_label, metric_label, number, without_folders
from medsaliency.statistics.between_runs import HIGHER, LOWER, NOT_SHOWN
from medsaliency.statistics.trust import NOT_SHOWN as OPEN


def findings(comparison: Comparison) -> list[Finding]:
    """Return all findings in reading order."""
    return [
        *_images(comparison),
        *_settings(comparison),
        *_models(comparison),
        *_relied_on(comparison),
        *_opposite(comparison),
        *_methods(comparison),
        *_rankings(comparison),
    ]


def _images(comparison: Comparison) -> list[Finding]:
    """Tell which runs explain the same images, and once a reason why others do not."""
    result, apart = [], dict[str, list[str]]()
    for row in records(comparison.pairs):
        both = f"{row['run']} and {row['other']}"
        if row["reason"]:
            apart.setdefault(without_folders(row["reason"]), []).append(both)
            continue
        text = (
            f"{both} explain the same {count(row['images'], 'image')} of {count(row['patients'], 'patient')}, so their "
            "differences are not of the images."
        )
        if row["other_class"]:
            text += f" On {row['other_class']} of them they explain different classes."
        result.append(Finding("Images", text))
    for reason, runs in apart.items():
        text = (
            f"Not the same images: {'; '.join(runs)} ({reason}). Differences between these may be of the images and "
            "patients, so none is tested."
        )
        result.append(Finding("Images", text, "caution"))
    return result


def _settings(comparison: Comparison) -> list[Finding]:
    of_scores = comparison.settings[comparison.settings["setting"].isin(["explain.target", "explain.score"])]
    kinds = comparison.settings[comparison.settings["kind"] != "study"].drop_duplicates(["kind", "name"])
    told = [str(name).removeprefix("explain.") for name in of_scores["setting"].unique()]
    parts = [f"the explained {listing(told)}"] if told else []
    label = {"method": method_label, "metric": metric_label}
    parts += [
        label.get(kind, str)(name).replace("_", " ") for kind, name in zip(kinds["kind"], kinds["name"], strict=True)
    ]
    if not parts:
        return []
    text = f"The settings of {listing(parts)} differ. Scores that hang on them do not mean the same and are not tested."
    return [Finding("Settings", text, "caution")]


def _models(comparison: Comparison) -> list[Finding]:
    rows = comparison.differences[comparison.differences["metric"] == ACCURACY]
    tested = [Finding("Models", _model(row)) for row in records(rows) if row["paired"]]
    if len(tested) == len(rows):
        return tested
    each = listing(f"{_accuracy(own)} in {run}" for run, own in comparison.performance.items())
    return [*tested, Finding("Models", f"Accuracy is {each}. It was not tested between runs of other images.")]


def _model(row: Mapping[str, Any]) -> str:
    run, other = str(row["run"]), str(row["other"])
    ends = {key: row[source] for key, source in (("value", "difference"), ("low", "low"), ("high", "high"))}
    if row["verdict"] == NOT_SHOWN:
        least = row["detectable"]
        could = (
            f"one of {number(100 * least, 1)} would have been shown"
            if known(least)
            else "how large it may be is not known"
        )
        return (
            f"Neither of {run} and {other} is shown to be more accurate: {other} less {run} is {points(ends)}; {could}."
        )
    better, worse = (other, run) if row["verdict"] == HIGHER else (run, other)
    return (
        f"{better} is more accurate than {worse} on the same images: {other} less {run} is {points(ends)}, corrected "
        f"{p_value(row['p_corrected'])}."
    )


def _accuracy(performance: Mapping[str, Any]) -> str:
    found = performance.get("accuracy") or {}
    return estimate(found.get("value"), found.get("low"), found.get("high"))


def _relied_on(comparison: Comparison) -> list[Finding]:
    if comparison.trust.empty:
        return []
    methods = comparison.explanations
    cards = {run: comparison.card(run) for run in comparison.runs}
    controls = comparison.controls
    by_run = {run: [n for n in methods if relied_on(card.get(n, {}), controls)] for run, card in cards.items()}
    having = {name: [run for run, own in by_run.items() if name in own] for name in methods}
    every = [name for name in methods if len(having[name]) == len(by_run)]
    none = [name for name in methods if not having[name]]
    measures = listing(dict.fromkeys(metric_label(name) for name in comparison.primary.values()))
    blind = listing(maps_of(name) for name in to_beat(controls).values())
    told = f"beats {blind} on {measures} and fails no criterion"
    if every:
        text = f"In every run {names(every)} {verb(every, 'beats', 'beat')} {blind} on {measures} and "
        result = [Finding("Relied on", f"{text}{verb(every, 'fails', 'fail')} no criterion.", "support")]
    else:
        result = [Finding("Relied on", f"No method {told} in every run.", "caution")]
    some: dict[str, list[str]] = {}
    for name in methods:
        if 0 < len(having[name]) < len(by_run):
            some.setdefault(listing(having[name]), []).append(name)
    result += [Finding("Relied on", f"In {runs} only: {names(own)}.", "caution") for runs, own in some.items()]
    if none and (every or some):
        result.append(Finding("Relied on", f"In no run: {names(none)}.", "caution"))
    return result


def _opposite(comparison: Comparison) -> list[Finding]:
    """Count the cells of the cards in which runs agree, and name those in which they contradict each other."""
    cards = {run: comparison.card(run) for run in comparison.runs}
    criteria = dict.fromkeys(name for card in cards.values() for own in card.values() for name in own)
    states: dict[str, list[tuple[str, str]]] = {}
    for method in comparison.explanations:
        for name in criteria:
            verdicts = [card.get(method, {}).get(name, OPEN) for card in cards.values()]
            # That nothing is shown in any run is no agreement.
            if set(verdicts) != {OPEN}:
                states.setdefault(agreement(verdicts), []).append((method, name))
    total = sum(map(len, states.values()))
    if not total:
        return []
    text = (
        f"Of {count(total, 'cell')} of the trust cards in which any run gives a pass or a fail, all runs give the same "
        f"verdict in {len(states.get(SAME, []))}."
    )
    if found := states.get(OPPOSITE, []):
        text += f" They contradict each other, pass against fail, on {_cells(found)}."
    return [Finding("Trust cards", text, "caution" if found else "plain")]


def _cells(found: Sequence[tuple[str, str]]) -> str:
    by: dict[str, list[str]] = {}
    for method, name in found:
        by.setdefault(name, []).append(method)
    return "; ".join(f"“{criterion_label(name).lower()}” of {few_names(own)}" for name, own in by.items())


def _methods(comparison: Comparison) -> list[Finding]:
    """State for each measure read first, and each two runs that were tested, where the other's scores are higher."""
    result = []
    table = comparison.differences
    for run, other in pairs(comparison):
        for metric in comparison.headlines:
            rows = table[(table["run"] == run) & (table["other"] == other) & (table["metric"] == metric)]
            rows = rows[rows["method"].isin(comparison.explanations) & rows["paired"]]
            if rows.empty:
                continue
            by = {word: rows[rows["verdict"] == word] for word in (HIGHER, LOWER, NOT_SHOWN)}
            parts = [f"{word} for {few_names(list(by[word]['method']))}" for word in (HIGHER, LOWER) if len(by[word])]
            open_ones = by[NOT_SHOWN]
            if len(open_ones):
                least = would_have_shown([float(value) for value in open_ones["detectable"]])
                whom = f"{few_names(list(open_ones['method']))}"
                parts.append(f"no difference shown for {whom} ({least})")
            better = "higher" if comparison.measures[metric].higher_is_better else "lower"
            text = f"{metric_label(metric)}, from {run} to {other} ({better} is better): {'; '.join(parts)}."
            result.append(Finding("Methods", text))
    return result


def _rankings(comparison: Comparison) -> list[Finding]:
    """Say for each two runs on which measures read first the ranking of methods carries over."""
    result = []
    for run, other in pairs(comparison):
        rows = comparison.rankings
        rows = rows[(rows["run"] == run) & (rows["other"] == other) & rows["metric"].isin(comparison.headlines)]
        alike, reverse, unclear = list[str](), list[str](), list[str]()
        for row in records(rows):
            if not math.isfinite(row["tau"]):
                continue
            said = f"{metric_label(str(row['metric']))} (tau {estimate(row['tau'], row['low'], row['high'], 2)})"
            (alike if row["low"] > 0 else reverse if row["high"] < 0 else unclear).append(said)
        parts = [f"carries over on {listing(alike)}"] if alike else []
        parts += [f"is turned around on {listing(reverse)}"] if reverse else []
        parts += [f"is not shown to carry over on {listing(unclear)}"] if unclear else []
        if parts:
            text = f"Between {run} and {other} the ranking of methods {'; it '.join(parts)}."
            result.append(Finding("Ranking", text, "caution" if unclear or reverse else "plain"))
    return result
