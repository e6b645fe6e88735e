"""The trust card as the page shows it: methods by criteria, each cell with the evidence behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsaliency.report.contents import Contents
from medsaliency.report.verdicts import criteria
from medsaliency.report.wording import LIKENESS, count, estimate, method_label, metric_label, number, without_folders
from medsaliency.statistics.trust import NOT_SHOWN

LABELS = {
    "beats_random": "Beats random",
    "beats_edge": "Beats edge",
    "beats_center": "Beats center",
    "parameter_randomization": "Parameter randomization",
    "data_randomization": "Data randomization",
    "repeatable": "Repeatable",
    "reproducible": "Reproducible",
    "stable": "Stable",
    "localizes": "Localizes",
    "faithful": "Faithful",
    "affordable": "Affordable",
}
QUESTIONS = {
    "beats_random": "Does it matter more to the model where this map is than where a random map is?",
    "beats_edge": "The same against a map of the image's edges, which knows nothing of the model.",
    "beats_center": "The same against a spot in the middle of the image.",
    "parameter_randomization": "Do maps change when the model's weights are drawn anew?",
    "data_randomization": "Do maps change when the model has learned permuted labels?",
    "repeatable": "Does the same architecture, trained anew, give the same map?",
    "reproducible": "Does another architecture give the same map?",
    "stable": "Does the map move with the image, and stay under faint noise?",
    "localizes": "Does the map lie on the lesion better than each control does?",
    "faithful": "Does the model follow the map more than a random map, by every such measure of the study?",
    "affordable": "Does a map take no longer than the study allows?",
}
MEASURES = {**LIKENESS, "dice": "overlap of the highest pixels", "seconds": "seconds an image"}
"""What is measured by no metric: the likeness of two networks' maps, and the time."""
SIGNS = {"pass": "✓", "fail": "✕", "not shown": "–"}  # nosec B105 # a verdict, not a password
"""A verdict is never told by color alone: its word and its sign stand beside it."""


@dataclass(frozen=True)
class Cell:
    """What a cell of the matrix says.

    Args:
        verdict: "pass", "fail" or "not shown".
        sign: Beside the word.
        entry: The id of the entry with the evidence; cells with the same evidence share one.
    """

    verdict: str
    sign: str
    entry: str


@dataclass(frozen=True)
class Entry:
    """The evidence behind a cell.

    Args:
        id: In the page.
        method: Whose, or how many share it, where nothing was measured.
        criterion: Its label.
        question: What the criterion asks.
        verdict: Of all lines together.
        sign: Beside the word.
        lines: One a measure.
    """

    id: str
    method: str
    criterion: str
    question: str
    verdict: str
    sign: str
    lines: tuple[Mapping[str, str], ...]


def criterion_label(name: str) -> str:
    """Return the name of a criterion for headings, or ``name`` itself for one that has no such name."""
    return LABELS.get(name, name)


def measure_label(measure: str) -> str:
    """Write what a row of the card measures, such as "Evidence less Random" for "evidence - random"."""
    metric, separator, control = measure.partition(" - ")
    label = MEASURES.get(metric) or metric_label(metric)
    return f"{label} less {method_label(control)}" if separator else label


def trust_card(contents: Contents) -> dict[str, Any] | None:
    """Return the matrix of the card and the entries behind its cells, or None where no method was judged.

    Methods and criteria keep the order of the table. Nothing of a name is trusted: the page escapes all of it.
    """
    table = contents.inference.trust
    if table.empty:
        return None
    verdicts = criteria(contents)
    columns = list(dict.fromkeys(name for own in verdicts.values() for name in own))
    atoms = {
        key: [_line(dict(row)) for _, row in part.iterrows()] for key, part in table.groupby(["method", "criterion"])
    }
    ids: dict[tuple[str, ...], str] = {}
    owners: dict[str, list[tuple[str, str]]] = {}
    matrix = []
    for method, own in verdicts.items():
        cells = []
        for name in columns:
            verdict, lines = own.get(name, NOT_SHOWN), atoms.get((method, name), [])
            # What was not measured of any method is told once.
            key = (name, method if any(line["value"] for line in lines) else str(lines))
            entry = ids.setdefault(key, f"trust-{len(ids) + 1}") if lines else ""
            if lines:
                owners.setdefault(entry, []).append((method, name))
            cells.append(Cell(verdict, SIGNS[verdict], entry))
        matrix.append({"method": method_label(method), "cells": cells})
    heads = [{"label": criterion_label(name), "question": QUESTIONS.get(name, "")} for name in columns]
    entries = [_entry(entry, of, len(verdicts), verdicts, atoms) for entry, of in owners.items()]
    return {"criteria": heads, "rows": matrix, "entries": entries}


def _entry(
    entry: str,
    of: Sequence[tuple[str, str]],
    methods: int,
    verdicts: Mapping[str, Mapping[str, str]],
    atoms: Mapping[Any, Sequence[Mapping[str, str]]],
) -> Entry:
    method, name = of[0]
    whose = method_label(method) if len(of) == 1 else "All methods" if len(of) == methods else count(len(of), "method")
    verdict = verdicts[method][name]
    question = QUESTIONS.get(name, "")
    return Entry(entry, whose, criterion_label(name), question, verdict, SIGNS[verdict], tuple(atoms[method, name]))


def _line(row: Mapping[str, Any]) -> dict[str, str]:
    """One measure's evidence in words; empty where there is none."""
    value, low, high, threshold, p = (_number(row[key]) for key in ("value", "low", "high", "threshold", "p"))
    measured = math.isfinite(value)
    written = estimate(value, low, high) if math.isfinite(low + high) else number(value)
    return {
        "measure": measure_label(str(row["measure"])) if row["measure"] else "",
        "verdict": str(row["verdict"]),
        "sign": SIGNS[str(row["verdict"])],
        "value": written if measured else "",
        "threshold": f"{threshold:g}".replace("-", "−") if math.isfinite(threshold) else "",
        "p": ("< 0.001" if p < 0.001 else f"= {number(p)}") if math.isfinite(p) else "",
        "source": str(row["source"] or ""),
        "reason": without_folders(row["reason"] or ""),
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
