"""What the workers of a study do: put images before the model, explain and score shards.

A worker needs no run folder: it is set up once, is given tasks, and gives back what it found. So it may be a thread of
this process, another process, or an actor on another machine.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medsaliency.data.dataset import Record
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.targets import Target
from medsaliency.study.cells import Cell
from medsaliency.study.config import Study
from medsaliency.study.cost import measured
from medsaliency.study.estimate import Step
from medsaliency.study.failures import Failure
from medsaliency.study.permuted_labels import checks_of
from medsaliency.study.predicting import predict_batch, read_each, sample_digest
from medsaliency.study.profiling import operators
from medsaliency.study.reading import default_device, load_data
from medsaliency.study.shard import STAGE, Shard
from medsaliency.types import FloatArray, MedsaliencyError, Sample


@dataclass(frozen=True)
class Packed:
    """The files of a checkpoint, to be sent elsewhere.

    Args:
        files: Content by path, relative to the folder in which the checkpoint lies.
        name: The checkpoint's own path there, of a folder or a file.
    """

    files: Mapping[str, bytes]
    name: str

    @classmethod
    def of(cls, place: str) -> Packed:
        """Read what lies at ``place``."""
        path = Path(place)
        if path.is_dir():
            inner = path / "model" if (path / "model").is_dir() else path
            files = sorted(file for file in inner.rglob("*") if file.is_file())
        else:
            inner, files = path, checkpoint.files_of(path)
        return cls({file.relative_to(inner.parent).as_posix(): file.read_bytes() for file in files}, inner.name)

    def unpack(self, folder: Path) -> str:
        """Write them below ``folder``, and return the place of the checkpoint."""
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return str(folder / self.name)


@dataclass(frozen=True)
class Setup:
    """What a worker is made from.

    Args:
        study: The configuration.
        model: Where the checkpoint is, or its files.
        permuted: Likewise of the network trained on permuted labels, where a check compares with it.
        threads: Of a pass on a CPU; None for as many as this process has.
        strict: Raise at the first thing that fails.
        profile: Whether each worker records the operators of its first shard.
    """

    study: Study
    model: str | Packed
    permuted: str | Packed | None = None
    threads: int | None = None
    strict: bool = False
    profile: bool = False

    def packed(self) -> Setup:
        """The same with the files themselves, for a machine that does not have them."""

        def pack(place: str | Packed | None) -> str | Packed | None:
            return Packed.of(place) if isinstance(place, str) and Path(place).exists() else place

        model = pack(self.model)
        assert model is not None  # noqa: S101  # it was none before
        return replace(self, model=model, permuted=pack(self.permuted))


@dataclass(frozen=True)
class Prediction:
    """Images to be put before the model.

    Args:
        number: Its place among the tasks of its stage.
        records: The images.
    """

    number: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Explanation:
    """A shard to be explained and scored.

    Args:
        number: The shard's.
        records: The images.
        targets: What is explained of each.
        digests: SHA-256 of each image as the study knows it.
        cells: The parts to be done.
        execution: How the model runs.
        maps: Maps (N, ...) by method that were made before, of those that are scored now.
    """

    number: int
    records: tuple[Record, ...]
    targets: tuple[Target, ...]
    digests: tuple[str, ...]
    cells: tuple[Cell, ...]
    execution: Execution
    maps: Mapping[str, FloatArray] = field(default_factory=dict)


UNREAD, CHANGED = "the image could not be read", "the image changed while the study ran"
"""Why an image of a shard has no scores."""
Task = Prediction | Explanation
Read = tuple[list[Sample | None], dict[int, str]]
"""The images of a task, None where one could not be read, and why it could not, by its place."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Args:
        number: The task's.
        tables: Of a prediction those of :func:`medsaliency.study.predicting.predict_batch`, of a shard those of
            :data:`medsaliency.study.shard.TABLES`.
        images: ``image``, ``lesion`` and ``has_lesion`` of a shard.
        maps: Maps (N, ...) by method that were made now.
        steps: What was done, in order.
        seconds: Wall clock.
        peak_bytes: Most memory held, above what was held before; None where the system does not tell.
        worker: Which one did it: a process's number.
        began: When, in seconds since 1970.
        profile: Files of a recording, by name.
    """

    number: int
    tables: Mapping[str, pd.DataFrame]
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    maps: Mapping[str, FloatArray] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    peak_bytes: int | None = None
    worker: int = 0
    began: float = 0.0
    profile: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """A task that could not be done, since its worker ended more than once."""

    task: Task
    reason: str


class Worker:
    """Holds the model once, and does tasks.

    Args:
        setup: What it is made from.
        device: Where the model runs; None as the study says.
    """

    def __init__(self, setup: Setup, device: str | None = None) -> None:
        if setup.threads is not None:
            torch.set_num_threads(setup.threads)
        self.setup = setup
        self._first = True
        self._given_up = threading.Event()
        place = self._unpacked(setup.model, "model")
        self.permuted = None if setup.permuted is None else self._unpacked(setup.permuted, "permuted")
        study = setup.study
        self.classifier: Classifier = checkpoint.load(place, device=device or study.device or default_device())
        if study.model.target_layer is not None:
            self.classifier.use_layer(study.model.target_layer)
        self.dataset = load_data(study)

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        # Only where it is needed: a process that is killed does not remove it.
        return tempfile.TemporaryDirectory(prefix="medsaliency-")

    def read(self, task: Task) -> Read:
        """Read a task's images. It may run in another thread while the model works."""
        return read_each(self.setup.study, self.dataset, task.records, self._given_up.is_set)

    def give_up(self, over: bool = True) -> None:
        """Let :meth:`read`, which runs in another thread, end after the image that it reads; or let it read again."""
        (self._given_up.set if over else self._given_up.clear)()

    def work(self, task: Task, read: Read) -> Iterator[Step | Outcome]:
        """Do a task.

        Args:
            task: What is to be done.
            read: Its images, from :meth:`read`.

        Yields:
            Every step when it is done, and the outcome last.

        Raises:
            MedsaliencyError: If something fails and the study is strict.
        """
        began, begin = time.time(), time.perf_counter()
        samples, unread = read
        if isinstance(task, Prediction):
            with measured(self.classifier.device) as cost:
                tables = predict_batch(self.classifier, task.records, samples, unread)
            outcome = Outcome(task.number, tables, peak_bytes=cost.peak_bytes)
        else:
            outcome = yield from self._explain(task, samples, unread)
        if self.setup.strict and len(outcome.tables["failures"]):
            first = outcome.tables["failures"].iloc[0]
            raise MedsaliencyError(
                f"{first['sample']}: {first['reason']}; run it without --strict to go on with the rest"
            )
        yield replace(outcome, seconds=time.perf_counter() - begin, worker=os.getpid(), began=began)

    def _explain(
        self, task: Explanation, samples: list[Sample | None], unread: dict[int, str]
    ) -> Generator[Step, None, Outcome]:
        self.classifier.execution = task.execution
        for place, sample in enumerate(samples):
            if sample is not None and sample_digest(sample) != task.digests[place]:
                samples[place], unread[place] = None, CHANGED
        study = self.setup.study
        shard = Shard(
            study,
            self.classifier,
            task.records,
            samples,
            task.targets,
            checks_of(study, self.permuted),
            maps=task.maps,
            unread={place: why if why == CHANGED else UNREAD for place, why in unread.items()},
            strict=self.setup.strict,
        )
        steps = []
        first, self._first = self.setup.profile and self._first, False
        with tempfile.TemporaryDirectory(prefix="medsaliency-") if first else nullcontext("") as made:
            folder = Path(made)
            with operators(folder) if first else nullcontext(lambda: None) as done:
                for step in shard.work(task.cells):
                    steps.append(step)
                    done()
                    yield step
            recorded = {path.name: path.read_bytes() for path in folder.iterdir()} if first else {}
        tables = shard.tables()
        unreadable = [Failure(STAGE, task.records[i].id, "image", "", "", why) for i, why in sorted(unread.items())]
        if unreadable:
            rows = pd.DataFrame([{"cell": "", **vars(failure)} for failure in unreadable])
            tables["failures"] = pd.concat([rows, tables["failures"]], ignore_index=True)
        peaks = tables["timings"]["peak_bytes"].dropna()
        peak = int(peaks.max()) if len(peaks) else None
        return Outcome(task.number, tables, shard.images(), shard.maps, tuple(steps), peak_bytes=peak, profile=recorded)

    def _unpacked(self, place: str | Packed, name: str) -> str:
        return place if isinstance(place, str) else place.unpack(Path(self._folder.name) / name)
