"""The report's tables as rows of finished text, so that the template only lays out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.wording import (
    class_name,
    count,
    interval,
    method_label,
    metric_label,
    number,
    percent,
    signed,
    without_folders,
)


@dataclass(frozen=True)
class Column:
    """A measure as the head of a column."""

    label: str
    arrow: str
    direction: str
    description: str


@dataclass(frozen=True)
class Cell:
    """One estimate: ``sort`` is the number to order by (empty where undefined), ``note`` counts what is missing."""

    text: str
    interval: str
    note: str
    sort: str


@dataclass(frozen=True)
class ScoreRow:
    """One method with a cell a measure."""

    method: str
    style: Style
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoreTable:
    """Methods by measures, and the measures left out because nothing has a value, with the reasons given."""

    columns: tuple[Column, ...]
    rows: tuple[ScoreRow, ...]
    omitted: tuple[str, ...]


def score_table(contents: Contents, drawn: Mapping[str, Style]) -> ScoreTable:
    """Return mean and interval of every method on every measure that has any value."""
    names = verdicts.metrics(contents)
    shown = [name for name in names if verdicts.has_values(contents, name)]
    # One pass over each table: picking a row out of it takes long, and there is a cell for each.
    known = {(row["method"], row["metric"]): row for row in contents.summary.to_dict("records")}
    missing = _missing(contents)
    rows = tuple(
        ScoreRow(
            method_label(method),
            style,
            tuple(_cell(known.get((method, name)), *missing.get((method, name), (0, 0))) for name in shown),
        )
        for method, style in drawn.items()
    )
    return ScoreTable(tuple(column(contents, name) for name in shown), rows, omitted(contents))


def omitted(contents: Contents) -> tuple[str, ...]:
    """Say for each measure without any value why it is not shown."""
    result = []
    for name in verdicts.metrics(contents):
        if not verdicts.has_values(contents, name):
            _, images = verdicts.undefined_images(contents, None, name)
            reason = "; ".join(verdicts.reasons(contents, [name])) or "no value was computed"
            result.append(f"{metric_label(name)}: undefined (n = {images}), {without_folders(reason)}")
    return tuple(result)


def column(contents: Contents, metric: str) -> Column:
    """Return the head of the column of ``metric``."""
    higher = verdicts.higher_is_better(contents, metric)
    measure = contents.measures.get(metric)
    direction = "higher is better" if higher else "lower is better"
    return Column(metric_label(metric), "↑" if higher else "↓", direction, measure.description if measure else "")


def _missing(contents: Contents) -> dict[tuple[str, str], tuple[int, int]]:
    """Count (images without a value, all images) of every method and metric; a method has one row an image."""
    if contents.scores.empty:
        return {}
    missing = pd.to_numeric(contents.scores["value"], errors="coerce").isna()
    counts = missing.groupby([contents.scores["method"], contents.scores["metric"]]).agg(["sum", "size"])
    return {(method, metric): (lost, images) for (method, metric), lost, images in counts.itertuples()}


def _cell(numbers: Mapping[Any, Any] | None, lost: int, images: int) -> Cell:
    if numbers is None:
        return Cell("not run", "", "", "")
    mean = numbers["mean"]
    if not math.isfinite(mean):
        return Cell("undefined", "", f"n = {images}", "")
    shared = f"on {numbers['images']:.0f} of {images}" if numbers["images"] < images else ""
    note = ", ".join(filter(None, (shared, f"{lost} undefined" if lost else "")))
    return Cell(number(mean), interval(numbers["low"], numbers["high"]), note, repr(mean))


@dataclass(frozen=True)
class ForestRow:
    """One method against a control; ``x`` are positions in percent of the width, None where undefined."""

    method: str
    style: Style
    difference: str
    interval: str
    wins: str
    images: str
    verdict: str
    x: float | None
    x_low: float | None
    x_high: float | None


@dataclass(frozen=True)
class Forest:
    """All methods against a control on one measure, on one axis that holds zero at ``zero`` percent of the width."""

    column: Column
    images: str
    rows: tuple[ForestRow, ...]
    zero: float
    left: str
    right: str


def forests(contents: Contents, drawn: Mapping[str, Style], control: str, metrics: Iterable[str]) -> list[Forest]:
    """Return the paired comparison with ``control`` on each of ``metrics`` that has one."""
    table = contents.inference.against_controls
    known: dict[str, dict[str, Mapping[Any, Any]]] = {}
    for row in table[table["control"] == control].to_dict("records"):
        known.setdefault(str(row["metric"]), {})[str(row["method"])] = row
    return [_forest(contents, name, drawn, known[name]) for name in metrics if name in known]


def _forest(
    contents: Contents, metric: str, drawn: Mapping[str, Style], known: Mapping[str, Mapping[Any, Any]]
) -> Forest:
    numbers = {method: known[method] for method in drawn if method in known}
    ends = [n[key] for n in numbers.values() for key in ("low", "high", "difference") if math.isfinite(n[key])]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.04 * ((high - low) or 1.0)
    low, high = low - margin, high + margin

    def place(value: float) -> float | None:
        return round(100 * (value - low) / (high - low), 2) if math.isfinite(value) else None

    rows = tuple(
        ForestRow(
            method=method_label(method),
            style=drawn[method],
            difference=signed(n["difference"]),
            interval=interval(n["low"], n["high"]) if math.isfinite(n["difference"]) else "",
            wins=percent(n["superiority"]),
            images=count(n["images"], "image"),
            verdict=verdicts.verdict_of(n),
            x=place(n["difference"]),
            x_low=place(n["low"]),
            x_high=place(n["high"]),
        )
        for method, n in numbers.items()
    )
    images = image_range([n["images"] for n in numbers.values()])
    return Forest(column(contents, metric), images, rows, place(0.0) or 0.0, signed(low, 2), signed(high, 2))


def image_range(counts: Iterable[float]) -> str:
    """Write the numbers of images of several methods: one number where they agree, else the range."""
    known = [value for value in counts if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return count(high, "image") if low == high else f"{low:,.0f} to {high:,.0f} images"


@dataclass(frozen=True)
class Area:
    """The areas under one method's aggregated curves, by family ("AIC", "SIC"): (of the mean, of the median)."""

    name: str
    method: str
    style: Style
    areas: tuple[tuple[str, str], ...]


