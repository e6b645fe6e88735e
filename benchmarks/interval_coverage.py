"""How often do the intervals hold the truth? Simulated studies whose true mean is known.

Patients have unequal numbers of images, images of one patient are alike, and values have the shapes that metrics give.
Every interval aims at 95 %. For each kind of study the table gives the share of intervals that hold the true mean: of
percentile intervals, of plain BCa, and of ``medsaliency.statistics.bootstrap.mean_limits``, which all studies use.

Run, some minutes on one core:

    python benchmarks/interval_coverage.py --json runs/interval_coverage.json --page docs/explanation/intervals.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, ndtri

from medsaliency.statistics.bootstrap import bca_limits, leave_one_out, mean_limits, patient_weights
from medsaliency.types import generator

Floats = NDArray[np.float64]
LEVEL, DRAWS = 0.95, 2000
BLOCK = 50
"""Simulated studies of the same patients: their values differ, the numbers of images and the draws do not."""
INTERVALS = {"percentile": "percentile", "bca": "plain BCa", "ours": "ours"}
BEGIN, END = "<!-- tables begin -->", "<!-- tables end -->"


@dataclass(frozen=True)
class Shape:
    """Values that an image may have, from standard normal ones; ``paired`` are differences of two methods."""

    name: str
    value: Callable[..., Floats]
    truth: float
    paired: bool = False
    tails: float = np.inf
    """Degrees of freedom of Student's t that the values are made of; infinite for normal ones."""


def _beta(a: float, b: float) -> Callable[[Floats], Floats]:
    grid = np.linspace(-8, 8, 4001)
    heights = stats.beta(a, b).ppf(ndtr(grid))
    return lambda normal: np.interp(normal, grid, heights)


def _hit(share: float) -> Callable[[Floats], Floats]:
    return lambda normal: (normal < ndtri(share)).astype(np.float64)


def _difference(one: Callable[[Floats], Floats], other: Callable[[Floats], Floats]) -> Callable[..., Floats]:
    return lambda first, second: one(first) - other(second)


SHAPES = (
    Shape("normal", np.asarray, 0.0),
    Shape("skewed, beta(1, 4)", _beta(1, 4), 1 / 5),
    Shape("near the ceiling, beta(6, 0.8)", _beta(6, 0.8), 6 / 6.8),
    Shape("hits, 80 %", _hit(0.8), 0.8),
    Shape("hits, 90 %", _hit(0.9), 0.9),
    Shape("difference, beta(1, 4) and (2, 4)", _difference(_beta(2, 4), _beta(1, 4)), 1 / 3 - 1 / 5, paired=True),
    Shape("difference of hits, 80 % and 60 %", _difference(_hit(0.8), _hit(0.6)), 0.2, paired=True),
    Shape("difference with heavy tails, t(3)", np.asarray, 0.0, tails=3.0),
)
SIZES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "one image": lambda _, patients: np.ones(patients, dtype=int),
    "unequal": lambda rng, patients: rng.geometric(1 / 3, patients),
    "very unequal": lambda rng, patients: np.ceil(rng.lognormal(0.7, 1.0, patients)).astype(int),
}
"""Images of each patient: geometric of mean 3, or the lognormal of median 2 rounded up."""


@dataclass(frozen=True)
class Cell:
    """One kind of study: its patients and how alike the images of one are (correlation before shaping)."""

    shape: str
    patients: int
    alike: float
    sizes: str = "unequal"
    stratified: bool = False
    """Two classes, the second of which shifts the normal values by one; every second patient."""


def cells(shapes: Sequence[Shape] = SHAPES) -> Iterator[Cell]:
    """The studies of the page."""
    for shape in shapes:
        for alike in (0.0, 0.4, 0.8):
            yield Cell(shape.name, 30, alike)
        for patients in (10, 20, 60):
            yield Cell(shape.name, patients, 0.4)
        yield Cell(shape.name, 30, 0.0, "one image")
        yield Cell(shape.name, 30, 0.4, "very unequal")
    yield Cell("normal", 30, 0.4, stratified=True)


def draw(cell: Cell, patient: NDArray[np.int64], rng: np.random.Generator, studies: int) -> Floats:
    """Values (n, studies) of the images of ``patient`` (n,)."""
    shape = next(shape for shape in SHAPES if shape.name == cell.shape)

    def alike() -> Floats:
        """Unit variance, a part of which a patient's images share."""
        size = ((cell.patients, studies), (len(patient), studies))
        own, each = (
            rng.standard_normal(s) if np.isinf(shape.tails) else rng.standard_t(shape.tails, s) * np.sqrt(1 / 3)
            for s in size
        )
        return np.asarray(np.sqrt(cell.alike) * own[patient] + np.sqrt(1 - cell.alike) * each)

    if not shape.paired:
        return shape.value(alike() + cell.stratified * (patient % 2)[:, None])
    image = alike()  # what makes an image easy for both methods
    return shape.value(*((image + alike()) / np.sqrt(2) for _ in range(2)))


