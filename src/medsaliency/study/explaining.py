"""One shard of a study: a few images explained by every method and scored by every metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsaliency.attribution import make_method, sharing
from medsaliency.data.dataset import Record
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.check import Check
from medsaliency.evaluation.metric import Scores
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.statistics.controls import RANDOM
from medsaliency.study.config import Study
from medsaliency.study.cost import measured
from medsaliency.study.estimate import Step
from medsaliency.study.permuted_labels import checks_of
from medsaliency.study.store import Store
from medsaliency.types import Generators, Sample, Score, generator

AGAIN = ("sample", "patient", "method", "metric", "time", "value")
"""Columns of what is scored again: the same map (``repeats``) or another random one (``draws``); scores have time 0."""


def select(records: Sequence[Record], images: int, seed: int) -> list[Record]:
    """Choose images to explain, the same number of each class as far as it has them, seeded by their ids.

    Returns:
        At most ``images`` records, ordered by id.
    """
    queues: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda r: generator(seed, r.id, "select").random()):
        queues.setdefault(record.label, []).append(record)
    chosen: list[Record] = []
    turn = 0
    while len(chosen) < min(images, len(records)):
        chosen += [queue[turn] for _, queue in sorted(queues.items()) if turn < len(queue)]
        turn += 1
    return sorted(chosen[:images], key=lambda record: record.id)


def steps_of_a_shard(study: Study) -> list[str]:
    """The names of what is done: every method once, every metric and check once a method, metrics again as asked."""
    methods = list(study.explain.methods)
    again = (study.evaluate.repeats - 1) * len(methods) + further_draws(study)
    return [
        *methods,
        *(name for name in (*study.evaluate.metrics, *study.evaluate.checks) for _ in methods),
        *(name for name in study.evaluate.metrics for _ in range(again)),
    ]


def further_draws(study: Study) -> int:
    """How many random maps an image are scored beside the one that is kept: none without the control ``random``."""
    return study.evaluate.random_draws - 1 if RANDOM in study.explain.methods else 0


def explain_shard(
    study: Study,
    classifier: Classifier,
    explained: Sequence[Sample],
    start: int,
    predictions: pd.DataFrame,
    store: Store,
) -> Iterator[Step]:
    """Explain, score and check the images from ``start`` on, as many as a batch holds; nothing if that was done before.

    Maps go into ``maps.zarr``; then scores, curves and seconds as one shard, whose presence says that it is done.

    Yields:
        Each of the :func:`steps_of_a_shard` when it is done.
    """
    name = f"shards/{start:06d}"
    if store.has(f"{name}-scores.parquet"):
        yield from (Step(step, fresh=False) for step in steps_of_a_shard(study))
        return
    shard = Shard(study, classifier, explained[start : start + study.explain.batch_size], predictions)
    parts = (shard.explain(), shard.score(), shard.check(checks_of(study, store)), shard.repeat(), shard.draw())
    for step in chain(*parts):
        yield Step(step)
    _keep_maps(store, explained, shard.samples, start, {name: part.numpy() for name, part in shard.maps.items()})
    table = pd.DataFrame(shard.rows)
    curves = table[table["x"].notna()][["sample", "patient", "method", "metric", "x", "y"]]
    store.write_table(f"{name}-curves.parquet", curves)
    store.write_table(f"{name}-timings.parquet", pd.DataFrame(shard.costs))
    store.write_table(f"{name}-repeats.parquet", pd.DataFrame(shard.repeats, columns=list(AGAIN)))
    store.write_table(f"{name}-draws.parquet", pd.DataFrame(shard.draws, columns=list(AGAIN)))
    store.write_table(f"{name}-scores.parquet", table.drop(columns=["x", "y"]))


class Shard:
    """The images of one shard, and what becomes of them. Each part yields the name of every step when it is done.

    Args:
        study: Its methods, metrics and seed.
        classifier: The model explained.
        samples: The images.
        predictions: Of all evaluation images, for their targets.
    """

    def __init__(
        self, study: Study, classifier: Classifier, samples: Sequence[Sample], predictions: pd.DataFrame
    ) -> None:
        self.study, self.samples = study, samples
        self.probe = Probe(
            classifier,
            torch.from_numpy(np.stack([s.image for s in samples])),
            targets_of(study, samples, predictions),
            [None if s.native_lesion is None else torch.from_numpy(s.native_lesion) for s in samples],
            geometries=[s.geometry for s in samples],
        )
        self.methods = {name: make_method(name, parameters) for name, parameters in study.explain.methods.items()}
        self.maps: dict[str, Tensor] = {}
        self.rows: list[dict[str, Any]] = []
        self.repeats: list[tuple[Any, ...]] = []
        self.draws: list[tuple[Any, ...]] = []
        self.costs: list[dict[str, Any]] = []

    def explain(self) -> Iterator[str]:
        """Make the maps of every method, (N, H, W) each, or of volumes (N, D, H, W)."""
        maps = {}
        for name, method in sharing(self.methods).items():
            with self._measured("method", name):
                maps[name] = method(self.probe, self._generators(name)).float().cpu()
            yield name
        self.maps = {name: maps[name] for name in self.methods}

    def score(self) -> Iterator[str]:
        """Score every map by every metric."""
        for name, parameters in self.study.evaluate.metrics.items():
            metric = make_metric(name, parameters)
            for method, saliency in self.maps.items():
                with self._measured("metric", name):
                    # The same stream for every method: all meet the same start pixels.
                    self._keep(method, metric(self.probe, saliency, self._generators(name)))
                yield name

    def check(self, checks: Mapping[str, Check]) -> Iterator[str]:
        """Check every method."""
        for name, check in checks.items():
            for method, saliency in self.maps.items():
                with self._measured("check", name):
                    again = partial(self._again, method)
                    self._keep(method, check(self.probe, again, saliency, self._generators(name)))
                yield name

    def repeat(self) -> Iterator[str]:
        """Score the same maps again, with other random choices of the metrics, as often as the study asks."""
        for name, parameters in self.study.evaluate.metrics.items():
            metric = make_metric(name, parameters)
            for time in range(1, self.study.evaluate.repeats):
                for method, saliency in self.maps.items():
                    with self._measured("repeat", name):
                        scores = metric(self.probe, saliency, self._generators(name, f"repeat {time}"))
                    self.repeats += self._again_rows(method, time, scores)
                    yield name

    def draw(self) -> Iterator[str]:
        """Score further random maps, with the choices of the metrics that all methods meet."""
        for time in range(1, 1 + further_draws(self.study)):
            saliency = self.methods[RANDOM](self.probe, self._generators(RANDOM, f"draw {time}")).float().cpu()
            for name, parameters in self.study.evaluate.metrics.items():
                with self._measured("draw", name):
                    scores = make_metric(name, parameters)(self.probe, saliency, self._generators(name))
                self.draws += self._again_rows(RANDOM, time, scores)
                yield name

    def _again_rows(self, method: str, time: int, scores: Scores) -> list[tuple[Any, ...]]:
        """Rows of :data:`AGAIN`."""
        return [
            (sample.id, sample.patient, method, measure, time, score.value)
            for measure, own in scores.items()
            for sample, score in zip(self.samples, own, strict=True)
        ]

    def _again(self, method: str, probe: Probe) -> Tensor:
        """The method's maps of a changed probe, with what it drew for the maps themselves."""
        return self.methods[method](probe, self._generators(method))

    def _generators(self, *use: str) -> Generators:
        return [generator(self.study.seed, sample.id, *use) for sample in self.samples]

    @contextmanager
    def _measured(self, kind: str, name: str) -> Iterator[None]:
        with measured(self.probe.classifier.device) as cost:
            yield
        self.costs.append({"kind": kind, "name": name, "images": len(self.samples), **asdict(cost)})

    def _keep(self, method: str, scores: Scores) -> None:
        targets = self.probe.targets.tolist()
        self.rows += [
            _row(sample, target, method, measure, score)
            for measure, own in scores.items()
            for sample, target, score in zip(self.samples, targets, own, strict=True)
        ]