def areas(contents: Contents, metrics: list[str], drawn: Mapping[str, Style]) -> list[Area]:
    """Return the areas under the aggregated curves of ``metrics`` for each method that has one."""
    found = {m: [verdicts.row(contents.curves, m, metric) for metric in metrics] for m in drawn}
    return [
        Area(
            method,
            method_label(method),
            drawn[method],
            tuple((number(r["auc_mean"]), number(r["auc_median"])) if r else ("–", "–") for r in rows),
        )
        for method, rows in found.items()
        if any(rows)
    ]


@dataclass(frozen=True)
class Exclusion:
    """Images of one class that ``metrics`` leave out for one reason; ``share`` is in [0, 1].

    ``methods`` says how many methods it concerns, and is empty where it is all of them.
    """

    metrics: str
    label: str
    reason: str
    images: int
    of: int
    share: float
    methods: str


def exclusion_rows(contents: Contents) -> list[Exclusion]:
    """Return the exclusions, measures that lose the same images for the same reason put together."""
    merged: dict[tuple[str, str, int, int, int], list[str]] = {}
    every = len(verdicts.methods(contents))
    for _, row in contents.exclusions.iterrows():
        label = class_name(row["label"], contents.classes)
        key = (
            without_folders(row["reason"]),
            label,
            int(row["images"]),
            int(row["of"]),
            int(row.get("methods", every)),
        )
        if key[2]:
            merged.setdefault(key, []).append(metric_label(str(row["metric"])))

    def few(methods: int) -> str:
        return "" if methods >= every else f"at most {methods} of {every} methods"

    return [
        Exclusion(", ".join(names), label, reason, images, of, images / of if of else 0.0, few(methods))
        for (reason, label, images, of, methods), names in merged.items()
    ]


def timing_rows(seconds: pd.DataFrame) -> list[tuple[str, str, str, str, str, str]]:
    """Return (kind, name, images, seconds, seconds an image, megabytes at the peak) of each row of a run's timings."""
    rows: list[tuple[str, str, str, str, str, str]] = []
    for _, row in seconds.iterrows():
        name, kind = str(row["name"]), str(row["kind"])
        label = method_label(name) if kind == "method" else metric_label(name)
        each = float(row["seconds"]) / float(row["images"]) if row["images"] else math.nan
        took = (number(float(row["seconds"]), 1), number(each, 3), number(float(row["peak_bytes"]) / 1e6, 0))
        rows.append((kind, label, f"{int(row['images']):,}", *took))
    return rows


def count_rows(data: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[int], int]]]:
    """Return the classes and, for each split, (name, images of each class, all images)."""
    counts: Mapping[str, Mapping[str, int]] = data.get("counts") or {}
    known = [str(name) for name in data.get("classes") or ()]
    names = known + [str(name) for split in counts.values() for name in split if str(name) not in known]
    names = list(dict.fromkeys(names))
    rows = []
    for split, of_class in counts.items():
        images = [int(of_class.get(name, 0)) for name in names]
        rows.append((str(split), images, sum(images)))
    return names, rows