def measure(cell: Cell, repetitions: int, seed: int) -> dict[str, Any]:
    """Coverage of each interval, its standard error, its mean width, and on which side ours misses."""
    truth = next(shape.truth for shape in SHAPES if shape.name == cell.shape)
    blocks: dict[str, list[Floats]] = {name: [] for name in INTERVALS}
    rng = generator(seed, *map(str, asdict(cell).values()))
    for _ in range(-(-repetitions // BLOCK)):
        patient = np.repeat(np.arange(cell.patients), SIZES[cell.sizes](rng, cell.patients))
        values = draw(cell, patient, rng, BLOCK)
        strata = patient % 2 if cell.stratified else None
        if cell.stratified:  # the truth is a mean of the two classes as they are in the sample
            truth = float((patient % 2).mean())
        found = intervals(values, patient, int(rng.integers(2**32)), strata)
        for name, (low, high) in found.items():
            blocks[name].append(np.stack([truth < low, truth > high, high - low, low == high], axis=1))
    result: dict[str, Any] = {**asdict(cell), "repetitions": len(blocks["ours"]) * BLOCK}
    for name, parts in blocks.items():
        table = np.stack(parts)  # (blocks, studies, 4)
        held = 1 - table[:, :, :2].sum(axis=2).mean(axis=1)
        below, above, width, none = table.mean(axis=(0, 1)).tolist()
        # Studies of a block share their patients, so that the error is taken between blocks.
        error = float(held.std(ddof=1) / np.sqrt(len(held))) if len(held) > 1 else float("nan")
        result[name] = {"coverage": float(held.mean()), "error": error, "width": width, "no_width": none}
        result[name] |= {"too_high": below, "too_low": above}
    return result


def intervals(
    values: Floats, patient: NDArray[np.int64], seed: int, strata: NDArray[np.int64] | None = None
) -> dict[str, tuple[Floats, Floats]]:
    """Limits of the mean of each column of ``values`` (n, k) from the same draws."""
    weights = patient_weights(patient, np.random.default_rng(seed), DRAWS, strata)
    left = leave_one_out(patient, strata)
    drawn, jackknife = (w @ values / w.sum(axis=1, keepdims=True) for w in (weights, left))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    ours = mean_limits(values, patient, np.random.default_rng(seed), draws=DRAWS, level=LEVEL, strata=strata)
    plain = bca_limits(values.mean(axis=0), drawn, jackknife, LEVEL, quantile=ndtri(1 - tail))
    return {"percentile": (low, high), "bca": plain, "ours": ours[1:]}


def tables(found: dict[str, Any]) -> str:
    """The page's tables: all intervals at 30 patients, ours by number of patients, and other studies."""
    rows = found["cells"]
    plain = [row for row in rows if row["sizes"] == "unequal" and not row["stratified"]]
    text = [
        f"{found['repetitions']:,} simulated studies a row, {DRAWS:,} draws each; shares in %, with standard errors.",
        *("", "### 30 patients of unequal size", ""),
        "| values | alike | percentile | plain BCa | ours | ours, truth below | above | no width | ours / percentile |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in (row for row in plain if row["patients"] == 30):
        sides = " | ".join(f"{100 * row['ours'][side]:.1f}" for side in ("too_high", "too_low", "no_width"))
        wider = row["ours"]["width"] / row["percentile"]["width"]
        held = " | ".join(_cell(row[name]) for name in INTERVALS)
        text.append(f"| {row['shape']} | {row['alike']:g} | {held} | {sides} | {wider:.2f} |")
    counts = sorted({row["patients"] for row in plain})
    text += ["", "### Ours, by the number of patients", ""]
    text += ["| values | " + " | ".join(f"{count} patients" for count in counts) + " |"]
    text += ["|---" + "|---:" * len(counts) + "|"]
    for name in dict.fromkeys(row["shape"] for row in plain):
        own = [row for row in plain if row["shape"] == name and row["alike"] == 0.4]
        own.sort(key=lambda row: row["patients"])
        text.append(f"| {name} | " + " | ".join(_cell(row["ours"]) + _no_width(row["ours"]) for row in own) + " |")
    text += ["", "### Other studies of 30 patients", ""]
    text += ["| values | images | percentile | plain BCa | ours | no width |", "|---|---|---:|---:|---:|---:|"]
    for row in (row for row in rows if row not in plain):
        name = "unequal, drawn within two classes" if row["stratified"] else row["sizes"]
        held = " | ".join(_cell(row[kind]) for kind in INTERVALS)
        text.append(f"| {row['shape']} | {name} | {held} | {100 * row['ours']['no_width']:.1f} |")
    return "\n".join(text)


def _cell(measured: dict[str, float]) -> str:
    return f"{100 * measured['coverage']:.1f} ± {100 * measured['error']:.1f}"


def _no_width(measured: dict[str, float]) -> str:
    return f" (no width: {100 * measured['no_width']:.1f})" if measured["no_width"] >= 0.0005 else ""


def write_page(found: dict[str, Any], page: Path) -> None:
    """Put the tables between their marks in a page, or into a new one."""
    old = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate every kind of study, write the numbers and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000, help="simulated studies a kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("runs/interval_coverage.json"))
    parser.add_argument("--page", type=Path, help="Markdown file to write the tables to")
    given = parser.parse_args(arguments)
    rows = []
    for cell in cells():
        rows.append(measure(cell, given.repetitions, given.seed))
        shown = " ".join(f"{name} {_cell(rows[-1][name])}" for name in INTERVALS)
        print(f"{cell}: {shown}", flush=True)
    found = {"repetitions": rows[0]["repetitions"], "seed": given.seed, "level": LEVEL, "cells": rows}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(found, indent=1) + "\n")
    if given.page:
        write_page(found, given.page)


if __name__ == "__main__":
    main()
