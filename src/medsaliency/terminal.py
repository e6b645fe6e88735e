"""What commands print: tables and lines for a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from medsaliency.data.findings import Findings
    from medsaliency.study.store import Store

out = Console()
HEADLINES = ("evidence", "sic_webp", "sic_webp_published", "pointing_game", "lesion_auprc")
"""Measures of the table at the end of a study, where there are any of them."""
MOST_COLUMNS = 6
SHOWN_OF_HEADERS = {"modality": "modalities", "manufacturer": "manufacturers"}


def print_findings(findings: Findings) -> None:
    """Counts by class and split, sizes, and the closest near duplicates."""
    splits = sorted({name for by_split in findings.counts.values() for name in by_split})
    table = Table("class", *splits, title=f"{findings.dataset}: {findings.images:,} images")
    for name, by_split in findings.counts.items():
        table.add_row(name, *(str(by_split.get(part, 0)) for part in splits))
    out.print(table)
    if findings.height and findings.width:
        spread = " x ".join(f"{low:.0f}..{high:.0f} (median {mid:.0f})" for low, mid, high in _sides(findings))
        sides = "Depth x height x width" if findings.depth else "Height x width"
        out.print(f"{sides}: {spread} pixels, {findings.sizes} different", highlight=False, soft_wrap=True)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in findings.channels.items())
    out.print(f"Images: {kinds}; lesion masks: {findings.masks:,}", highlight=False)
    if findings.dicom is not None:
        parts = [f"{name}: {', '.join(findings.dicom.aspects[aspect])}" for aspect, name in SHOWN_OF_HEADERS.items()]
        out.print(f"DICOM headers: {findings.dicom.images:,}; {'; '.join(parts)}", highlight=False, soft_wrap=True)
    for line in _named(findings):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def print_problems(notes: Sequence[str], problems: Sequence[str]) -> None:
    """What is good to know, and what is to be mended."""
    for note in notes:
        out.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for problem in problems:
        out.print(f"problem: {problem}", highlight=False, markup=False, style="bold", soft_wrap=True)
    if not problems:
        out.print("No problems found.")


def _named(findings: Findings, most: int = 5) -> list[str]:
    """The first few images behind each kind of finding; ``--output`` gives them all."""
    pairs = {
        "identical": (*findings.duplicates_across.closest, *findings.duplicates_within.closest),
        "identical, other label": findings.conflicting.closest,
        "near duplicates": findings.near_duplicates.closest,
        "one patient": findings.straddling,
    }
    singles = {"unreadable": findings.unreadable, "bad mask": findings.bad_masks, "clipped": findings.clipped}
    return [
        *(f"{kind}: {i.sample}: {i.reason}" for kind, issues in singles.items() for i in issues[:most]),
        *(f"single value: {name}" for name in findings.constant[:most]),
        *(
            f"{kind}: {p.first} ({p.first_split}), {p.second} ({p.second_split})"
            for kind, found in pairs.items()
            for p in found[:most]
        ),
    ]


def _sides(findings: Findings) -> list[tuple[float, float, float]]:
    return [side for side in (findings.depth, findings.height, findings.width) if side is not None]


def print_end(store: Store) -> None:
    """Say in a few lines how the study went and where its report is."""
    from medsaliency.report.wording import method_label

    print_accuracy(store.read_json("statistics/performance.json"))
    summary = store.read_table("statistics/summary.parquet")
    means = summary[summary["images"] > 0].pivot(index="method", columns="metric", values="mean")
    every = [name for name in summary["metric"].unique() if name in means]
    measures = [name for name in HEADLINES if name in every] or every
    measures = measures[:MOST_COLUMNS]
    columns = [Column(name.replace("_", "\n", 2), justify="right", no_wrap=True) for name in measures]
    table = Table(Column("\n\nmean of", no_wrap=True), *columns, box=None, padding=(0, 1, 0, 0))  # fits 80 columns
    for method in summary["method"].unique():
        table.add_row(method_label(str(method)), *(f"{means.loc[method, name]:.3f}" for name in measures))
    out.print(table)
    if left := len(every) - len(measures):
        out.print(f"{left} more measures are in the report.")
    out.print(f"Report: {(store.path / 'report.html').resolve()}", soft_wrap=True)


def print_failures(store: Store) -> bool:
    """Say what failed in a study, and whether anything did."""
    failures = store.read_table("failures.parquet")
    for (kind, name, method), own in failures.groupby(["kind", "name", "method"], sort=False):
        what = " ".join(part for part in (str(kind), str(name)) if part)
        of = f" of {method}" if method not in ("", name) else ""
        images = "1 image" if len(own) == 1 else f"{len(own)} images"
        first = own["reason"].iloc[0]
        out.print(f"failed: {what}{of} for {images}: {first}", highlight=False, markup=False, soft_wrap=True)
    if len(failures):
        table = store.path / "failures.parquet"
        out.print(f"Every one is in {table}; run the study again to try them again.", highlight=False, soft_wrap=True)
    return bool(len(failures))


def print_accuracy(performance: Mapping[str, Any]) -> None:
    """One line of ``statistics/performance.json``."""
    accuracy = performance["accuracy"]
    bounds = [accuracy["low"], accuracy["high"]]
    known = all(bound is not None and not math.isnan(bound) for bound in bounds)
    interval = f"{performance['level']:.0%} interval {bounds[0]:.3f} to {bounds[1]:.3f}" if known else "no interval"
    out.print(f"Accuracy on {performance['images']} evaluation images: {accuracy['value']:.3f} ({interval})")


def print_agreement(kind: str, rows: pd.DataFrame, level: float) -> None:
    """The rows of one kind of pair; a method is named once."""
    from medsaliency.report.wording import count, estimate, method_label, number

    names = ("images", f"mean, {level:.0%} interval", "two\nimages")
    columns = [Column(name, justify="right", no_wrap=True) for name in names]
    pairs = count(int(rows["pairs"].iloc[0]), "pair of runs", "pairs of runs")
    out.print(f"{kind.capitalize()}, {pairs}", highlight=False)
    first = Column("method", overflow="fold")
    table = Table(first, "measure", *columns, "left out", box=None, padding=(0, 1, 0, 0))  # fits 80 columns
    for method, own in rows.groupby("method", sort=False):
        for place, row in enumerate(own.to_dict("records")):
            name = "" if place else method_label(str(method))
            mean = estimate(row["mean"], row["low"], row["high"])
            left = f"{row['left_out']}: {row['reason']}" if row["left_out"] else ""
            cells = (str(row["images"]), mean, number(row["between_images"]), left)
            table.add_row(name, row["measure"], *map(escape, cells))
    out.print(table)
