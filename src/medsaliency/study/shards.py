"""The shards of a run: which parts of them are to be done, how they are committed, and how their tables are read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd

from medsaliency.data.dataset import Record
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.targets import Target
from medsaliency.study.cells import Cell
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure
from medsaliency.study.ledger import Entry, Plan, commit, damaged, file_hash, name_of, read_entry
from medsaliency.study.maps import NAME, Maps
from medsaliency.study.shard import STAGE, TABLES, Shard
from medsaliency.study.store import Store, write_bytes
from medsaliency.study.work import Explanation, Outcome
from medsaliency.types import FloatArray

FOLDER = "shards"


@dataclass(frozen=True)
class Work:
    """What is to be done for one shard.

    Args:
        number: The shard's.
        entry: What it holds, with what is damaged or no longer wanted left out; None where it is all new.
        cells: The parts to be done.
        damaged: Files that are missing or hold something else than was written.
        stale: The parts that it holds from other settings, images or targets.
    """

    number: int
    entry: Entry | None
    cells: tuple[Cell, ...]
    damaged: tuple[str, ...] = ()
    stale: tuple[Cell, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.cells or self.damaged)


def look(store: Store, plan: Plan, number: int) -> Work:
    """Compare what a shard holds with the plan, and its files with the ledger: all of them are read.

    What failed before is to be done again.
    """
    entry = read_entry(store, number)
    missing = plan.missing(entry, number)
    if entry is None:
        unreadable = (name_of(number),) if store.has(name_of(number)) else ()
        return Work(number, None, _in_order(plan, missing), unreadable)
    stale = _in_order(plan, missing & set(entry.cells))
    if entry.basis != plan.bases[number]:
        return Work(number, None, _in_order(plan, missing), stale=stale)
    failed = _in_order(plan, entry.failed)
    again = {cell.name for cell in failed if cell.kind == "method"}  # what was to be scored of their maps failed too
    missing |= {cell.id for cell in failed} | {name for name in plan.cells if Cell.of(name).method in again}
    bad = damaged(store.path, entry.files)
    if set(bad) & set(entry.tables.values()):
        return Work(number, None, _in_order(plan, plan.cells), tuple(bad), stale)
    missing |= {name for name in plan.cells if set(bad) & set(_files_of(entry, Cell.of(name)))}
    kept = {name: key for name, key in entry.cells.items() if name not in missing and name in plan.cells}
    files = {name: known for name, known in entry.files.items() if name not in bad}
    return Work(number, replace(entry, cells=kept, files=files), _in_order(plan, missing), tuple(bad), stale)


def task_of(
    work: Work,
    maps: Maps,
    start: int,
    records: Sequence[Record],
    targets: Sequence[Target],
    digests: Sequence[str],
    execution: Execution,
) -> Explanation:
    """The task that does a shard's work, with the maps that are there and are scored."""
    made = {cell.name for cell in work.cells if cell.kind == "method"}
    scored = dict.fromkeys(cell.method for cell in work.cells if cell.method not in made)
    there: dict[str, FloatArray] = {name: maps.maps(name, start, start + len(records)) for name in scored}
    return Explanation(
        work.number, tuple(records), tuple(targets), tuple(digests), work.cells, execution=execution, maps=there
    )


def lost_outcome(
    study: Study, classifier: Classifier, checks: Mapping[str, object], task: Explanation, reason: str
) -> Outcome:
    """The outcome of a shard whose worker ended every time: nothing was made of any image, for this reason."""
    count = len(task.records)
    unread = dict.fromkeys(range(count), reason)
    blank = Shard(study, classifier, task.records, [None] * count, task.targets, checks, unread=unread)  # type: ignore[arg-type]
    steps = tuple(blank.work(task.cells))
    tables = blank.tables()
    rows = [{"cell": "", **vars(Failure(STAGE, record.id, "worker", "", "", reason))} for record in task.records]
    return Outcome(task.number, {**tables, "failures": pd.DataFrame(rows)}, steps=steps)


