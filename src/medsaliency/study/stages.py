"""The two stages of a study that its workers do: what the model says of images, and the explanation of some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from medsaliency.data.dataset import EVALUATION, Record
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.targets import Target
from medsaliency.study.cells import Cell, digest
from medsaliency.study.config import Study
from medsaliency.study.engines import Engine
from medsaliency.study.estimate import Progressed, Step, estimated
from medsaliency.study.failures import Failure, failure_table
from medsaliency.study.ledger import Plan, damaged, file_hash
from medsaliency.study.log import Log
from medsaliency.study.permuted_labels import checks_of
from medsaliency.study.predicting import BATCH, STAGES, Tables, joined, stamp
from medsaliency.study.shards import Work, keep, look, lost_outcome, task_of
from medsaliency.study.store import Store, write_bytes
from medsaliency.study.work import Explanation, Lost, Outcome, Prediction, Setup
from medsaliency.types import MedsaliencyError, Track

KEPT = {"predictions": "predictions.parquet", "images": "images.parquet"}


@dataclass
class Run:
    """What the stages of one study share.

    Args:
        study: The configuration.
        store: Its folder.
        engine: Has the workers.
        log: Is told what is done.
        track: Shows progress.
        strict: Whether the first failure ends the study.
        failures: What failed so far.
    """

    study: Study
    store: Store
    engine: Engine
    log: Log
    track: Track
    strict: bool = False
    failures: list[Failure] = field(default_factory=list)

    def failed(self, failure: Failure) -> None:
        """Note a failure, or end a strict study by it."""
        if self.strict:
            raise MedsaliencyError(f"{failure}; run it without --strict to go on with the rest")
        self.failures.append(failure)


def predicted(run: Run, setup: Setup, records: Sequence[Record], name: str) -> Tables:
    """What the model says of images, batch by batch, as :func:`medsaliency.study.predicting.predict_batch` gives it."""
    starts = range(0, len(records), BATCH)
    tasks = (Prediction(number, tuple(records[start : start + BATCH])) for number, start in enumerate(starts))
    parts: dict[int, Tables] = {}

    def arriving() -> Iterator[int]:
        for found in run.engine.run(setup, tasks, len(starts)):
            if isinstance(found, Step):
                continue
            parts[found.number if isinstance(found, Outcome) else found.task.number] = (
                dict(found.tables) if isinstance(found, Outcome) else _none_of(found)
            )
            yield len(parts)

    for _ in run.track(arriving(), name, len(starts)):
        pass
    return joined([parts[number] for number in sorted(parts)])


def _none_of(lost: Lost) -> Tables:
    rows = [
        Failure(STAGES[record.split or EVALUATION], record.id, "worker", "", "", lost.reason)
        for record in lost.task.records
    ]
    return {"predictions": pd.DataFrame(), "images": pd.DataFrame(), "failures": failure_table(rows)}


def keep_predictions(store: Store, tables: Tables, split: str, basis: str) -> None:
    """Write what the model says of a split, so that a run that goes on need not ask again."""
    for kind, table in tables.items():
        store.write_table(_part(split, kind), table)
    names = [_part(split, kind) for kind in tables]
    store.write_json(
        f"ledger/{split}.json", {"basis": basis, "files": {name: file_hash(store.path / name) for name in names}}
    )


def kept_predictions(store: Store, records: Sequence[Record], split: str, basis: str) -> Tables | None:
    """What was written before; None where it was not, has been damaged, or an image's file has changed since."""
    if not store.has(f"ledger/{split}.json"):
        return None
    try:
        known = store.read_json(f"ledger/{split}.json")
        if known["basis"] != basis or damaged(store.path, known["files"]):
            return None
    except (MedsaliencyError, KeyError):  # damaged itself: the model is asked again
        return None
    tables = {kind: store.read_table(_part(split, kind)) for kind in ("predictions", "images", "failures")}
    stamps = dict(zip(tables["images"]["sample"], tables["images"]["stamp"], strict=True))
    unread = set(tables["failures"]["sample"])
    same = all(r.id not in unread and stamps.get(r.id) == stamp(r) for r in records)
    return tables if same else None


def _part(split: str, kind: str) -> str:
    return f"predictions/{split}-{kind}.parquet"