def targets_of(study: Study, samples: Sequence[Sample], predictions: pd.DataFrame) -> list[Target]:
    """What a study explains of each image, as target objects."""
    rows = predictions.set_index("sample")
    probabilities = rows[[name for name in rows if str(name).startswith("p_")]]
    targets: list[Target] = []
    for sample in samples:
        by_label = study.explain.target == "label" and sample.label is not None
        index = int(sample.label if by_label else rows["predicted"][sample.id])  # type: ignore[arg-type]
        if study.explain.score == "contrast":
            others = probabilities.loc[sample.id].to_numpy(copy=True)
            others[index] = -1
            targets.append(Contrast(index, int(others.argmax())))
        else:
            targets.append(Logit(index) if study.explain.score == "logit" else Probability(index))
    return targets


def _row(sample: Sample, target: int, method: str, measure: str, score: Score) -> dict[str, Any]:
    return {
        "sample": sample.id,
        "patient": sample.patient,
        "label": sample.label,
        "target": target,
        "method": method,
        "metric": measure,
        "value": score.value,
        "reason": score.reason,
        "x": list(score.curve.x) if score.curve else None,
        "y": list(score.curve.y) if score.curve else None,
    }


def _keep_maps(
    store: Store, explained: Sequence[Sample], samples: Sequence[Sample], start: int, maps: dict[str, np.ndarray]
) -> None:
    """Put a shard's images (or volumes), lesions and maps at their place in ``maps.zarr``, one chunk an image."""
    group = store.maps("a")
    shape = explained[0].image.shape[1:]
    count = len(explained)
    group.attrs["samples"] = [sample.id for sample in explained]
    parts = {
        "image": np.stack([s.image for s in samples]),
        "lesion": np.stack([np.zeros(shape, bool) if s.lesion is None else s.lesion for s in samples]),
        "has_lesion": np.array([s.lesion is not None for s in samples]),
        **{f"maps/{name}": part for name, part in maps.items()},
    }
    for name, part in parts.items():
        array = group.require_array(
            name, shape=(count, *part.shape[1:]), chunks=(1, *part.shape[1:]), dtype=part.dtype, exact=True
        )
        array[start : start + len(samples)] = part