def keep(store: Store, study: Study, maps: Maps, plan: Plan, work: Work, task: Explanation, outcome: Outcome) -> Entry:
    """Write what was found for a shard beside what it holds, and commit it.

    Maps go into their place first, tables into new files; the rename of the entry then makes all of them count.
    Whatever happens between is noticed by the digests of the entry that still holds. Tables that it replaces lie there
    until :func:`tidy`.
    """
    number, start = outcome.number, outcome.number * study.explain.batch_size
    old = work.entry
    # The images of a shard of which nothing failed are those that lie there.
    there = set() if old is None or old.failed else set(old.files)
    written = [
        maps.keep(name, start, values)
        for name, values in outcome.images.items()
        if maps.file(name, start, study.explain.batch_size, values.ndim - 1) not in there
    ]
    for method, own in outcome.maps.items():
        written += maps.keep_map(method, start, own, study.explain.maps)
    # What lies there of a method that was asked for and not made is of other settings.
    unmade = {cell.name for cell in task.cells if cell.kind == "method"} - set(outcome.maps)
    for method in unmade:
        maps.forget(method, start)
    files = {name: str(file_hash(store.path / name)) for name in written}
    made = {cell.id for cell in task.cells}
    if old is not None:
        kept = (name for name in old.files if name.startswith(f"{NAME}/") and _method_of(name) not in unmade)
        of_maps = {name: old.files[name] for name in kept}
        files = {**of_maps, **files}
    tables: dict[str, str] = {}
    parts: dict[str, pd.DataFrame] = {}
    for kind in TABLES:
        parts[kind] = _merged(kind, _old_rows(store, old, kind, made), outcome.tables[kind], plan)
        if len(parts[kind]):
            content = _parquet(parts[kind])
            known = hashlib.sha256(content).hexdigest()
            tables[kind] = f"{FOLDER}/{number:06d}-{kind}-{known[:12]}.parquet"
            write_bytes(store.path / tables[kind], content)
            files[tables[kind]] = known
    cells = {**({} if old is None else old.cells), **{name: plan.cells[name] for name in made}}
    failed = set(parts["failures"]["cell"])
    if "" in failed:  # of an image or a worker: nothing that was asked for now, be it the images alone
        failed |= made or set(cells)
    entry = Entry(
        number,
        plan.bases[number],
        {name: cells[name] for name in plan.cells if name in cells},
        [name for name in plan.cells if name in failed],
        files,
        tables,
    )
    commit(store, entry)
    return entry


def tidy(store: Store, study: Study, plan: Plan, maps: Maps) -> None:
    """Take out of the run what no entry names, and what the study no longer asks for: maps, parts, and shards."""
    wanted = set(study.explain.methods)
    for path in sorted((store.path / "ledger").glob("[0-9]*.json")):
        number = int(path.stem)
        if number >= len(plan.bases):
            path.unlink()
            continue
        entry = read_entry(store, number)
        if entry is None or not (set(entry.cells) - set(plan.cells)):
            continue
        cells = {name: key for name, key in entry.cells.items() if name in plan.cells}
        files = {name: known for name, known in entry.files.items() if _method_of(name) in (None, *wanted)}
        failed = [name for name in entry.failed if name in cells]
        commit(store, replace(entry, cells=cells, files=files, failed=failed))
    maps.keep_only(wanted)
    entries = (read_entry(store, number) for number in range(len(plan.bases)))
    named = {name for entry in entries if entry is not None for name in entry.tables.values()}
    for path in (store.path / FOLDER).glob("*"):
        if path.relative_to(store.path).as_posix() not in named:
            path.unlink()


def tables_of(store: Store, plan: Plan, *kinds: str) -> Iterator[tuple[pd.DataFrame, ...]]:
    """The rows of some kinds of tables, shard by shard, without those that the study no longer asks for."""
    nothing = {kind: pd.DataFrame(columns=list(TABLES[kind][1:])) for kind in kinds}

    def table_of(entry: Entry, kind: str) -> pd.DataFrame:
        if kind not in entry.tables:
            return nothing[kind]
        table = store.read_table(entry.tables[kind])
        # What failed of an image or a worker is of those parts in which something failed, while these are asked for.
        wanted = {*plan.cells, ""} if set(entry.failed) & set(plan.cells) else set(plan.cells)
        known = table["cell"].isin(wanted)
        return (table if known.all() else table[known].reset_index(drop=True))[list(TABLES[kind][1:])]

    for number in range(len(plan.bases)):
        entry = read_entry(store, number)
        yield tuple(nothing[kind] if entry is None else table_of(entry, kind) for kind in kinds)


def _in_order(plan: Plan, names: Iterable[str]) -> tuple[Cell, ...]:
    wanted = set(names)
    return tuple(_cell(name) for name in plan.cells if name in wanted)


@cache
def _cell(name: str) -> Cell:
    """One object for all shards, which are many."""
    return Cell.of(name)


def _files_of(entry: Entry, cell: Cell) -> list[str]:
    """The files of a method's maps in a shard; none for other parts."""
    return [name for name in entry.files if cell.kind == "method" and _method_of(name) == cell.name]


def _method_of(name: str) -> str | None:
    """The method whose maps a file holds; None for others."""
    parts = name.split("/")
    return parts[2] if parts[0] == NAME and parts[1] in ("maps", "scales") else None


def _old_rows(store: Store, old: Entry | None, kind: str, made: set[str]) -> pd.DataFrame:
    if old is None or kind not in old.tables:
        return pd.DataFrame(columns=list(TABLES[kind]))
    table = store.read_table(old.tables[kind])
    return table[table["cell"].isin(set(old.cells) - made)]


def _merged(kind: str, old: pd.DataFrame, new: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Rows in the order of the parts, as if all had been done at once."""
    parts = [part for part in (old, new) if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(TABLES[kind]))
    table = pd.concat(parts, ignore_index=True)
    places = {name: place for place, name in enumerate(["", *plan.cells])}
    return table.loc[table["cell"].map(places).sort_values(kind="stable").index].reset_index(drop=True)


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
