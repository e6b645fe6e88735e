"""Finished runs side by side, of the same data or of others, by the same model or by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pandas as pd

from medsaliency.attribution import CONTROLS
from medsaliency.report.comparison import ACCURACY, COLUMNS, Comparison, records, render
from medsaliency.report.spreadsheet import csv_text
from medsaliency.report.wording import count
from medsaliency.statistics.between_runs import independent_difference, paired_differences, ranking_agreement
from medsaliency.study.finished_runs import (
    HEADLINES,
    Run,
    differing_settings,
    open_runs,
    shared_measures,
    shared_methods,
    why_other_images,
    why_other_meaning,
)
from medsaliency.study.store import write_text
from medsaliency.types import MedsaliencyError

DIGITS = 12
"""Of a hash, which tell two things apart for a reader."""


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Put finished runs side by side.

    Runs of the same images are compared image by image and tested. The first run's ``seed`` and ``statistics`` say how.

    Raises:
        MedsaliencyError: See :func:`~medsaliency.study.finished_runs.open_runs`.
    """
    runs = open_runs(paths)
    methods, measures = shared_methods(runs), shared_measures(runs)
    first = next(iter(runs.values()))
    how = first.study.statistics
    bootstrap: dict[str, Any] = {"seed": first.study.seed, "draws": how.draws, "level": how.level}
    tested = {**bootstrap, "permutations": how.permutations, "alpha": how.alpha, "power": how.power}
    means = _means(runs, methods, measures)
    pairs = _table("pairs", [_pair(*pair) for pair in combinations(runs.items(), 2)])
    return Comparison(
        runs={letter: run.study.name for letter, run in runs.items()},
        facts=_facts(runs),
        left_out=_left_out(runs, methods, measures),
        settings=_table("settings", list(differing_settings(runs))),
        pairs=pairs,
        performance={letter: run.performance for letter, run in runs.items()},
        means=means,
        differences=_differences(runs, pairs, means, list(product(measures, methods)), tested),
        rankings=_rankings(runs, pairs, [name for name in methods if name not in CONTROLS], measures, bootstrap),
        trust=pd.concat([run.card.assign(run=letter) for letter, run in runs.items()])[COLUMNS["trust"].split()],
        measures={name: first.measures[name] for name in measures},
        headlines=[name for name in measures if name in HEADLINES] or measures[:1],
        controls=CONTROLS & set(methods),
        primary={letter: run.study.thresholds.measure for letter, run in runs.items()},
        statistics={"level": how.level, "alpha": how.alpha, "draws": how.draws, "permutations": how.permutations},
    )


def write_comparison(comparison: Comparison, page: Path) -> tuple[Path, Path]:
    """Write the page, and beside it a CSV file with a row for every pair of runs, measure and method.

    Returns:
        Both files.

    Raises:
        MedsaliencyError: If ``page`` is a folder or is called ``.csv``.
    """
    table = page.with_suffix(".csv")
    if page.is_dir() or page == table:
        raise MedsaliencyError(f"{page}: expected the name of an HTML file; choose another --output")
    write_text(page, render(comparison))
    write_text(table, csv_text(as_table(comparison)))
    return page, table


def as_table(comparison: Comparison) -> pd.DataFrame:
    """The rows of ``differences`` with the names of both runs and the mean of each."""
    table, means = comparison.differences, _with_accuracy(comparison.means, comparison.performance)
    for side in ("run", "other"):
        names = {"run": side, **{column: f"{side}_{column}" for column in ("mean", "low", "high")}}
        own = means.drop(columns="images").rename(columns=names)
        table = table.merge(own, how="left", on=[side, "metric", "method"])
    named = {letter: f"{letter}: {name}" for letter, name in comparison.runs.items()}
    return table.assign(run=table["run"].map(named), other=table["other"].map(named))


def _table(name: str, rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS[name].split())


def _pair(one: tuple[str, Run], other: tuple[str, Run]) -> tuple[object, ...]:
    reason = why_other_images(one[1], other[1])
    both = one[1].images.join(other[1].images["target"].rename("of_other"), how="inner")
    if reason:
        both = both[:0]
    elif both.empty:
        reason = "no explained image is in both"
    moved = int((both["target"] != both["of_other"]).sum())
    return one[0], other[0], reason, len(both), both["patient"].nunique(), moved


def _facts(runs: Mapping[str, Run]) -> pd.DataFrame:
    """What a reader must know of each run, a row a fact and run."""
    told: dict[str, Callable[[Run], object]] = {
        "Data": lambda run: run.provenance["data"]["name"],
        "Classes": lambda run: ", ".join(run.classes),
        "Evaluation images": lambda run: sum(run.provenance["data"]["counts"]["evaluation"].values()),
        "Explained images": lambda run: len(run.images),
        "Data fingerprint": lambda run: run.provenance["data"]["fingerprint"][:DIGITS],
        "Image size": lambda run: f"{run.study.data.size} pixels a side, {count(run.study.data.channels, 'channel')}",
        "Model": lambda run: run.provenance["model"]["architecture"],
        "Weights": lambda run: run.provenance["model"]["weights"][:DIGITS],
        "Training seed": _training_seed,
        "Study seed": lambda run: run.study.seed,
        "Software": lambda run: f"medsaliency {run.provenance['medsaliency']}, code {run.provenance['code'][:DIGITS]}",
    }
    return _table(
        "facts", [(fact, letter, str(tell(run))) for fact, tell in told.items() for letter, run in runs.items()]
    )


