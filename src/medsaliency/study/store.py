"""The run folder: every product of a study, each written beside its place and renamed into it."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from medsaliency.data.untrusted import parse_json
from medsaliency.report.spreadsheet import csv_text
from medsaliency.study.config import Study, dump_study, saved_study
from medsaliency.study.lock import locked
from medsaliency.study.maps import NAME, Maps
from medsaliency.types import MedsaliencyError

PLANS = {"study.yaml", "splits.csv", "run.lock", "log.jsonl"}
"""What a run writes before it has made anything."""


NEEDED = (
    "study.yaml",
    "provenance.json",
    "predictions.parquet",
    "scores.parquet",
    "curves.parquet",
    "timings.parquet",
    "validation.parquet",
    "draws.parquet",
    "repeats.parquet",
    "maps.zarr",
)
"""What statistics and report are made from."""
BEGUN = re.compile(r"\..+-[a-z0-9_]{8}")
"""Names of files and folders that are written beside their place (:func:`beside`)."""
FIXED = ("seed", "data", "model", "training")
"""Sections of a configuration that all of a run rests on, but where the data lies. Others may be changed."""


class Store:
    """The folder of one study.

    Args:
        path: The folder. Its files: ``study.yaml``, ``provenance.json``, ``geometry.json``, ``splits.csv``,
            ``cases.csv``, ``model/``, ``permuted/``, ``tuning.json``, ``predictions.parquet``, ``validation.parquet``,
            ``predictions/``, ``failures.parquet``, ``marker.parquet``, ``maps.zarr``, ``shards/``, ``ledger/``,
            ``run.lock``, ``log.jsonl``, ``profile/``, ``scores.parquet``, ``curves.parquet``, ``repeats.parquet``,
            ``draws.parquet``, ``networks.parquet``, ``retrained.parquet``, ``timings.parquet``, ``statistics/``,
            ``report.html``, ``report.pdf``, ``report.md``, ``figures/``, ``tables/``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, study: Study) -> Store:
        """Open the folder for ``study``: a new one, or the one where the same study has stopped, or a like one.

        What a run rests on (:data:`FIXED`) has to be the same; what is explained, evaluated and reported may have
        changed (:meth:`adopt`).

        Raises:
            MedsaliencyError: If the folder holds another study or anything else.
        """
        own = path / "study.yaml"
        if path.exists() and not path.is_dir():
            raise MedsaliencyError(f"{path}: expected a folder for the run, it is a file; choose another --output")
        if own.is_file():
            changed = [name for name in cls(path).changes(study) if _is_fixed(name)]
            # A study that failed before it made anything (a wrong name, an unreadable image) does not hold its folder.
            if changed and cls(path).made():
                raise MedsaliencyError(
                    f"{path}: holds the run of another study (it differs in {', '.join(changed[:3])}), so that "
                    "nothing of it could be kept; choose another --output or remove the folder"
                )
            if changed:
                with locked(path):  # another process may be about to make something
                    (path / "splits.csv").unlink(missing_ok=True)
                    own.unlink()
        elif path.exists() and cls(path).made():
            raise MedsaliencyError(f"{path}: exists and is not a run of a study; choose another --output")
        path.mkdir(parents=True, exist_ok=True)
        store = cls(path)
        if not own.is_file():
            store.adopt(study)
        return store

    def changes(self, study: Study) -> list[str]:
        """The fields in which the configuration that is kept differs; none where none is kept yet."""
        own = self.path / "study.yaml"
        if not own.is_file():
            return []
        elsewhere: dict[str, Any] = {"data.root": study.data.root, "device": study.device}
        saved = saved_study(self.path, **elsewhere)
        return _differences(saved.model_dump(mode="json"), study.model_dump(mode="json"))

    def made(self) -> bool:
        """Whether there is more than a run writes before it has made anything."""
        return any(file.name not in PLANS and not BEGUN.fullmatch(file.name) for file in self.path.iterdir())

    def sweep(self) -> None:
        """Remove what a process that was killed had begun to write. Only for the one that holds the lock."""
        for path in sorted(self.path.rglob(".*")):
            if BEGUN.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path in (self.path / NAME).rglob("*.partial"):
            path.unlink()

    def adopt(self, study: Study) -> None:
        """Keep this configuration from now on."""
        write_text(self.path / "study.yaml", dump_study(study))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the folder of a finished study.

        Raises:
            MedsaliencyError: If it is none, or the study has not come to its scores.
        """
        for needed in NEEDED:
            if not (path / needed).exists():
                raise MedsaliencyError(
                    f"{path}: expected the folder of a finished study, {needed} is missing; run `medsaliency study`"
                )
        return cls(path)

    def keep_splits(self, table: pd.DataFrame) -> None:
        """Write the splits down, or see that they are those this run began with.

        Raises:
            MedsaliencyError: If the images, labels, patients or splits have changed since.
        """
        path, text = self.path / "splits.csv", csv_text(table)
        if not path.is_file():
            write_text(path, text)
        elif path.read_text(encoding="utf-8") != text:
            raise MedsaliencyError(
                f"{path}: the images, labels, patients or splits are not those this run began with; choose "
                "another --output"
            )

    def remove_if_nothing_was_made(self) -> None:
        """Remove the folder of a run that failed before it had a model or a table."""
        if not self.made():
            shutil.rmtree(self.path)

    def has(self, name: str) -> bool:
        """Whether a product is there."""
        return (self.path / name).exists()

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as parquet."""
        with beside(self.path / name) as new:
            table.to_parquet(new, index=False)

    def write_csv(self, name: str, table: pd.DataFrame) -> None:
        """Write a table that people read, without a cell that a spreadsheet would run."""
        write_text(self.path / name, csv_text(table))

    def read_table(self, name: str, rows: Sequence[tuple[str, str, Any]] | None = None) -> pd.DataFrame:
        """Read a table, or those of its rows for which all of (column, comparison, value) hold."""
        return pd.read_parquet(self.path / name, filters=rows or None)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON; a value that is not a number becomes null."""
        write_text(self.path / name, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read JSON.

        Raises:
            MedsaliencyError: If it is damaged.
        """
        path = self.path / name
        try:
            found = parse_json(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise MedsaliencyError(f"{path}: expected UTF-8 text, it is damaged; run it again") from error
        if not isinstance(found, dict):
            raise MedsaliencyError(f"{path}: expected names and values, got {type(found).__name__}; run it again")
        return found

    def maps(self, mode: Literal["r", "a"] = "r") -> Maps:
        """The explained images, their lesions, and the maps of every method."""
        return Maps(self.path, mode)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with beside(path) as new:
        new.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with beside(path) as new:
        new.write_bytes(content)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, which takes its place when it is whole, and is removed when it is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    new = Path(name)
    try:
        yield new
        new.chmod(0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Plain JSON data: mappings and lists walked, NaN to None, NumPy scalars to Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _is_fixed(name: str) -> bool:
    section, _, field = name.partition(".")
    return section in FIXED and (section, field) != ("data", "root")


def _differences(saved: Any, wanted: Any, path: str = "") -> list[str]:
    """Dotted names of the fields in which two configurations differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [*saved, *(key for key in wanted if key not in saved)]
        return [d for key in keys for d in _differences(saved.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))]
    return [] if saved == wanted else [path]