@dataclass(frozen=True)
class Explained:
    """What is explained, shard by shard.

    Args:
        records: The images.
        targets: What is explained of each.
        digests: SHA-256 of each image.
    """

    records: Sequence[Record]
    targets: Sequence[Target]
    digests: Sequence[str]

    def plan(self, basis: object, cells: dict[Cell, str], batch: int) -> Plan:
        """What the study has to hold of them.

        Args:
            basis: What decides all numbers beside images and targets, as plain data.
            cells: Keys of the parts.
            batch: Images in a shard.
        """
        starts = range(0, len(self.records), batch)
        rows = [
            (record.id, record.patient, record.label, known, repr(target))
            for record, known, target in zip(self.records, self.digests, self.targets, strict=True)
        ]
        return Plan(
            cells={cell.id: key for cell, key in cells.items()},
            bases=[digest([basis, rows[start : start + batch]]) for start in starts],
            samples=[[row[0] for row in rows[start : start + batch]] for start in starts],
        )


def _keep_profile(run: Run, found: Outcome) -> None:
    if run.log.trace is not None:
        run.log.trace.shard(found.number, found.began, found.seconds, found.steps, found.worker)
    for name, content in found.profile.items():
        write_bytes(run.store.path / "profile" / f"worker-{found.worker}" / name, content)


def stale_parts(work: Sequence[Work]) -> list[str]:
    """What a run holds from other settings, images or targets, in words."""
    counts = Counter((cell.kind, cell.name) for each in work for cell in each.stale)
    return [f"{kind} {name}, {count} parts of shards" for (kind, name), count in counts.items()]


def explain(
    run: Run, setup: Setup, classifier: Classifier, explained: Explained, plan: Plan, execution: Execution
) -> list[Work]:
    """Have everything done that the run does not hold yet, and commit it shard by shard.

    Returns:
        What was to be done.
    """
    study, store, batch = run.study, run.store, run.study.explain.batch_size
    numbers = range(len(plan.bases))
    maps = store.maps("a")
    every = [name for part in plan.samples for name in part]
    maps.arrange(every, batch)
    found = (look(store, plan, number) for number in run.track(numbers, "checking what is there", len(numbers)))
    # What a finished shard holds is not needed again, and would be in memory for every one of them.
    work = [each if each.needed else replace(each, entry=None) for each in found]
    for each in work:
        for name in each.damaged:
            run.log.event("damaged", file=name)
    for what in stale_parts(work):
        run.log.event("stale", what=what)
    needed = {each.number: each for each in work if each.needed}
    given: dict[int, Explanation] = {}

    def tasks() -> Iterator[Explanation]:
        for number, each in needed.items():
            at = slice(number * batch, (number + 1) * batch)
            own = (explained.records[at], explained.targets[at], explained.digests[at])
            given[number] = task_of(each, maps, number * batch, *own, execution)
            yield given[number]

    def steps() -> Iterator[Step]:
        for each in work:
            done = set(plan.cells) - {cell.id for cell in each.cells}
            yield from (Step(Cell.of(name).name) for name in plan.cells if name in done)
        for found in run.engine.run(setup, tasks(), len(needed)):
            if isinstance(found, Step):
                yield found
                continue
            number = found.number if isinstance(found, Outcome) else found.task.number
            task = given.pop(number)
            if isinstance(found, Outcome):
                _keep_profile(run, found)
            else:
                checks = checks_of(study, None if setup.permuted is None else str(setup.permuted))
                found = lost_outcome(study, classifier, checks, task, found.reason)
                yield from found.steps
            keep(store, study, maps, plan, needed[number], task, found)
            run.log.event(
                "shard",
                number=number,
                images=len(task.records),
                computed=len(task.cells),
                seconds=found.seconds,
                peak_bytes=found.peak_bytes,
                worker=found.worker,
            )

    counts = Counter(Cell.of(name).name for name in plan.cells)
    total = {name: count * len(numbers) for name, count in counts.items()}
    bar = estimated(steps(), total, run.engine.workers(len(needed)))
    shown: Iterator[Progressed] = iter(run.track(bar, "explaining and evaluating", sum(total.values())))
    for _ in shown:
        pass
    return work
