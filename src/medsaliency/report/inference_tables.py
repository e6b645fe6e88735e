"""The tests' results as rows of finished text and as sentences, so that the template only lays out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import headlines
from medsaliency.report.figures.mixed_model import TERMS
from medsaliency.report.tables import Cell, image_range
from medsaliency.report.wording import (
    count,
    interval,
    method_label,
    metric_label,
    number,
    percent,
    signed,
    without_folders,
)
from medsaliency.statistics.controls import RANDOM

MOST_ROWS = 800
"""Rows above which a page shows the headline measures only, and of these no more than fit, the first always."""
SOURCES = {"seed": "another seed", "retrained": "a network trained anew"}


def p_value(p: float) -> str:
    """Write a p with three decimals, "<0.001" below; what is not known is "undefined"."""
    return "<0.001" if 0 <= p < 0.001 else number(p)


def equation(p: float) -> str:
    """Write a p as an equation, "p = 0.031" or "p < 0.001"."""
    written = p_value(p)
    return f"p < {written[1:]}" if written.startswith("<") else f"p = {written}"


def shown_measures(contents: Contents, table: pd.DataFrame) -> list[str]:
    """Return the measures of ``table`` that a page has room for: all, or the headline ones of a long table."""
    present = set(table["metric"]) if len(table) else set()
    names = [name for name in verdicts.metrics(contents) if name in present and verdicts.has_values(contents, name)]
    if len(table) <= MOST_ROWS:
        return names
    rows = table["metric"].value_counts()
    first = [name for name in headlines(contents) if name in names]
    return [name for place, name in enumerate(first) if not place or rows[first[: place + 1]].sum() <= MOST_ROWS]


def friedman_lines(contents: Contents) -> list[str]:
    """Say for each headline measure whether the methods differ at all, and how far patients agree on their order."""
    table = contents.inference.friedman
    lines = []
    for metric in headlines(contents):
        for row in table[table["metric"] == metric].to_dict("records"):
            lines.append(_friedman_line(metric, row, verdicts.alpha(contents)))
    return lines


def _friedman_line(metric: str, row: Mapping[Any, Any], level: float) -> str:
    many = f"{count(row['methods'], 'method')} on {count(row['patients'], 'patient')}"
    if not math.isfinite(row["p_corrected"]):
        return (
            f"{metric_label(metric)}: undefined ({many}), {without_folders(row['reason'] or 'no test could be made')}."
        )
    said = "the methods differ" if row["p_corrected"] <= level else "no difference among the methods is shown"
    return (
        f"{metric_label(metric)}: {said} ({many}; Friedman's statistic {number(row['statistic'], 1)}, corrected "
        f"{equation(row['p_corrected'])}); Kendall's W {number(row['kendall_w'], 2)}."
    )


@dataclass(frozen=True)
class PairRow:
    """One pair of methods on a measure; ``tone`` is "shown" where a difference is, cells as in ``PAIR_HEADS``."""

    pair: str
    verdict: str
    tone: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PairTable:
    """All pairs on one measure, with how many differ."""

    label: str
    direction: str
    note: str
    rows: tuple[PairRow, ...]


PAIR_HEADS = (
    "Difference", "Corrected p", "Rank-biserial r", "Cliff's δ", "Wins of the first", "Detectable difference",
)  # fmt: skip


def pair_tables(contents: Contents) -> list[PairTable]:
    """Return the pairwise tests, measure by measure."""
    table = contents.inference.pairwise
    return [_pair_table(contents, name, table[table["metric"] == name]) for name in shown_measures(contents, table)]


def _pair_table(contents: Contents, metric: str, part: pd.DataFrame) -> PairTable:
    rows = tuple(_pair_row(row) for row in part.to_dict("records"))
    differ = sum(row.tone == "shown" for row in rows)
    note = f"{count(differ, 'pair')} of {len(rows)} differ; {image_range(part['images'])}"
    direction = "higher is better" if verdicts.higher_is_better(contents, metric) else "lower is better"
    return PairTable(metric_label(metric), direction, note, rows)


def _pair_row(row: Mapping[Any, Any]) -> PairRow:
    one, other = method_label(str(row["method"])), method_label(str(row["other"]))
    verdict = {"better": f"{one} better", "worse": f"{other} better"}.get(row["verdict"], "no difference shown")
    cells = (
        _estimated(row, "difference", "low", "high", sign=True),
        _plain(row["p_corrected"], p_value(row["p_corrected"])),
        _estimated(row, "rank_biserial", "rank_biserial_low", "rank_biserial_high"),
        _estimated(row, "cliffs_delta", "cliffs_delta_low", "cliffs_delta_high"),
        _plain(row["superiority"], percent(row["superiority"])),
        _plain(row["detectable"], number(row["detectable"])),
    )
    tone = "shown" if row["verdict"] in ("better", "worse") else "open"
    return PairRow(f"{one} – {other}", verdict, tone, cells)


def _estimated(row: Mapping[Any, Any], value: str, low: str, high: str, *, sign: bool = False) -> Cell:
    found = row[value]
    if not math.isfinite(found):
        return Cell("undefined", "", "", "")
    digits = 3 if sign else 2
    written = signed(found, digits) if sign else number(found, digits)
    return Cell(written, interval(row[low], row[high], digits), "", _sort(found))


def _plain(value: float, text: str) -> Cell:
    return Cell(text, "", "", _sort(value)) if math.isfinite(value) else Cell("undefined", "", "", "")


def _sort(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


@dataclass(frozen=True)
class TermRow:
    """One term of a mixed model; ``tone`` is "shown" where the score goes with it, ``note`` why it is untested."""

    metric: str
    term: str
    verdict: str
    tone: str
    statistic: Cell
    df: Cell
    p: Cell
    p_corrected: Cell
    images: str
    note: str


def term_rows(contents: Contents) -> list[TermRow]:
    """Return the tests of the mixed models' terms; an untested term says why."""
    return [_term_row(row, verdicts.alpha(contents)) for row in contents.inference.mixed_terms.to_dict("records")]


