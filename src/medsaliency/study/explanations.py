"""Explanations as they lie on disk: in the folder of a run, or in one that ``medsaliency explain`` has written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from medsaliency.data.dataset import Dataset, Record
from medsaliency.data.formats import read_record
from medsaliency.data.geometry import from_dict, to_native
from medsaliency.data.reading import Reading
from medsaliency.model.targets import Contrast, Logit, Probability
from medsaliency.study.about import read_about
from medsaliency.study.config import Study, saved_study
from medsaliency.study.reading import load_data
from medsaliency.study.store import Store
from medsaliency.types import FloatArray, Geometry, MedsaliencyError

OF_A_RUN = ("study.yaml", "provenance.json", "geometry.json", "predictions.parquet", "scores.parquet", "maps.zarr")
"""What maps are exported from."""
Scores = dict[str, dict[str, tuple[float, str]]]


@dataclass(frozen=True)
class Found:
    """One explained image, before its maps and pixels are read.

    Args:
        sample: What it is called.
        number: Its place among the explained, from 1.
        record: Where its original lies; ``image`` is None for a made one.
        geometry: The way back to native pixels.
        classes: Names of the model's outputs.
        probabilities: Of each class.
        target: Index of the explained class.
        explains: The target object's ``repr``.
        methods: The ``repr`` of each method that has a map.
        architecture: Of the model.
        weights: SHA-256 of the model's weights.
        version: Of the software that made the maps.
        maps: Reads maps on native pixels, by name.
        pixels: Reads the image, (C, H, W) or (C, D, H, W) in [0, 1], on native pixels.
        seed: Of the study.
        scores: Of each method, for each measure its value and, where that is NaN, the reason.
        sha256: Of each of the original's files when it was explained; None where that was not kept.
    """

    sample: str
    number: int
    record: Record
    geometry: Geometry
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    target: int
    explains: str
    methods: Mapping[str, str]
    architecture: str
    weights: str
    version: str
    maps: Callable[[Sequence[str]], dict[str, FloatArray]]
    pixels: Callable[[], FloatArray]
    seed: int = 0
    scores: Scores = field(default_factory=dict)
    sha256: tuple[str, ...] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The original's files, in the order of its slices; none for a made image."""
        return self.record.files

    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each of the original's files, which are those that were explained.

        Raises:
            MedsaliencyError: If a file is missing, or another one than was explained.
        """
        if not all(file.is_file() for file in self.files):
            raise MedsaliencyError(
                f"{self.sample}: expected its original, got no such file; check the path, or give --data-root with the "
                "folder that the originals are in now"
            )
        found = tuple(self.record.digests())
        if self.sha256 is not None and self.sha256 != found:
            raise MedsaliencyError(
                f"{self.sample}: expected the file that was explained as its original, got another or a changed one; "
                "put it back, give --data-root with the folder that it is in, or explain the image again"
            )
        return found

    @property
    def stored(self) -> tuple[object, ...]:
        """What tells the stored volume that the image is a slice of; the image itself where it is none."""
        place = self.geometry.slice
        if place is None or not self.files:
            return (self.sample,)
        # Slices of one file that lie unevenly have an affine each, and so no common grid.
        return (*self.files, place.axis, place.shape, self.geometry.affine)


def collect(path: Path, data_root: Path | None = None) -> list[Found]:
    """Find the explanations in a folder, in the order of their numbers.

    Args:
        path: Of a finished run, or what ``medsaliency explain`` has written.
        data_root: Where the originals lie, if not where they were when they were explained.

    Raises:
        MedsaliencyError: If the folder is neither, or something in it is not as it was written.
    """
    if (path / "study.yaml").is_file():
        return _of_run(path, data_root)
    abouts = sorted(path.glob("*.json")) if path.is_dir() else []
    if not abouts:
        raise MedsaliencyError(
            f"{path}: expected the folder of a run, or one that `medsaliency explain` has written, got "
            f"{'neither' if path.exists() else 'nothing'}; check the path"
        )
    return [_of_file(about, number, data_root) for number, about in enumerate(abouts, 1)]


def _of_run(path: Path, data_root: Path | None) -> list[Found]:
    store = Store(path)
    for needed in OF_A_RUN:
        if not store.has(needed):
            raise MedsaliencyError(
                f"{path}: expected the folder of a finished study, {needed} is missing; run `medsaliency study`"
            )
    root: Any = {"data.root": None if data_root is None else str(data_root)}
    study = saved_study(path, **root)
    dataset = load_data(study)
    records = {record.id: record for record in dataset.records}
    provenance, geometries = store.read_json("provenance.json"), store.read_json("geometry.json")
    predictions = store.read_table("predictions.parquet").set_index("sample")
    scores = store.read_table("scores.parquet")
    by_sample = {str(name): rows for name, rows in scores.groupby("sample", sort=False)}
    found = []
    for number, sample in enumerate(store.maps().samples, 1):
        if sample not in records or sample not in geometries or sample not in by_sample:
            raise MedsaliencyError(
                f"{sample}: expected the image among the study's data, its geometry and its scores, got none in one of "
                "them; give --data-root with the data that the study had"
            )
        probabilities = _probabilities(predictions, sample)
        target = int(by_sample[sample]["target"].iloc[0])
        geometry = from_dict(geometries[sample])
        found.append(
            Found(
                sample=sample,
                number=number,
                record=records[sample],
                geometry=geometry,
                classes=tuple(provenance["data"]["classes"]),
                probabilities=probabilities,
                target=target,
                explains=_explains(study, probabilities, target),
                methods=dict(provenance["methods"]),
                architecture=str(provenance["model"]["architecture"]),
                weights=str(provenance["model"]["weights"]),
                version=str(provenance["medsaliency"]),
                maps=_maps_of_run(store, number - 1, geometry),
                pixels=_pixels(dataset, records[sample]),
                seed=study.seed,
                scores=_scores(by_sample[sample]),
                sha256=_kept(geometries[sample]),
            )
        )
    return found


def _maps_of_run(store: Store, place: int, geometry: Geometry) -> Callable[[Sequence[str]], dict[str, FloatArray]]:
    def read(methods: Sequence[str]) -> dict[str, FloatArray]:
        kept = store.maps()
        return {name: to_native(kept.map(name, place), geometry) for name in methods}

    return read


def _pixels(dataset: Dataset, record: Record) -> Callable[[], FloatArray]:
    return lambda: dataset.read(record).pixels


def _probabilities(predictions: pd.DataFrame, sample: str) -> tuple[float, ...]:
    names = sorted((str(name) for name in predictions if str(name).startswith("p_")), key=lambda name: int(name[2:]))
    return tuple(float(value) for value in predictions.loc[[sample], names].to_numpy()[0])


def _explains(study: Study, probabilities: Sequence[float], target: int) -> str:
    """What the study explained of the class, as :func:`medsaliency.study.explaining.targets_of` chose it."""
    if study.explain.score == "contrast":
        others = np.array(probabilities)
        others[target] = -1
        return repr(Contrast(target, int(others.argmax())))
    return repr(Logit(target) if study.explain.score == "logit" else Probability(target))


def _scores(rows: pd.DataFrame) -> Scores:
    found: Scores = {}
    for row in rows[["method", "metric", "value", "reason"]].itertuples(index=False):
        value = float(row.value)  # type: ignore[arg-type]
        found.setdefault(str(row.method), {})[str(row.metric)] = value, str(row.reason) if math.isnan(value) else ""
    return found


def _of_file(path: Path, number: int, data_root: Path | None) -> Found:
    try:
        about = read_about(path)
        image, parts, sha256 = about["source"], about.get("parts") or [], _kept(about)
        if data_root is not None and image is not None:
            parts = [str(path) for path in _moved(about["sample"], parts or [image], sha256, data_root)]
            image, parts = parts[0], parts if about.get("parts") else []
        record = Record(
            id=about["sample"],
            label=about["target"],
            patient=about["sample"],
            image=None if image is None else Path(image),
            plane=about["plane"],
            parts=tuple(Path(part) for part in parts),
        )
        geometry = from_dict(about["geometry"])
        reading = _reading(about.get("reading"), record, geometry)
        return Found(
            sample=about["sample"],
            number=number,
            record=record,
            geometry=geometry,
            classes=tuple(about["classes"]),
            probabilities=tuple(about["probabilities"]),
            target=about["target"],
            explains=about["explains"],
            methods=dict(about["methods"]),
            architecture=about["model"]["architecture"],
            weights=about["model"]["weights"],
            version=about["medsaliency"],
            maps=_maps_of_file(path.with_suffix(".npz")),
            pixels=lambda: read_record(record, reading).pixels,
            sha256=sha256,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MedsaliencyError(
            f"{path}: expected what `medsaliency explain` writes beside its maps, got something else ({error!r}); "
            "explain the image again"
        ) from error


def _kept(about: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The digests of an original's files; None where the product is older than they are."""
    return tuple(str(digest) for digest in about["sha256"]) if "sha256" in about else None