def _training_seed(run: Run) -> object:
    training = run.provenance["training"]
    return training["seed"] if isinstance(training, Mapping) else training


def _left_out(runs: Mapping[str, Run], methods: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """What not every run has, and which runs do."""
    rows = []
    for kind, common, owned in (
        ("method", methods, {letter: list(run.study.explain.methods) for letter, run in runs.items()}),
        ("measure", measures, {letter: list(run.measures) for letter, run in runs.items()}),
    ):
        for name in dict.fromkeys(name for own in owned.values() for name in own):
            if name not in common:
                rows.append((kind, name, ", ".join(letter for letter, own in owned.items() if name in own)))
    return _table("left_out", rows)


def _means(runs: Mapping[str, Run], methods: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Of the runs' own summaries, so that they are the numbers of their reports."""
    parts = []
    for letter, run in runs.items():
        own = run.summary.set_index(["metric", "method"]).reindex(pd.MultiIndex.from_product([measures, methods]))
        own.index.names = ["metric", "method"]
        parts.append(own.reset_index().assign(run=letter, images=own["images"].fillna(0).astype(int).to_numpy()))
    return pd.concat(parts, ignore_index=True)[COLUMNS["means"].split()]


def _with_accuracy(means: pd.DataFrame, performance: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The means with a row of accuracy for each run."""
    rows = [
        (letter, "", ACCURACY, own["images"], *(own["accuracy"][key] for key in ("value", "low", "high")))
        for letter, own in performance.items()
    ]
    return pd.concat([_table("means", rows).astype(means.dtypes.to_dict()), means], ignore_index=True)


def _differences(
    runs: Mapping[str, Run],
    pairs: pd.DataFrame,
    means: pd.DataFrame,
    cells: Sequence[tuple[str, str]],
    tested: Mapping[str, Any],
) -> pd.DataFrame:
    """Every two runs on accuracy and on each measure x method: tested where the images and settings are the same."""
    both = [(row["run"], row["other"]) for row in records(pairs)]
    why = [_reasons(runs[row["run"]], runs[row["other"]], row["reason"], cells) for row in records(pairs)]
    compared = []
    for (run, other), reasons in zip(both, why, strict=True):
        wanted = {cell for cell, (images, meaning) in reasons.items() if not images and not meaning}
        compared.append((_scores(runs[run], wanted), _scores(runs[other], wanted)))
    estimates = _with_accuracy(means, {letter: run.performance for letter, run in runs.items()})
    each = {str(run): own.set_index(["metric", "method"]) for run, own in estimates.groupby("run")}
    parts = []
    for (run, other), reasons, found in zip(both, why, paired_differences(compared, **tested), strict=True):
        keys = pd.MultiIndex.from_tuples(list(reasons), names=["metric", "method"])
        own = found.set_index(["metric", "method"]).reindex(keys)
        own["paired"] = own["difference"].notna()
        own["verdict"] = own["verdict"].fillna("")
        own[["patients", "images"]] = own[["patients", "images"]].fillna(0).astype(int)
        # Other images but the same settings: the means may be compared, though not image by image.
        apart = [bool(images) and not meaning for images, meaning in reasons.values()]
        unpaired = independent_difference(each[run].loc[keys], each[other].loc[keys])
        own.loc[apart, list(unpaired)] = unpaired[apart]
        own["reason"] = [
            "" if paired else meaning or images or "no image has a value of all methods in both runs"
            for paired, (images, meaning) in zip(own["paired"], reasons.values(), strict=True)
        ]
        parts.append(own.reset_index().assign(run=run, other=other)[COLUMNS["differences"].split()])
    return pd.concat(parts, ignore_index=True)


def _reasons(
    one: Run, other: Run, of_explained: str, cells: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, str]]:
    """For accuracy and each measure x method: why the images, and why the meaning of the scores, are not the same."""
    reasons = {(ACCURACY, ""): (why_other_images(one, other), "")}
    return reasons | {cell: (of_explained, why_other_meaning(one, other, *cell)) for cell in cells}


def _scores(run: Run, wanted: set[tuple[str, str]]) -> pd.DataFrame:
    """The scores of the wanted measures x methods, and whether the model is right as one of them."""
    right = (run.predictions["label"] == run.predictions["predicted"]).astype(float)
    accuracy = run.predictions[["sample", "patient"]].assign(method="", metric=ACCURACY, value=right)
    table = pd.concat([accuracy, run.scores[["sample", "patient", "method", "metric", "value"]]])
    return table[[cell in wanted for cell in zip(table["metric"], table["method"], strict=True)]]


def _rankings(
    runs: Mapping[str, Run],
    pairs: pd.DataFrame,
    methods: Sequence[str],
    measures: Sequence[str],
    bootstrap: Mapping[str, Any],
) -> pd.DataFrame:
    """Every two runs on each measure; methods and measures with other settings are left out."""
    parts = []
    for row in records(pairs):
        one, other = runs[row["run"]], runs[row["other"]]
        wanted = {cell for cell in product(measures, methods) if not why_other_meaning(one, other, *cell)}
        found = ranking_agreement(_scores(one, wanted), _scores(other, wanted), paired=not row["reason"], **bootstrap)
        own = found.set_index("metric").reindex(pd.Index(measures, name="metric"))
        own["methods"] = own["methods"].fillna(0).astype(int)
        own["reason"] = own["reason"].fillna("the settings of the measure, or of what is explained, differ")
        parts.append(own.reset_index().assign(run=row["run"], other=row["other"])[COLUMNS["rankings"].split()])
    return pd.concat(parts, ignore_index=True)
