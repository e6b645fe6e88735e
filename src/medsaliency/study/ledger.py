"""The ledger of a run: what each shard holds, from what, and the content of each of its files.

A shard is committed by the rename of its entry, ``ledger/NNNNNN.json``. What no entry names was never committed, and
what an entry names can be checked: no file of a shard is believed without its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from medsaliency.study.cells import digest
from medsaliency.study.maps import NAME as MAPS
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

FOLDER = "ledger"
PLAN, PRODUCTS, BASIS = f"{FOLDER}/plan.json", f"{FOLDER}/products.json", f"{FOLDER}/basis.json"
NOT_SEALED = ("ledger", "shards", "profile", "run.lock", "log.jsonl")
"""What the seal does not cover: the ledger itself, what its entries cover, and what is not of the study's results."""


@dataclass(frozen=True)
class Entry:
    """What is kept of one shard.

    Args:
        number: The shard's.
        basis: Key of its images, targets, model and seed.
        cells: Keys of the parts that it holds, by the id of the cell (:attr:`medsaliency.study.cells.Cell.id`).
        failed: Those among them in which something failed.
        files: SHA-256 by the file's path, relative to the run.
        tables: Files of its tables, by kind.
    """

    number: int
    basis: str
    cells: Mapping[str, str]
    failed: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a study has to hold.

    Args:
        cells: Keys of all parts, by id.
        bases: Key of each shard's basis.
        samples: Ids of each shard's images.
    """

    cells: Mapping[str, str]
    bases: Sequence[str]
    samples: Sequence[Sequence[str]]

    def missing(self, entry: Entry | None, number: int) -> set[str]:
        """The parts that a shard does not hold yet, or not any more."""
        if entry is None or entry.basis != self.bases[number]:
            return set(self.cells)
        return {name for name, key in self.cells.items() if entry.cells.get(name) != key}


def read_entry(store: Store, number: int) -> Entry | None:
    """The entry of a shard; None where it was not committed, or the entry itself is damaged."""
    path = store.path / name_of(number)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Entry(**content["entry"])
    except (ValueError, KeyError, TypeError):
        return None
    return found if content.get("sha256") == digest(content["entry"]) else None


def commit(store: Store, entry: Entry) -> None:
    """Say that a shard is done."""
    content = asdict(entry)
    store.write_json(name_of(entry.number), {"entry": content, "sha256": digest(content)})


def write_plan(store: Store, plan: Plan) -> None:
    """Write down what the study has to hold."""
    store.write_json(PLAN, asdict(plan))


def read_plan(store: Store) -> Plan | None:
    """What the study has to hold; None where it has not come so far.

    Raises:
        MedsaliencyError: If the plan is damaged.
    """
    if not store.has(PLAN):
        return None
    try:
        return Plan(**store.read_json(PLAN))
    except TypeError as error:
        raise MedsaliencyError(
            f"{store.path / PLAN}: expected the plan of a study, it is damaged; run `medsaliency study` again"
        ) from error


def damaged(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Those files that are missing, or hold something else than was written."""
    return [name for name, known in files.items() if file_hash(folder / name) != known]


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file's content; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def seal(store: Store) -> None:
    """Write down the content of all products that are not a shard's, by which ``verify`` knows them again."""
    store.write_json(PRODUCTS, {name: file_hash(store.path / name) for name in _products(store)})


def unseal(store: Store) -> None:
    """Say that products are being made again."""
    (store.path / PRODUCTS).unlink(missing_ok=True)


def spoiled(store: Store) -> list[str]:
    """The products that are missing, or hold something else than a finished run has written."""
    known = sealed(store)
    return [] if known is None else damaged(store.path, known)


def sealed(store: Store) -> dict[str, str] | None:
    """SHA-256 of the products of a finished run; None where it is not finished, or what is kept of it is damaged."""
    if not store.has(PRODUCTS):
        return None
    try:
        return {str(name): str(known) for name, known in store.read_json(PRODUCTS).items()}
    except MedsaliencyError:  # no seal that can be read is none: all of it is made again
        return None


def keep_basis(store: Store, basis: Mapping[str, str]) -> None:
    """Write down what all shards rest on, or see that it has not changed.

    Raises:
        MedsaliencyError: If the version of this software or of PyTorch, the kind of device, the data, or the weights or
            preprocessing of the model are others.
    """
    if not store.has(BASIS):
        store.write_json(BASIS, basis)
    try:
        known = store.read_json(BASIS)
    except MedsaliencyError:  # damaged: it only serves this message, each entry knows what it rests on
        store.write_json(BASIS, basis)
        return
    changed = [name for name, value in known.items() if basis.get(name) != value]
    if changed:
        raise MedsaliencyError(
            f"{store.path}: its scores were begun with another {' and another '.join(changed)}; choose another --output"
        )


def _products(store: Store) -> list[str]:
    files = (path.relative_to(store.path) for path in store.path.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if _is_product(path))


def _is_product(path: Path) -> bool:
    if path.parts[0] == MAPS:  # the rest of it is of shards
        return path.name == "zarr.json" or path.parts[1] == "marker"
    return path.parts[0] not in NOT_SEALED and path.name[0] != "."


def name_of(number: int) -> str:
    """The file of a shard's entry, relative to the run."""
    return f"{FOLDER}/{number:06d}.json"
