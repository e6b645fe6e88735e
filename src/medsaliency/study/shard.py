"""One shard of a study: a few images explained by every method and scored by every metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsaliency.attribution import make_method, sharing
from medsaliency.data.dataset import Record
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.check import Check
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Target
from medsaliency.study.cells import Cell
from medsaliency.study.config import Study
from medsaliency.study.cost import measured
from medsaliency.study.estimate import Step
from medsaliency.study.failures import NEVER_MADE, NOT_FINITE, Failure, reason_of
from medsaliency.study.maps import as_kept
from medsaliency.types import FloatArray, Generators, Measure, MedsaliencyError, Sample, Score, generator

T = TypeVar("T")
STAGE = "explaining and evaluating"
TABLES: dict[str, tuple[str, ...]] = {
    "scores": ("cell", "sample", "patient", "label", "target", "method", "metric", "value", "reason"),
    "curves": ("cell", "sample", "patient", "method", "metric", "x", "y"),
    "repeats": ("cell", "sample", "patient", "method", "metric", "time", "value"),
    "draws": ("cell", "sample", "patient", "method", "metric", "time", "value"),
    "timings": ("cell", "kind", "name", "images", "seconds", "peak_bytes"),
    "failures": ("cell", "stage", "sample", "kind", "name", "method", "reason"),
}
"""Columns of what a shard gives. ``repeats`` and ``draws`` are of what is scored again; scores have time 0."""


class Shard:
    """The images of one shard, and what becomes of them.

    What fails for the images together is tried again image by image, so that one image, or one method, takes nothing
    from the others: what could not be done stands as NaN with the reason.

    Args:
        study: Its methods, metrics and seed.
        classifier: The model explained.
        records: The images.
        samples: As they were read; None where one could not be.
        targets: What is explained of each.
        checks: By name.
        maps: Those that were made before, (N, ...) each.
        unread: Why an image could not be read, by its place, in words that name no file: they stand in the scores.
        strict: Raise at the first thing that fails.
    """

    def __init__(
        self,
        study: Study,
        classifier: Classifier,
        records: Sequence[Record],
        samples: Sequence[Sample | None],
        targets: Sequence[Target],
        checks: Mapping[str, Check],
        *,
        maps: Mapping[str, FloatArray] | None = None,
        unread: Mapping[int, str] | None = None,
        strict: bool = False,
    ) -> None:
        self.study, self.classifier, self.strict = study, classifier, strict
        self.records, self.samples, self.targets, self.checks = records, samples, targets, checks
        self.methods = {name: make_method(name, parameters) for name, parameters in study.explain.methods.items()}
        self.metrics = {name: make_metric(name, parameters) for name, parameters in study.evaluate.metrics.items()}
        self.maps: dict[str, FloatArray] = {}
        """Those that were made now."""
        self._there = dict(maps or {})
        self._unread = dict(unread or {})
        self._probes: dict[tuple[int, ...], Probe] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self._unusable: dict[str, dict[int, str]] = {}
        self._read = [place for place, sample in enumerate(samples) if sample is not None]

    def work(self, cells: Sequence[Cell]) -> Iterator[Step]:
        """Do the parts that are asked for, each a step when it is done."""
        wanted = {cell.name: cell for cell in cells if cell.kind == "method"}
        for name in sharing({name: self.methods[name] for name in wanted}):
            with self._measured(wanted[name]) as step:
                self._explain(wanted[name])
            yield step()
        scorers: dict[str, Callable[[Cell], None]] = {
            "metric": self._score,
            "check": self._check,
            "repeat": self._score,
            "draw": self._draw,
        }
        for cell in cells:
            if cell.kind != "method":
                with self._measured(cell) as step:
                    scorers[cell.kind](cell)
                yield step()

    def tables(self) -> dict[str, pd.DataFrame]:
        """What was found, by name, with the columns of :data:`TABLES`."""
        return {name: pd.DataFrame(rows, columns=list(TABLES[name])) for name, rows in self._rows.items()}

    def images(self) -> dict[str, np.ndarray]:
        """``image``, ``lesion`` and ``has_lesion`` of the shard; an image that could not be read is NaN.

        Empty where none could be read.
        """
        if not self._read:
            return {}
        first = self._sample(self._read[0]).image
        images = np.full((len(self.samples), *first.shape), np.nan, dtype=np.float32)
        lesions = np.zeros((len(self.samples), *first.shape[1:]), dtype=np.bool_)
        has = np.zeros(len(self.samples), dtype=np.bool_)
        for place in self._read:
            sample = self._sample(place)
            images[place] = sample.image
            if sample.lesion is not None:
                lesions[place], has[place] = sample.lesion, True
        return {"image": images, "lesion": lesions, "has_lesion": has}

    def _sample(self, place: int) -> Sample:
        sample = self.samples[place]
        assert sample is not None  # noqa: S101  # asked for those alone that were read
        return sample

    def _explain(self, cell: Cell) -> None:
        method = self.methods[cell.name]

        def explain(places: Sequence[int]) -> list[FloatArray]:
            found: Tensor = method(self._probe(places), self._generators(places, cell.name))
            return list(found.float().cpu().numpy())

        made, why = self._together(self._read, explain)
        if self._read:
            grid = self._sample(self._read[0]).image.shape[1:]
            maps = np.full((len(self.samples), *grid), np.nan, dtype=np.float32)
            for place, own in made.items():
                maps[place] = own
            self.maps[cell.name] = as_kept(maps, self.study.explain.maps)
        blank = self._not_finite(cell.name, list(made))
        self._fail(cell, {**why, **blank})
        self._unusable[cell.name] = {
            **{
                place: f"{NEVER_MADE}{reason.replace(self.records[place].id, 'the image')}"
                for place, reason in why.items()
            },
            **blank,
        }

    def _not_finite(self, method: str, places: Sequence[int]) -> dict[int, str]:
        """Why a map that was made cannot be scored."""
        found = {}
        for place in places:
            values = self._map(method)[place]
            bad = int((~np.isfinite(values)).sum())
            if bad:
                found[place] = f"{NOT_FINITE}{bad} of {values.size} values are NaN or infinite"
        return found

    def _map(self, method: str) -> FloatArray:
        return self.maps[method] if method in self.maps else self._there[method]

    def _usable(self, method: str) -> tuple[list[int], dict[int, str]]:
        """The images whose map can be scored, and why others' cannot."""
        if method not in self._unusable:
            self._unusable[method] = self._not_finite(method, self._read)
        unusable = self._unusable[method]
        return [place for place in self._read if place not in unusable], unusable

    def _score(self, cell: Cell) -> None:
        metric = self.metrics[cell.name]
        again = (f"repeat {cell.time}",) if cell.kind == "repeat" else ()

        def score(places: Sequence[int], maps: Tensor) -> Mapping[str, Sequence[Score]]:
            # The same stream for every method: all meet the same start pixels.
            return metric(self._probe(places), maps, self._generators(places, cell.name, *again))

        self._keep(cell, metric.measures, score)

    def _check(self, cell: Cell) -> None:
        check = self.checks[cell.name]

        def score(places: Sequence[int], maps: Tensor) -> Mapping[str, Sequence[Score]]:
            def again(probe: Probe) -> Tensor:
                """The method's maps of a changed probe, with what it drew for the maps themselves."""
                return self.methods[cell.method](probe, self._generators(places, cell.method))

            return check(self._probe(places), again, maps, self._generators(places, cell.name))

        self._keep(cell, check.measures, score)

    def _draw(self, cell: Cell) -> None:
        metric, method = self.metrics[cell.name], self.methods[cell.method]

        def score(places: Sequence[int], _: Tensor) -> Mapping[str, Sequence[Score]]:
            probe = self._probe(places)
            maps = method(probe, self._generators(places, cell.method, f"draw {cell.time}")).float().cpu()
            return metric(probe, maps, self._generators(places, cell.name))

        self._keep(cell, metric.measures, score)

    def _keep(
        self,
        cell: Cell,
        measures: Sequence[Measure],
        score: Callable[[Sequence[int], Tensor], Mapping[str, Sequence[Score]]],
    ) -> None:
        """Score a method's maps, and make the rows of all images and measures."""

        def rows(places: Sequence[int]) -> list[dict[str, Score]]:
            scores = score(places, torch.from_numpy(self._map(cell.method)[list(places)]))
            return [{name: own[i] for name, own in scores.items()} for i in range(len(places))]

        usable, why = self._usable(cell.method)
        found, failed = self._together(usable, rows)
        self._fail(cell, failed)
        # Scores are shown: what they say of an image does not name it.
        hidden = {place: reason.replace(self.records[place].id, "the image") for place, reason in failed.items()}
        why = {**self._unread, **why, **hidden}
        for measure in measures:
            for place in range(len(self.samples)):
                own = found[place][measure.name] if place in found else Score.undefined(why[place])
                self._row(cell, place, measure.name, own)

    def _row(self, cell: Cell, place: int, measure: str, score: Score) -> None:
        record = self.records[place]
        row = {
            "cell": cell.id,
            "sample": record.id,
            "patient": record.patient,
            "method": cell.method,
            "metric": measure,
            "value": score.value,
        }
        if cell.kind in ("repeat", "draw"):
            self._rows["repeats" if cell.kind == "repeat" else "draws"].append({**row, "time": cell.time})
            return
        known = {"label": record.label, "target": self.targets[place].index, "reason": score.reason}
        self._rows["scores"].append({**row, **known})
        if score.curve:
            self._rows["curves"].append({**row, "x": list(score.curve.x), "y": list(score.curve.y)})

    def _together(
        self, places: Sequence[int], call: Callable[[Sequence[int]], Sequence[T]]
    ) -> tuple[dict[int, T], dict[int, str]]:
        """What ``call`` gives for images together or, where that fails, for each alone; and why it fails for some."""
        if not places:
            return {}, {}
        try:
            return dict(zip(places, call(places), strict=True)), {}
        except Exception as error:  # noqa: BLE001  # told of each image: one must not take the others with it
            if len(places) == 1:
                return {}, {places[0]: reason_of(error)}
        if self.classifier.device.type == "cuda":
            torch.cuda.empty_cache()  # memory may have been what was missing
        found: dict[int, T] = {}
        why: dict[int, str] = {}
        for place in places:
            own, failed = self._together([place], call)
            found.update(own)
            why.update(failed)
        return found, why

    def _fail(self, cell: Cell, why: Mapping[int, str]) -> None:
        kind = cell.kind if cell.kind in ("method", "check") else "metric"
        for place, reason in why.items():
            failure = Failure(STAGE, self.records[place].id, kind, cell.name, cell.method, reason)
            if self.strict:
                raise MedsaliencyError(f"{failure}; run it without --strict to go on with the rest")
            self._rows["failures"].append({"cell": cell.id, **asdict(failure)})

    def _probe(self, places: Sequence[int]) -> Probe:
        """These images before the model; what one method has computed of them serves the next."""
        key = tuple(places)
        if key not in self._probes:
            samples = [self._sample(place) for place in places]
            self._probes[key] = Probe(
                self.classifier,
                torch.from_numpy(np.stack([sample.image for sample in samples])),
                [self.targets[place] for place in places],
                [None if s.native_lesion is None else torch.from_numpy(s.native_lesion) for s in samples],
                geometries=[sample.geometry for sample in samples],
            )
        return self._probes[key]

    def _generators(self, places: Sequence[int], *use: str) -> Generators:
        return [generator(self.study.seed, self.records[place].id, *use) for place in places]

    @contextmanager
    def _measured(self, cell: Cell) -> Iterator[Callable[[], Step]]:
        with measured(self.classifier.device) as cost:
            yield lambda: Step(cell.name, cost.seconds)
        about = {"cell": cell.id, "kind": cell.kind, "name": cell.name, "images": len(self._read)}
        self._rows["timings"].append({**about, **asdict(cost)})
