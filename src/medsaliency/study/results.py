"""From shards to tables, from tables to statistics, from both to the report's contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import pandas as pd

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
from medsaliency.study.config import Study, load_study
from medsaliency.study.explaining import AGAIN
from medsaliency.study.inference import read_inference, write_inference
from medsaliency.study.store import Store, plain
from medsaliency.types import Measure


def gather(store: Store, study: Study, samples: Sequence[str]) -> None:
    """Join the shards into the tables ``scores``, ``curves``, ``repeats``, ``draws`` and ``timings``.

    Rows are ordered by sample, method and metric, so that the tables do not depend on the size of a shard.
    """
    order = {
        "sample": {name: i for i, name in enumerate(samples)},
        "method": {name: i for i, name in enumerate(study.explain.methods)},
        "metric": {name: i for i, name in enumerate(measures_of(study))},
    }
    tables = {kind: _shards(store, kind) for kind in ("scores", "curves")}
    tables["scores"] = pd.concat([tables["scores"], _tuned(study, **tables)], ignore_index=True)
    for kind, table in tables.items():
        keys = pd.DataFrame({column: table[column].map(places) for column, places in order.items()})
        store.write_table(f"{kind}.parquet", table.loc[keys.sort_values(list(order)).index].reset_index(drop=True))
    again = {kind: _shards(store, kind) for kind in ("repeats", "draws")}
    scores = store.read_table("scores.parquet")
    first = scores[~scores["metric"].isin(_measures_of_checks(study)) & ~scores["metric"].str.endswith("_tuned")]
    for kind, first_rows in (("repeats", first), ("draws", first[first["method"] == RANDOM])):
        rows = pd.concat([first_rows.assign(time=0)[list(AGAIN)], again[kind]]) if len(again[kind]) else again[kind]
        store.write_table(f"{kind}.parquet", rows.rename(columns={"time": kind.removesuffix("s")}))
    total = {"images": ("images", "sum"), "seconds": ("seconds", "sum"), "peak_bytes": ("peak_bytes", "max")}
    timings = _shards(store, "timings").groupby(["kind", "name"], sort=False, as_index=False).agg(**total)
    store.write_table("timings.parquet", timings)


def write_statistics(store: Store) -> None:
    """Make the tables in ``statistics/`` from the scores and curves."""
    study = load_study(store.path / "study.yaml")
    scores, curves = store.read_table("scores.parquet"), store.read_table("curves.parquet")
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
    information = curves[curves["metric"].isin(of_information)].merge(common)
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


def _tuned(study: Study, scores: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``scores`` for overlaps at a threshold tuned on other patients; an overlap without a curve keeps why."""
    overlaps = scores[scores["metric"].isin(OVERLAPS)]
    images = overlaps.drop_duplicates("sample").set_index("sample")
    labels = dict(zip(images.index.astype(str), images["label"], strict=True))
    found = tuned_overlap(curves, labels, seed=study.seed)
    found["target"] = found["sample"].map(images["target"])
    undefined = overlaps[overlaps["value"].isna()]
    return pd.concat([found, undefined.assign(metric=undefined["metric"] + "_tuned")])[scores.columns]


def report_contents(store: Store, cases: int | None = None) -> Contents:
    """Collect what the report shows from the run folder, with so many cases at most or as many as the study asks."""
    study = load_study(store.path / "study.yaml")
    provenance = store.read_json("provenance.json")
    return Contents(
        title=study.name,
        config=_without_places(study.model_dump(mode="json")),
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
        inference=read_inference(store),
    )


def _shards(store: Store, kind: str) -> pd.DataFrame:
    names = sorted(path.name for path in (store.path / "shards").glob(f"*-{kind}.parquet"))
    parts = [store.read_table(f"shards/{name}") for name in names]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled or parts[:1], ignore_index=True)


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration for readers elsewhere: the last part of a path, not where it lay."""
    places = [(config["data"], "root"), (config["data"]["options"], "labels"), (config["model"], "checkpoint")]
    places += [(check, "checkpoint") for check in config["evaluate"]["checks"].values()]
    for section, key in places:
        if section.get(key) is not None:
            section[key] = PurePath(section[key]).name
    return config