def _term_row(row: Mapping[Any, Any], level: float) -> TermRow:
    tested = math.isfinite(row["p_corrected"])
    goes = tested and row["p_corrected"] <= level
    # An F test has two numbers of degrees of freedom; a table may know the first alone.
    both = [df for df in (row["df"], row.get("df_error", math.nan)) if math.isfinite(df)]
    return TermRow(
        metric=metric_label(str(row["metric"])),
        term=" × ".join(TERMS.get(part, part.replace("_", " ")) for part in str(row["term"]).split(":")),
        verdict="goes with the score" if goes else "no dependence shown" if tested else "undefined",
        tone="shown" if goes else "open",
        statistic=_plain(row["statistic"], number(row["statistic"], 2)),
        df=_plain(row["df"], ", ".join(f"{df:.1f}".removesuffix(".0") for df in both)),
        p=_plain(row["p"], p_value(row["p"])),
        p_corrected=_plain(row["p_corrected"], p_value(row["p_corrected"])),
        images=f"{count(row['images'], 'image')}, {count(row['patients'], 'patient')}",
        note=without_folders(row["reason"] or ""),
    )


@dataclass(frozen=True)
class RepeatRow:
    """How far one measure repeats."""

    metric: str
    source: str
    repeats: str
    images: str
    icc: Cell
    note: str


def repeat_rows(contents: Contents) -> list[RepeatRow]:
    """Return the intraclass correlations of repeated scores."""
    return [
        RepeatRow(
            metric=metric_label(str(row["metric"])),
            source=SOURCES.get(str(row["source"]), str(row["source"])),
            repeats=f"{row['repeats']:.0f}",
            images=f"{row['images']:.0f}",
            icc=_estimated(row, "icc", "low", "high"),
            note=without_folders(row["reason"] or ""),
        )
        for row in contents.inference.reliability.to_dict("records")
    ]


def concordance_lines(contents: Contents) -> list[str]:
    """Say how far the measures of each family, and all together, agree on the order of the methods."""
    return [_concordance_line(row) for row in contents.inference.concordance.to_dict("records")]


def _concordance_line(row: Mapping[Any, Any]) -> str:
    family = "All measures" if row["family"] == "all" else f"Measures of {row['family']}"
    many = f"{count(row['metrics'], 'measure')}, {count(row['methods'], 'method')}"
    if not math.isfinite(row["kendall_w"]):
        return f"{family}: undefined ({many}), {without_folders(row['reason'] or 'no value was computed')}."
    tested = f", {equation(row['p'])}" if math.isfinite(row["p"]) else ""
    return f"{family}: Kendall's W {number(row['kendall_w'], 2)}{tested} ({many})."


def controls_of(table: pd.DataFrame) -> Iterable[str]:
    """Return the controls that methods were compared with, random maps first."""
    names = list(dict.fromkeys(str(name) for name in table["control"]))
    return sorted(names, key=lambda name: name != RANDOM)