def _moved(sample: str, files: Sequence[str], sha256: tuple[str, ...] | None, data_root: Path) -> list[Path]:
    """The files of an original in the place that is given: below it by an end of their own paths, known by content."""
    if sha256 is None or len(sha256) != len(files):
        raise MedsaliencyError(
            f"{sample}: expected digests by which its original is known below --data-root, got none from an older "
            "version; leave --data-root out, or explain the image again"
        )
    found = []
    for file, digest in zip(map(Path, files), sha256, strict=True):
        ends = [data_root.joinpath(*file.parts[start:]) for start in range(1, len(file.parts))]
        there = [end for end in ends if end.is_file() and hashlib.sha256(end.read_bytes()).hexdigest() == digest]
        if not there:
            raise MedsaliencyError(
                f"{sample}: expected the file that was explained below --data-root, got none of its name with its "
                "content; name the folder that the originals are in now, or explain the image again"
            )
        found.append(there[0])
    return found


def _reading(saved: Mapping[str, Any] | None, record: Record, geometry: Geometry) -> Reading:
    """How the file was read; where that was not kept, as its own header says."""
    known = {each.name: saved[each.name] for each in fields(Reading) if each.name in saved} if saved else {}
    if known.get("window") is not None:
        known["window"] = tuple(known["window"])
    known["planes"] = None
    known["volume"] = record.plane is None and len(geometry.native_size) == 3
    return Reading(**known)


def _maps_of_file(path: Path) -> Callable[[Sequence[str]], dict[str, FloatArray]]:
    def read(methods: Sequence[str]) -> dict[str, FloatArray]:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name], dtype=np.float32) for name in methods}
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise MedsaliencyError(
                f"{path}: expected the maps that `medsaliency explain` writes, got something else ({error!r}); explain "
                "the image again"
            ) from error

    return read
