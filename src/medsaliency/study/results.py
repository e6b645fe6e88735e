"""From shards to tables, from tables to statistics, from both to the report's contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medsaliency.attribution import CONTROLS, make_method
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.report.contents import Contents
from medsaliency.report.verdicts import BLURRED
from medsaliency.statistics.comparison import common_images, exclusions, summarize
from medsaliency.statistics.controls import RANDOM
from medsaliency.statistics.curves import aggregate
from medsaliency.statistics.performance import performance
from medsaliency.statistics.tuned_overlap import OVERLAPS, tuned_overlap
from medsaliency.study.cases import cases_of
from medsaliency.study.config import Study, saved_study
from medsaliency.study.failures import Failure, as_rows, failure_table
from medsaliency.study.inference import read_inference, write_inference
from medsaliency.study.ledger import Plan
from medsaliency.study.shards import tables_of
from medsaliency.study.store import Store, beside, plain
from medsaliency.types import Measure

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("sample", "patient")),
        *((name, pa.int64()) for name in ("label", "target", "repeat", "draw")),
        *((name, pa.string()) for name in ("method", "metric")),
        ("value", pa.float64()),
        ("reason", pa.string()),
        *((name, pa.list_(pa.float64())) for name in ("x", "y")),
    ]
)
"""Columns of the tables that are joined; each has some of them, in this order."""
TIMINGS = ["kind", "name", "images", "seconds", "peak_bytes"]
"""Columns of what methods, metrics and checks took."""
ROW_GROUP = 2**22
"""Bytes of a table that are written at a time: a row group of each shard would cost memory wherever it is read."""
FIELDS = {
    "scores": ("sample", "patient", "label", "target", "method", "metric", "value", "reason"),
    "curves": ("sample", "patient", "method", "metric", "x", "y"),
    "repeats": ("sample", "patient", "repeat", "method", "metric", "value"),
    "draws": ("sample", "patient", "draw", "method", "metric", "value"),
}


def gather(store: Store, study: Study, plan: Plan) -> list[Failure]:
    """Join the shards into the tables ``scores``, ``curves``, ``repeats``, ``draws`` and ``timings``.

    Rows are ordered by sample, method and metric, so that the tables do not depend on the size of a shard, nor on the
    order in which they were done. They are read and written shard by shard.

    Returns:
        What failed in the shards.
    """
    failures: list[Failure] = []
    order = {
        "method": {name: i for i, name in enumerate(study.explain.methods)},
        "metric": {name: i for i, name in enumerate(measures_of(study))},
    }
    checks = set(_measures_of_checks(study))

    def first(scores: pd.DataFrame) -> pd.DataFrame:
        """The scores that were given again."""
        return scores[~scores["metric"].isin(checks) & ~scores["metric"].str.endswith("_tuned")]

    with ExitStack() as stack:
        writers = {kind: stack.enter_context(_writer(store, kind)) for kind in FIELDS}
        # Asked of all shards at once, and so only where there is something to be tuned.
        tuned = _by_shard(_tuned(store, study, plan), plan) if set(OVERLAPS) & set(order["metric"]) else {}
        timings: dict[tuple[str, str], list[float]] = {}
        for number, parts in enumerate(tables_of(store, plan, *FIELDS, "timings", "failures")):
            scores, curves, repeats, draws, took, failed = parts
            for kind, name, images, seconds, peak in took[TIMINGS].itertuples(index=False, name=None):
                total = timings.setdefault((kind, name), [0, 0.0, float("nan")])
                known = float("nan") if peak is None else peak  # where the system does not tell
                total[:] = total[0] + images, total[1] + seconds, np.fmax(total[2], known)
            failures += as_rows(failed)
            own = [table for table in (scores, tuned.get(number)) if table is not None and len(table)]
            scores = pd.concat(own, ignore_index=True) if own else scores
            # Of this shard's images alone: a place for every image of the study would be looked up in each shard.
            own_order = {"sample": {name: i for i, name in enumerate(plan.samples[number])}, **order}
            joined = {"scores": _ordered(scores, own_order), "curves": _ordered(curves, own_order)}
            again = first(joined["scores"])
            joined["repeats"] = _again(again, repeats, "repeat")
            joined["draws"] = _again(again[again["method"] == RANDOM], draws, "draw")
            for kind, table in joined.items():
                writers[kind](table)
    rows = [
        (*named, int(images), seconds, peak if np.isnan(peak) else int(peak))
        for named, (images, seconds, peak) in timings.items()
    ]
    store.write_table("timings.parquet", pd.DataFrame(rows, columns=TIMINGS))
    return failures


@contextmanager
def _writer(store: Store, kind: str) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write a table part by part, many in one row group; it appears whole, or not at all."""
    schema = pa.schema([SCHEMA.field(name) for name in FIELDS[kind]])
    kept: list[pa.Table] = []
    held = 0
    with beside(store.path / f"{kind}.parquet") as new, pq.ParquetWriter(new, schema) as writer:

        def flush() -> None:
            nonlocal held
            if kept:
                writer.write_table(pa.concat_tables(kept))
            kept.clear()
            held = 0

        def write(table: pd.DataFrame) -> None:
            nonlocal held
            if len(table):
                kept.append(pa.Table.from_pandas(table[list(FIELDS[kind])], schema, preserve_index=False))
                held += kept[-1].nbytes
            if held >= ROW_GROUP:
                flush()

        yield write
        flush()


