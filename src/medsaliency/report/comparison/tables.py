"""The tables of a comparison as finished text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from medsaliency.report.comparison.contents import ACCURACY, Comparison, records
from medsaliency.report.findings.finding import p_value
from medsaliency.report.trust_card import QUESTIONS, SIGNS, criterion_label
from medsaliency.report.wording import (
    UNDEFINED,
    count,
    interval,
    listing,
    method_label,
    metric_label,
    number,
    signed,
    without_folders,
)
from medsaliency.statistics.between_runs import HIGHER, LOWER, NOT_SHOWN
from medsaliency.statistics.trust import FAILED, PASSED
from medsaliency.statistics.trust import NOT_SHOWN as OPEN

WORDS = {
    HIGHER: ("↑", "higher"),
    LOWER: ("↓", "lower"),
    NOT_SHOWN: ("–", "no difference shown"),
    "": ("·", "not tested"),
}
"""A verdict's sign and words: it is never told by color alone."""
SAME, DIFFERS, OPPOSITE = "same", "differs", "opposite"


def title(comparison: Comparison, run: str) -> str:
    """Return a run's letter with its study's name."""
    return f"{run} · {without_folders(comparison.runs[run])}"


def pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return every two runs by their letters."""
    return list(combinations(comparison.runs, 2))


def less(run: str, other: str) -> str:
    """Write the difference of two runs, on one line."""
    return f"{other}\u00a0−\u00a0{run}"


def fact_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each fact with its value in every run, and whether they differ."""
    rows = []
    for fact, own in comparison.facts.groupby("fact", sort=False):
        given = dict(zip(own["run"], own["value"].map(without_folders), strict=True))
        values = [given.get(run, "") for run in comparison.runs]
        rows.append({"fact": str(fact), "values": values, "differs": len(set(values)) > 1})
    return rows


def setting_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each setting that differs with its value in every run."""
    rows = []
    for (kind, name, setting), own in comparison.settings.groupby(["kind", "name", "setting"], sort=False):
        label = {"method": method_label, "metric": metric_label}.get(str(kind), str)(str(name))
        given = dict(zip(own["run"], own["value"].map(without_folders), strict=True))
        what = f"{label.replace('_', ' ')} ({kind})" if name else "Study"
        values = [given.get(run, "not run") for run in comparison.runs]
        rows.append({"of": without_folders(what), "setting": without_folders(setting), "values": values})
    return rows


def left_out(comparison: Comparison) -> list[str]:
    """Return what not every run has, a sentence for each kind and set of runs."""
    label = {"method": method_label, "measure": metric_label}
    lines = []
    for (kind, runs), own in comparison.left_out.groupby(["kind", "runs"], sort=False):
        names = listing(label[str(kind)](str(name)) for name in own["name"])
        lines.append(
            f"{'Methods' if kind == 'method' else 'Measures'} of {listing(str(runs).split(', '))} only: {names}."
        )
    return lines


def performance_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return accuracy, macro F1, calibration error and the AUROC of each class, side by side."""
    own = comparison.performance
    classes = dict.fromkeys(str(name) for run in comparison.runs for name in own[run].get("auroc") or {})
    rows: list[tuple[str, list[Any]]] = [
        (label, [own[run].get(key) for run in comparison.runs])
        for key, label in (
            ("accuracy", "Accuracy, higher is better"),
            ("macro_f1", "Macro F1, higher is better"),
            ("expected_calibration_error", "Expected calibration error, lower is better"),
        )
    ]
    for name in classes:
        found = [(own[run].get("auroc") or {}).get(name) for run in comparison.runs]
        rows.append((f"AUROC of {without_folders(name)}, higher is better", found))
    return [{"name": name, "cells": [_written(cell) for cell in cells]} for name, cells in rows]


def _written(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {"mean": "no such class", "interval": ""}
    return cell(*(found.get(key, math.nan) for key in ("value", "low", "high")))


def cell(value: float | None, low: float | None, high: float | None, digits: int = 3) -> dict[str, str]:
    """Write a value and its interval apart; one that is undefined has none."""
    text = number(value, digits)
    return {"mean": text, "interval": "" if text == UNDEFINED else interval(low, high, digits)}


def accuracy_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the difference of accuracy of every two runs."""
    rows = comparison.differences[comparison.differences["metric"] == ACCURACY]
    return [
        {
            "pair": less(row["run"], row["other"]),
            "images": f"{count(row['images'], 'image')} of {count(row['patients'], 'patient')}"
            if row["paired"]
            else "",
            **difference(row),
        }
        for row in records(rows)
    ]


def difference(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write a row of ``differences``: value, interval, sign, words and what else there is to know."""
    sign, words = WORDS[str(row["verdict"])]
    known = math.isfinite(row["difference"])
    more = without_folders(row["reason"])
    if row["verdict"]:
        more = p_value(row["p_corrected"])
    if row["verdict"] == NOT_SHOWN:
        more += f"; detectable {number(row['detectable'])}" if math.isfinite(row["detectable"]) else ""
    return {
        "value": signed(row["difference"]) if known else "",
        "interval": interval(row["low"], row["high"]) if known else "",
        "verdict": str(row["verdict"]).replace(" ", "-") or "untested",
        "sign": sign,
        "words": words,
        "more": more,
    }


def ranking_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return for each measure how far every two runs rank the methods alike."""
    found = {(row["metric"], row["run"], row["other"]): row for row in records(comparison.rankings)}
    rows = []
    for name in comparison.measures:
        own = [found[(name, *pair)] for pair in pairs(comparison)]
        cells = [
            {
                **cell(row["tau"], row["low"], row["high"], 2),
                "methods": count(row["methods"], "method") if row["methods"] else "",
                "reason": without_folders(row["reason"]),
            }
            for row in own
        ]
        rows.append({"name": metric_label(name), "cells": cells})
    return rows


def trust_matrix(comparison: Comparison) -> dict[str, Any]:
    """Return the trust cards side by side: methods by criteria, in each cell the verdict of every run.

    Criteria of which no run shows anything for any method are named apart.
    """
    cards = {run: comparison.card(run) for run in comparison.runs}
    every = dict.fromkeys(name for card in cards.values() for own in card.values() for name in own)
    shown = [name for name in every if _says_something(cards.values(), name, comparison.explanations)]
    rows = [
        {"method": method_label(method), "cells": [_trust_cell(cards, method, name) for name in shown]}
        for method in comparison.explanations
    ]
    return {
        "criteria": [{"label": criterion_label(name), "question": QUESTIONS.get(name, "")} for name in shown],
        "rows": rows if shown else [],
        "silent": [criterion_label(name).lower() for name in every if name not in shown],
    }


def _says_something(cards: Iterable[Mapping[str, Mapping[str, str]]], name: str, methods: Sequence[str]) -> bool:
    return any(card.get(method, {}).get(name) in (PASSED, FAILED) for card in cards for method in methods)


def _trust_cell(cards: Mapping[str, Mapping[str, Mapping[str, str]]], method: str, name: str) -> dict[str, Any]:
    verdicts = {run: card.get(method, {}).get(name, OPEN) for run, card in cards.items()}
    return {
        "verdicts": [{"run": run, "word": word, "sign": SIGNS[word]} for run, word in verdicts.items()],
        "state": agreement(verdicts.values()),
    }


def agreement(verdicts: Iterable[str]) -> str:
    """Say whether runs give one verdict, others, or opposite ones: pass in one and fail in another."""
    given = set(verdicts)
    if {PASSED, FAILED} <= given:
        return OPPOSITE
    return SAME if len(given) < 2 else DIFFERS
