"""The run folder: every product of a study, each written beside its place and renamed into it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
import zarr

from medsaliency.study.config import Study, dump_study
from medsaliency.types import MedsaliencyError

PLANS = {"study.yaml", "splits.csv"}
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


class Store:
    """The folder of one study.

    Args:
        path: The folder. Its files: ``study.yaml``, ``provenance.json``, ``geometry.json``, ``splits.csv``,
            ``cases.csv``, ``model/``, ``permuted/``, ``tuning.json``, ``predictions.parquet``, ``validation.parquet``,
            ``marker.parquet``, ``maps.zarr``, ``shards/``, ``scores.parquet``, ``curves.parquet``, ``repeats.parquet``,
            ``draws.parquet``, ``networks.parquet``, ``retrained.parquet``, ``timings.parquet``, ``statistics/``,
            ``report.html``, ``report.pdf``, ``report.md``, ``figures/``, ``tables/``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, study: Study) -> Store:
        """Open the folder for ``study``: a new one, or the one where the same study has stopped.

        Raises:
            MedsaliencyError: If the folder holds another study or anything else.
        """
        own = path / "study.yaml"
        if path.exists() and not path.is_dir():
            raise MedsaliencyError(f"{path}: expected a folder for the run, it is a file; choose another --output")
        if own.is_file():
            saved = yaml.safe_load(own.read_text())
            changed = _differences(saved, study.model_dump(mode="json"))
            # A study that failed before it made anything (a wrong name, an unreadable image) does not hold its folder.
            if changed and {file.name for file in path.iterdir()} <= PLANS:
                (path / "splits.csv").unlink(missing_ok=True)
                write_text(own, dump_study(study))
            elif changed:
                raise MedsaliencyError(
                    f"{path}: holds the run of another study (it differs in {', '.join(changed[:3])}); choose another "
                    "--output or remove the folder"
                )
        elif path.exists() and any(path.iterdir()):
            raise MedsaliencyError(f"{path}: exists and is not a run of a study; choose another --output")
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_text(own, dump_study(study))
        return cls(path)

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
        path, text = self.path / "splits.csv", table.to_csv(index=False)
        if not path.is_file():
            write_text(path, text)
        elif path.read_text(encoding="utf-8") != text:
            raise MedsaliencyError(
                f"{path}: the images, labels, patients or splits are not those this run began with; choose "
                "another --output"
            )

    def keep_basis(self, provenance: Mapping[str, Any]) -> None:
        """Write down what the shards rest on, or see that it has not changed.

        Raises:
            MedsaliencyError: If the version of this software, the data or the weights of a model are others.
        """
        basis = {
            "medsaliency": provenance["medsaliency"],
            "data": provenance["data"]["fingerprint"],
            "weights": provenance["model"]["weights"],
        }
        if provenance["permuted"] is not None:
            basis["permuted network"] = provenance["permuted"]["weights"]
        if not self.has("shards/basis.json"):
            self.write_json("shards/basis.json", basis)
        changed = [name for name, value in self.read_json("shards/basis.json").items() if basis[name] != value]
        if changed:
            raise MedsaliencyError(
                f"{self.path}: its scores were begun with another {' and another '.join(changed)}; choose another "
                "--output"
            )

    def remove_if_nothing_was_made(self) -> None:
        """Remove the folder of a run that failed before it had a model or a table."""
        if {file.name for file in self.path.iterdir()} <= PLANS:
            shutil.rmtree(self.path)

    def has(self, name: str) -> bool:
        """Whether a product is there."""
        return (self.path / name).exists()

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as parquet."""
        _beside(self.path / name, lambda beside: table.to_parquet(beside, index=False))

    def write_csv(self, name: str, table: pd.DataFrame) -> None:
        """Write a table that people read."""
        write_text(self.path / name, table.to_csv(index=False))

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a table."""
        return pd.read_parquet(self.path / name)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON; a value that is not a number becomes null."""
        write_text(self.path / name, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read JSON."""
        return dict(json.loads((self.path / name).read_text()))

    def maps(self, mode: Literal["r", "a"] = "r") -> zarr.Group:
        """The zarr group of images (``image``), lesions (``lesion``, ``has_lesion``) and one array of maps a method."""
        return zarr.open_group(self.path / "maps.zarr", mode=mode)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    _beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    _beside(path, lambda beside: beside.write_bytes(content))


def _beside(path: Path, write: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Plain JSON data: mappings and lists walked, NaN to None, NumPy scalars to Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _differences(saved: Any, wanted: Any, path: str = "") -> list[str]:
    """Dotted names of the fields in which two configurations differ."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [*saved, *(key for key in wanted if key not in saved)]
        return [d for key in keys for d in _differences(saved.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))]
    return [] if saved == wanted else [path]
