"""Finished runs that are put side by side: what is read of each, and what two of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pandas as pd

from medsaliency.attribution import CONTROLS
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.statistics.trust import combine
from medsaliency.study.config import Study, saved_study
from medsaliency.study.results import measures_of
from medsaliency.study.store import Store
from medsaliency.types import Measure, MedsaliencyError

HEADLINES = ("evidence", "sic_webp", "lesion_auprc", "pointing_game")
"""Measures read first."""
NEEDED = ("performance.json", "summary.parquet", "trust.parquet")
"""What is read of ``statistics/``."""
SAME_WHATEVER: dict[str, Any] = {"name": True, "device": True, "report": True, "data": {"root"}}
"""Parts of a configuration that change no number."""
TOLD: dict[str, Any] = {
    **SAME_WHATEVER,
    "seed": True,
    "data": {"root", "source", "size", "channels"},
    "model": {"architecture", "checkpoint"},
    "training": {"seed"},
    "explain": {"methods", "images", "batch_size", "tune", "micro_batch", "memory_format"},
    "evaluate": {"metrics", "checks"},
}
"""These, and what is told as a fact of each run or as a setting of a method, metric or check."""
UNSET = "not set"
OF_SCORES = ("target", "score")
"""Fields of ``explain`` that decide what all scores are of."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is compared of a finished run.

    Args:
        path: Its folder.
        study: Its configuration.
        provenance: What its numbers rest on.
        scores: Of its metrics and checks.
        predictions: Of all evaluation images.
        summary: Means of methods with their intervals.
        performance: Of its model.
        card: Its trust card: one verdict a method and criterion.
        measures: What its metrics mean.
        settings: The parameters behind each method, metric and check, by kind and name.
        origins: The kind and name that each measure comes from.
    """

    path: Path
    study: Study
    provenance: Mapping[str, Any]
    scores: pd.DataFrame
    predictions: pd.DataFrame
    summary: pd.DataFrame
    performance: Mapping[str, Any]
    card: pd.DataFrame
    measures: Mapping[str, Measure]
    settings: Mapping[tuple[str, str], Mapping[str, Any]]
    origins: Mapping[str, tuple[str, str]]

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open the folder of a finished study.

        Raises:
            MedsaliencyError: If it is none, or lacks its statistics.
        """
        store = Store.open(path)
        for name in NEEDED:
            if not store.has(f"statistics/{name}"):
                raise MedsaliencyError(
                    f"{path}: expected the statistics of a finished study, statistics/{name} is missing; run "
                    f"`medsaliency report {path}`"
                )
        study = saved_study(path)
        trust = store.read_table("statistics/trust.parquet")
        measures = measures_of(study)
        origins = _origins(study)
        return cls(
            path,
            study,
            store.read_json("provenance.json"),
            store.read_table("scores.parquet"),
            store.read_table("predictions.parquet"),
            store.read_table("statistics/summary.parquet"),
            store.read_json("statistics/performance.json"),
            trust.groupby(["method", "criterion"], sort=False)["verdict"].agg(combine).reset_index(),
            measures,
            _settings(study),
            {name: origins.get(name) or origins[name.removesuffix("_tuned")] for name in measures},
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes a run's numbers: two with the same are the same run."""
        decided = self.study.model_dump_json(exclude=SAME_WHATEVER)
        return self.provenance["model"]["weights"], self.provenance["data"]["fingerprint"], decided

    @property
    def classes(self) -> list[str]:
        """Names, in the order of the model's outputs."""
        return list(self.provenance["data"]["classes"])

    @property
    def images(self) -> pd.DataFrame:
        """Patient and explained class (target) of the explained images, by their ids."""
        return self.scores.drop_duplicates("sample").set_index("sample")[["patient", "target"]]


def _origins(study: Study) -> dict[str, tuple[str, str]]:
    made: list[tuple[str, str, Any]] = [
        *(("metric", name, make_metric(name, given)) for name, given in study.evaluate.metrics.items()),
        *(("check", name, make_check(name, given)) for name, given in study.evaluate.checks.items()),
    ]
    return {measure.name: (kind, name) for kind, name, own in made for measure in own.measures}


def _settings(study: Study) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Parameters by kind and name; where a checkpoint lies is none of them."""
    sections = {"method": study.explain.methods, "metric": study.evaluate.metrics, "check": study.evaluate.checks}
    return {
        (kind, name): {key: value for key, value in given.items() if key != "checkpoint"}
        for kind, section in sections.items()
        for name, given in section.items()
    }


def open_runs(paths: Sequence[Path]) -> dict[str, Run]:
    """Open the folders of finished runs and give each its letter.

    Raises:
        MedsaliencyError: If there are fewer than two or too many, one is not finished, two are the same run, or they
            have no method or no measure in common.
    """
    if not 2 <= len(paths) <= len(ascii_uppercase):
        raise MedsaliencyError(
            f"expected two to {len(ascii_uppercase)} runs, got {len(paths)}; name the folders of finished runs"
        )
    runs = dict(zip(ascii_uppercase, map(Run.open, paths), strict=False))
    for one, other in combinations(runs.values(), 2):
        if one.identity == other.identity:
            raise MedsaliencyError(
                f"{other.path}: expected another run than {one.path}, got the same weights, data, seed and "
                "configuration; name a run of another model or of other data"
            )
    for kind, common in (("method", shared_methods(runs)), ("measure", shared_measures(runs))):
        if not common:
            raise MedsaliencyError(
                f"{', '.join(str(run.path) for run in runs.values())}: expected at least one {kind} in common, got "
                "none; run the studies with the same explain.methods and evaluate.metrics"
            )
    return runs


def shared_methods(runs: Mapping[str, Run]) -> list[str]:
    """Methods that every run has, in the order of the first; controls come last."""
    first, *others = (run.study.explain.methods for run in runs.values())
    return sorted((name for name in first if all(name in own for own in others)), key=lambda name: name in CONTROLS)


def shared_measures(runs: Mapping[str, Run]) -> list[str]:
    """Measures that every run has, those read first in front."""
    first, *others = (run.measures for run in runs.values())
    common = [name for name in first if all(name in own for own in others)]
    return [name for name in HEADLINES if name in common] + [name for name in common if name not in HEADLINES]


def why_other_images(one: Run, other: Run) -> str:
    """Why two runs are not of the same images; empty where they are.

    Ids, labels, patients and splits must be the same. So must be the pixels, where both put the same images on a grid
    of the same size; otherwise the source and its options must be, which say what an id stands for.
    """
    if one.classes != other.classes:
        return "other classes"
    data = [run.provenance["data"] for run in (one, other)]
    if data[0]["fingerprint"] != data[1]["fingerprint"]:
        return "other images, labels, patients or splits"
    grids = [_grid(run) for run in (one, other)]
    if grids[0] == grids[1]:
        same = data[0]["images_sha256"] == data[1]["images_sha256"]
    else:
        same = (one.study.data.source, one.study.data.options) == (other.study.data.source, other.study.data.options)
    return "" if same else "images of the same names, but not the same images"


def _grid(run: Run) -> tuple[object, ...]:
    """What decides how an image of an id reaches the model."""
    data = run.study.data
    return data.size, data.fit, data.channels, frozenset(run.images.index)


def why_other_meaning(one: Run, other: Run, metric: str, method: str) -> str:
    """Which settings keep the scores of a method from meaning the same in two runs; empty where none does."""
    parts = [
        f"explain.{name}"
        for name in OF_SCORES
        if getattr(one.study.explain, name) != getattr(other.study.explain, name)
    ]
    for kind, name in (("method", method), one.origins[metric]):
        if one.settings[kind, name] != other.settings.get((kind, name)):
            parts.append(f"the {kind}")
    return f"other settings of {' and of '.join(parts)}" if parts else ""


def differing_settings(runs: Mapping[str, Run]) -> Iterator[tuple[str, str, str, str, str]]:
    """Settings that differ and change numbers, a row a run: kind, name, setting, run, value.

    Those of methods, metrics and checks are told for the runs that have them, where at least two do.
    """
    flat = {letter: dict(_flat(run.study.model_dump(mode="json", exclude=TOLD))) for letter, run in runs.items()}
    for setting in dict.fromkeys(key for own in flat.values() for key in own):
        yield from _differing("study", "", setting, {letter: own.get(setting, UNSET) for letter, own in flat.items()})
    for kind, name in dict.fromkeys(key for run in runs.values() for key in run.settings):
        having = {
            letter: dict(_flat(run.settings[kind, name]))
            for letter, run in runs.items()
            if (kind, name) in run.settings
        }
        for setting in dict.fromkeys(key for own in having.values() for key in own):
            yield from _differing(
                kind, name, setting, {letter: own.get(setting, UNSET) for letter, own in having.items()}
            )


def _differing(
    kind: str, name: str, setting: str, values: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str, str]]:
    written = {letter: "none" if value is None else str(value) for letter, value in values.items()}
    if len(set(written.values())) > 1:
        yield from ((kind, name, setting, letter, value) for letter, value in written.items())


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
