"""What a model says of a study's images, batch by batch, and what is kept of each image that it has seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Record
from medsaliency.data.geometry import to_dict
from medsaliency.data.itk_headers import read_header
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure, failure_table, reason_of
from medsaliency.study.reading import predict
from medsaliency.types import MedsaliencyError, Sample

BATCH = 32
"""Images in one task. It is the same everywhere, so that the numbers are."""
STAGES = {TRAINING: "training", VALIDATION: "calibrating", EVALUATION: "predicting"}
"""In which stage the images of a split are read."""
Tables = dict[str, pd.DataFrame]


def read_each(
    study: Study, dataset: Dataset, records: Sequence[Record], given_up: Callable[[], bool] = lambda: False
) -> tuple[list[Sample | None], dict[int, str]]:
    """Read images; one that cannot be read is None, with the reason by its place.

    Args:
        study: How they are read.
        dataset: Where from.
        records: Which.
        given_up: Asked before each image whether nobody waits for it any more; the rest is then left unread.
    """
    samples: list[Sample | None] = []
    unread: dict[int, str] = {}
    for place, record in enumerate(records):
        if given_up():
            break
        try:
            samples.append(dataset.sample(record, study.data.size, study.data.channels, study.data.fit))
        except Exception as error:  # noqa: BLE001  # told of the image: the rest of the study goes on
            samples.append(None)
            unread[place] = reason_of(error)
    return samples, unread


def predict_batch(
    classifier: Classifier, records: Sequence[Record], samples: Sequence[Sample | None], unread: dict[int, str]
) -> Tables:
    """Put a batch before the model.

    Returns:
        ``predictions``: columns sample, patient, label, predicted (class indices) and p_0 ... p_{K-1}; ``images``:
        columns sample, sha256 (of what the model and the metrics see of it) and geometry (JSON);
        ``failures``: of images that could not be read or put before the model. One row an image each.
    """
    why = dict(unread)
    try:
        predictions = predict(classifier, [sample for sample in samples if sample is not None])
    except Exception:  # noqa: BLE001  # which image it was is found out here
        alone = []
        for place, sample in enumerate(samples):
            try:
                alone += [] if sample is None else [predict(classifier, [sample])]
            except Exception as error:  # noqa: BLE001  # told of the image
                why[place] = reason_of(error)
        predictions = pd.concat(alone or [predict(classifier, [])], ignore_index=True)
    images = pd.DataFrame(
        [
            (record.id, sample_digest(sample), json.dumps(to_dict(sample.geometry)))
            for place, (record, sample) in enumerate(zip(records, samples, strict=True))
            if sample is not None and place not in why
        ],
        columns=["sample", "sha256", "geometry"],
    )
    failures = [_failure(records[place], why[place]) for place in sorted(why)]
    return {"predictions": predictions, "images": images, "failures": failure_table(failures)}


def stamped(tables: Mapping[str, pd.DataFrame], stamps: Mapping[str, str]) -> Tables:
    """The tables of a batch, with the ``stamp`` that each of its images had before it was read."""
    images = tables["images"]
    return {**tables, "images": images.assign(stamp=images["sample"].map(dict(stamps)))}


def none_of(records: Sequence[Record], classes: int, reason: str) -> Tables:
    """The tables of a batch of which the model said nothing, as its worker ended."""
    of_classes = [f"p_{k}" for k in range(classes)]
    return {
        "predictions": pd.DataFrame(columns=["sample", "patient", "label", "predicted", *of_classes]),
        "images": pd.DataFrame(columns=["sample", "sha256", "geometry"]),
        "failures": failure_table([_failure(record, reason, "worker") for record in records]),
    }


def joined(parts: Iterable[Tables], records: Sequence[Record]) -> Tables:
    """The tables of several batches, in the order of the images."""
    every, places = list(parts), {record.id: place for place, record in enumerate(records)}
    found = {}
    for name in every[0]:
        filled = [part[name] for part in every if len(part[name])]
        table = pd.concat(filled or [every[0][name]], ignore_index=True)
        order = table["sample"].map(places).sort_values(kind="stable").index
        found[name] = table.loc[order].reset_index(drop=True)
    return found


def sample_digest(sample: Sample) -> str:
    """SHA-256 of what the model sees of an image, and metrics of its lesion."""
    found = hashlib.sha256(f"{sample.image.shape}\n".encode())
    found.update(np.ascontiguousarray(sample.image, dtype="<f4").tobytes())
    if sample.native_lesion is not None:
        found.update(f"{sample.native_lesion.shape}\n".encode())
        found.update(np.packbits(sample.native_lesion).tobytes())
    return found.hexdigest()


def stamp(record: Record) -> str:
    """Size and time of change of an image's files and its mask's, and its boxes: by it a change is noticed unread.

    Empty for a made image, and ``missing`` where a file is.
    """
    parts = [repr(record.boxes)] if record.boxes else []
    for path in (*record.files, *([] if record.mask is None else [record.mask])):
        try:
            for file in (path, *_voxels_of(path)):
                found = file.stat()
                parts.append(f"{found.st_size}:{found.st_mtime_ns}")
        except OSError:
            return "missing"
    return " ".join(parts)


def _voxels_of(path: Path) -> list[Path]:
    """The file that has the voxels, where a header names another."""
    if path.suffix.lower() not in (".mhd", ".nhdr", ".mha", ".nrrd"):
        return []
    try:
        data = read_header(path, path.name)[1].data
    except MedsaliencyError:  # told when the image is read
        return []
    return [data] if data != path else []


def _failure(record: Record, reason: str, kind: str = "image") -> Failure:
    return Failure(STAGES[record.split or EVALUATION], record.id, kind, "", "", reason)