def _ordered(table: pd.DataFrame, order: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    if not len(table):
        return table
    keys = pd.DataFrame({column: table[column].map(places) for column, places in order.items()})
    return table.loc[keys.sort_values(list(order), kind="stable").index].reset_index(drop=True)


def _again(first: pd.DataFrame, again: pd.DataFrame, name: str) -> pd.DataFrame:
    """What was scored again, after the scores themselves, which have number 0; nothing where nothing was."""
    if not len(again):
        return pd.DataFrame(columns=[*again.columns, name])
    return pd.concat([first.assign(**{name: 0}), again.rename(columns={"time": name})], ignore_index=True)


def _by_shard(table: pd.DataFrame, plan: Plan) -> dict[int, pd.DataFrame]:
    shard = {name: number for number, part in enumerate(plan.samples) for name in part}
    return {int(number): rows for number, rows in table.groupby(table["sample"].map(shard))}


def write_statistics(store: Store) -> None:
    """Make the tables in ``statistics/`` from the scores and curves."""
    study = saved_study(store.path)
    scores = store.read_table("scores.parquet")
    classes = store.read_json("provenance.json")["data"]["classes"]
    store.write_json("statistics/performance.json", measure(study, store.read_table("predictions.parquet"), classes))
    how: dict[str, Any] = {
        "seed": study.seed,
        "draws": study.statistics.draws,
        "level": study.statistics.level,
        "stratified": study.statistics.stratified,
    }
    store.write_table("statistics/summary.parquet", summarize(scores, **how))
    write_inference(store, study, scores, measures_of(study), blurred_method(study))
    store.write_table("statistics/exclusions.parquet", exclusions(scores))
    common = common_images(scores)[["sample", "method", "metric", "label"]]
    known = measures_of(study)
    of_information = [name for name, measure in known.items() if measure.family == "information"]
    # An empty list has no type, and could not be compared with names.
    information = store.read_table("curves.parquet", [("metric", "in", of_information or [""])]).merge(common)
    store.write_table("statistics/curves.parquet", aggregate(information, **how))


def blurred_method(study: Study) -> str | None:
    """The method whose very maps the control ``blurred`` blurs; None where the study has no such pair."""
    methods = study.explain.methods
    if BLURRED not in methods or methods[BLURRED]["of"] not in methods:
        return None
    source = str(methods[BLURRED]["of"])
    shown, blurred = methods[source], methods[BLURRED]["parameters"]
    own, other = (plain(vars(make_method(source, given))) for given in (shown, blurred))
    return source if own == other else None


def measure(study: Study, predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """The model's performance, with the study's bootstrap."""
    how = study.statistics
    return performance(
        predictions, classes, seed=study.seed, draws=how.draws, level=how.level, stratified=how.stratified
    )


def measures_of(study: Study) -> dict[str, Measure]:
    """Every measure of the study's metrics and checks by name, in order."""
    found = {}
    for name, parameters in study.evaluate.metrics.items():
        for measure in make_metric(name, parameters).measures:
            found[measure.name] = measure
            if measure.name in OVERLAPS:
                tuned = f"{measure.name}_tuned"
                text = f"{measure.name} at a threshold tuned on other patients"
                found[tuned] = replace(measure, name=tuned, description=text)
    return {**found, **_measures_of_checks(study)}


def _measures_of_checks(study: Study) -> dict[str, Measure]:
    checks = [make_check(name, parameters) for name, parameters in study.evaluate.checks.items()]
    return {measure.name: measure for check in checks for measure in check.measures}


def _tuned(store: Store, study: Study, plan: Plan) -> pd.DataFrame:
    """Rows of ``scores`` for overlaps at a threshold tuned on other patients; an overlap without a curve keeps why."""

    def of_overlaps(kind: str) -> pd.DataFrame:
        parts = [table[table["metric"].isin(OVERLAPS)] for (table,) in tables_of(store, plan, kind)]
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    overlaps = of_overlaps("scores")
    if not len(overlaps):
        return overlaps
    images = overlaps.drop_duplicates("sample").set_index("sample")
    labels = dict(zip(images.index.astype(str), images["label"], strict=True))
    found = tuned_overlap(of_overlaps("curves"), labels, seed=study.seed)
    found["target"] = found["sample"].map(images["target"])
    undefined = overlaps[overlaps["value"].isna()]
    return pd.concat([found, undefined.assign(metric=undefined["metric"] + "_tuned")])[overlaps.columns]


def report_contents(store: Store, cases: int | None = None) -> Contents:
    """Collect what the report shows from the run folder, with so many cases at most or as many as the study asks."""
    study = saved_study(store.path)
    provenance = store.read_json("provenance.json")
    return Contents(
        title=study.name,
        config=without_places(study.model_dump(mode="json")),
        provenance=provenance,
        classes=tuple(provenance["data"]["classes"]),
        measures=measures_of(study),
        controls=CONTROLS & set(study.explain.methods),
        performance=store.read_json("statistics/performance.json"),
        scores=store.read_table("scores.parquet"),
        summary=store.read_table("statistics/summary.parquet"),
        exclusions=store.read_table("statistics/exclusions.parquet"),
        curves=store.read_table("statistics/curves.parquet"),
        seconds=store.read_table("timings.parquet"),
        cases=cases_of(store, study, study.report.cases if cases is None else cases),
        failures=_failures(store),
        inference=read_inference(store),
    )


def _failures(store: Store) -> pd.DataFrame:
    """What failed, and for how many images; reasons stay in the run's folder, since they can name files."""
    table = store.read_table("failures.parquet") if store.has("failures.parquet") else failure_table([])
    keys = ["stage", "kind", "name", "method"]
    return table.groupby(keys, sort=False)["sample"].nunique().rename("images").reset_index()


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration for readers elsewhere: the last part of a path, not where it lay."""
    places = [(config["data"], "root"), (config["data"]["options"], "labels"), (config["model"], "checkpoint")]
    places += [(check, "checkpoint") for check in config["evaluate"]["checks"].values()]
    for section, key in places:
        if section.get(key) is not None:
            section[key] = PurePath(section[key]).name
    return config
