"""Whether a run folder is whole: every part of every shard there, and every file as it was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medsaliency.data.dataset import EVALUATION, VALIDATION
from medsaliency.study.ledger import FOLDER, PRODUCTS, damaged, name_of, read_entry, read_plan, sealed, spoiled
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError, Track, silent

MADE_AGAIN = ("statistics/", "report.", "figures/", "tables/", "cases.csv")
"""Products that `medsaliency report` writes."""


@dataclass(frozen=True)
class Verdict:
    """What was found of a run.

    Args:
        shards: How many there have to be.
        complete: How many hold every part.
        parts: How many parts there have to be.
        missing: How many are not there.
        failed: How many are there, but with something that failed.
        files: How many files were read.
        damaged: Files that are missing or hold something else than was written.
        sealed: Whether tables and report were finished after the last change of the shards.
    """

    shards: int
    complete: int
    parts: int
    missing: int
    failed: int
    files: int
    damaged: tuple[str, ...]
    sealed: bool

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or damaged."""
        return self.complete == self.shards and not self.damaged and self.sealed

    def lines(self) -> list[str]:
        """The verdict in words."""
        found = [
            f"Shards: {self.complete} of {self.shards} complete; parts: {self.parts - self.missing} of {self.parts}"
            + (f", {self.failed} with failures" if self.failed else ""),
            f"Files: {self.files} read, {len(self.damaged)} damaged or missing",
            *(f"damaged or missing: {name}" for name in self.damaged),
        ]
        if not self.sealed:
            found.append("Not finished: tables and report are not those of the shards")
        found.append("The run is whole." if self.whole else "Run `medsaliency study` again to make what is missing.")
        return found


def verify(path: Path, track: Track = silent) -> Verdict:
    """Read every file that the ledger of a run names, and compare it with its SHA-256.

    Raises:
        MedsaliencyError: If the folder is not a run, or has not come to its shards.
    """
    store = Store(path)
    plan = read_plan(store) if store.has("study.yaml") else None
    if plan is None:
        raise MedsaliencyError(
            f"{path}: expected the folder of a study that has come to its shards, got "
            f"{'another folder' if path.is_dir() else 'no folder'}; check the path, or run `medsaliency study`"
        )
    bad: list[str] = []
    files = complete = missing = failed = 0
    for number in track(range(len(plan.bases)), "reading shards", len(plan.bases)):
        entry = read_entry(store, number)
        lacking = plan.missing(entry, number)
        missing += len(lacking)
        complete += not lacking
        if entry is None and store.has(name_of(number)):
            bad.append(name_of(number))
        if entry is not None:
            failed += len(set(entry.failed) & set(plan.cells))
            files += len(entry.files)
            bad += damaged(path, entry.files)
    products = sealed(store)
    if products is None and store.has(PRODUCTS):
        bad.append(PRODUCTS)
    others = products if products is not None else _answers(store, bad)
    for name in track(sorted(others), "reading products", len(others)):
        bad += damaged(path, {name: others[name]})
    files += len(others)
    total = len(plan.bases) * len(plan.cells)
    return Verdict(len(plan.bases), complete, total, missing, failed, files, tuple(bad), products is not None)


def require_sound(store: Store) -> None:
    """See that what statistics and report are made from is as a finished run has written it.

    Raises:
        MedsaliencyError: If it is not.
    """
    bad = [name for name in spoiled(store) if not name.startswith(MADE_AGAIN)]
    if bad:
        raise MedsaliencyError(
            f"{store.path / bad[0]}: expected it as it was written, it is damaged or missing"
            + (f", as are {len(bad) - 1} others" if len(bad) > 1 else "")
            + "; run `medsaliency study` again, which makes anew what is damaged (but what `report --with` has added)"
        )


def _answers(store: Store, bad: list[str]) -> dict[str, str]:
    """Files with what the model says of the images, as the ledger of an unfinished run knows them.

    A ledger's file that cannot be read is put to the ``bad`` ones.
    """
    files: dict[str, str] = {}
    for name in (f"{FOLDER}/{split}.json" for split in (VALIDATION, EVALUATION)):
        if not store.has(name):
            continue
        try:
            files.update(store.read_json(name)["files"])
        except (MedsaliencyError, KeyError, TypeError, ValueError):  # told with the other damage
            bad.append(name)
    return files
