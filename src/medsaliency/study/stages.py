"""The two stages of a study that its workers do: what the model says of images, and the explanation of some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from medsaliency.data.dataset import EVALUATION, Record
from medsaliency.model.classifier import Classifier
from medsaliency.model.targets import Target
from medsaliency.study.cells import Cell, digest
from medsaliency.study.config import Study
from medsaliency.study.engines import Engine
from medsaliency.study.estimate import Progressed, Step, estimated
from medsaliency.study.failures import Failure
from medsaliency.study.ledger import Plan, damaged, file_hash
from medsaliency.study.log import Log
from medsaliency.study.permuted_labels import checks_of
from medsaliency.study.predicting import BATCH, Tables, joined, none_of, stamp, stamped
from medsaliency.study.shard import STAGE
from medsaliency.study.shards import Work, keep, look, lost_outcome, task_of
from medsaliency.study.store import Store, write_bytes
from medsaliency.study.work import CHANGED, Explanation, Outcome, Prediction, Setup
from medsaliency.types import MedsaliencyError, Track


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


def predicted(
    run: Run, setup: Setup, classes: int, records: Sequence[Record], split: str, name: str, basis: str
) -> Tables:
    """What the model says of a split, as :func:`medsaliency.study.predicting.predict_batch` gives it.

    A batch of which all is kept, and whose images' files are as they were, is not asked again.

    Args:
        run: The study.
        setup: Of its workers.
        classes: How many the model knows.
        records: The images.
        split: Which they are of.
        name: What the progress is of.
        basis: Key of the model and the data; what was kept under another is not believed.
    """
    kept = kept_predictions(run.store, split, basis)
    known = {} if kept is None else dict(zip(kept["images"]["sample"], kept["images"]["stamp"], strict=True))
    # Here, and before they are read: another machine may have another copy, and a file may change meanwhile.
    stamps = {record.id: stamp(record) for record in records}
    batches = [tuple(records[start : start + BATCH]) for start in range(0, len(records), BATCH)]
    fresh = [batch for batch in batches if any(known.get(record.id) != stamps[record.id] for record in batch)]
    parts: list[Tables] = []
    if kept is not None:
        again = {record.id for batch in fresh for record in batch}
        parts.append({kind: table[~table["sample"].isin(again)] for kind, table in kept.items()})

    def arriving() -> Iterator[int]:
        tasks = (Prediction(number, batch) for number, batch in enumerate(fresh))
        for found in run.engine.run(setup, tasks, len(fresh)):
            if not isinstance(found, Step):
                lost = None if isinstance(found, Outcome) else none_of(found.task.records, classes, found.reason)
                parts.append(stamped(found.tables if isinstance(found, Outcome) else lost or {}, stamps))
                yield len(parts)

    for _ in run.track(arriving(), name, len(fresh)):
        pass
    tables = joined(parts, records)
    if fresh:
        keep_predictions(run.store, tables, split, basis)
    return tables


def keep_predictions(store: Store, tables: Tables, split: str, basis: str) -> None:
    """Write what the model says of a split, so that a run that goes on need not ask again."""
    names = {kind: _part(split, kind) for kind in tables}
    for kind, table in tables.items():
        store.write_table(names[kind], table)
    files = {name: file_hash(store.path / name) for name in names.values()}
    store.write_json(f"ledger/{split}.json", {"basis": basis, "files": files})


def kept_predictions(store: Store, split: str, basis: str) -> Tables | None:
    """What was written before; None where it was not, rests on something else, or has been damaged."""
    if not store.has(f"ledger/{split}.json"):
        return None
    try:
        known = store.read_json(f"ledger/{split}.json")
        if known["basis"] != basis or damaged(store.path, known["files"]):
            return None
    except (MedsaliencyError, KeyError):  # damaged itself: the model is asked again
        return None
    return {kind: store.read_table(_part(split, kind)) for kind in ("predictions", "images", "failures")}


def ask_again(store: Store, split: str, samples: Iterable[str]) -> None:
    """Have a run that goes on put these images before the model again, since they are not those that it has seen."""
    known = store.read_json(f"ledger/{split}.json")
    images = store.read_table(_part(split, "images"))
    images.loc[images["sample"].isin(list(samples)), "stamp"] = CHANGED
    store.write_table(_part(split, "images"), images)
    files = {**known["files"], _part(split, "images"): file_hash(store.path / _part(split, "images"))}
    store.write_json(f"ledger/{split}.json", {**known, "files": files})


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


def explain(run: Run, setup: Setup, classifier: Classifier, explained: Explained, plan: Plan) -> None:
    """Have everything done that the run does not hold yet, and commit it shard by shard."""
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
            given[number] = task_of(each, maps, number * batch, *own, classifier.execution)
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
                if run.strict:
                    run.failed(Failure(STAGE, task.records[0].id, "worker", "", "", found.reason))
                checks = checks_of(study, None)  # of whose parameters nothing is asked here
                found = lost_outcome(study, classifier, checks, task, found.reason)
                yield from found.steps
            keep(store, study, maps, plan, needed[number], task, found)
            failures = found.tables["failures"]
            if changed := failures.loc[failures["reason"] == CHANGED, "sample"].tolist():
                ask_again(store, EVALUATION, changed)
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
