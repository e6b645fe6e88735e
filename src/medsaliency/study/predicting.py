"""What a model says of a study's images, batch by batch, and what is kept of each image that it has seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Record
from medsaliency.data.geometry import to_dict
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure, failure_table, reason_of
from medsaliency.study.reading import stack
from medsaliency.types import MedsaliencyError, Sample

BATCH = 32
"""Images in one task. It is the same everywhere, so that the numbers are."""
STAGES = {TRAINING: "training", VALIDATION: "calibrating", EVALUATION: "predicting"}
"""In which stage the images of a split are read."""
Tables = dict[str, pd.DataFrame]


def read_each(study: Study, dataset: Dataset, records: Sequence[Record]) -> tuple[list[Sample | None], dict[int, str]]:
    """Read images; one that cannot be read is None, with the reason by its place."""
    samples: list[Sample | None] = []
    unread: dict[int, str] = {}
    for place, record in enumerate(records):
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
        columns sample, sha256 (of what the model and the metrics see of it), stamp (of its files) and geometry (JSON);
        ``failures``: of images that could not be read or put before the model. One row an image each.
    """
    places = [place for place, sample in enumerate(samples) if sample is not None]
    seen: dict[int, np.ndarray] = {}
    why = dict(unread)
    try:
        seen.update(zip(places, _probabilities(classifier, [samples[i] for i in places]), strict=True))
    except Exception:  # noqa: BLE001  # which image it was is found out here
        for place in places:
            try:
                seen[place] = _probabilities(classifier, [samples[place]])[0]
            except Exception as error:  # noqa: BLE001  # told of the image
                why[place] = reason_of(error)
    rows = [(i, records[i], samples[i], seen[i]) for i in sorted(seen)]
    predictions = pd.DataFrame(
        {
            "sample": [record.id for _, record, _, _ in rows],
            "patient": [record.patient for _, record, _, _ in rows],
            "label": [record.label for _, record, _, _ in rows],
            "predicted": [int(own.argmax()) for _, _, _, own in rows],
            **{f"p_{k}": [own[k] for _, _, _, own in rows] for k in range(len(classifier.classes))},
        }
    )
    images = pd.DataFrame(
        [
            (record.id, sample_digest(sample), stamp(record), json.dumps(to_dict(sample.geometry)))
            for _, record, sample, _ in rows
            if sample is not None
        ],
        columns=["sample", "sha256", "stamp", "geometry"],
    )
    failures = [_failure(records[place], why[place]) for place in sorted(why)]
    return {"predictions": predictions, "images": images, "failures": failure_table(failures)}


def joined(parts: Iterable[Tables]) -> Tables:
    """The tables of several batches, in their order."""
    every = list(parts)
    return {name: pd.concat([part[name] for part in every], ignore_index=True) for name in every[0]}


def sample_digest(sample: Sample) -> str:
    """SHA-256 of what the model sees of an image, and metrics of its lesion."""
    found = hashlib.sha256(f"{sample.image.shape}\n".encode())
    found.update(np.ascontiguousarray(sample.image, dtype="<f4").tobytes())
    if sample.native_lesion is not None:
        found.update(f"{sample.native_lesion.shape}\n".encode())
        found.update(np.packbits(sample.native_lesion).tobytes())
    return found.hexdigest()


def stamp(record: Record) -> str:
    """Size and time of change of an image's files and its mask's, by which a changed file is noticed unread.

    Empty for a made image, and ``missing`` where a file is.
    """
    parts = []
    for path in (*record.files, *([] if record.mask is None else [record.mask])):
        try:
            found = path.stat()
        except OSError:
            return "missing"
        parts.append(f"{found.st_size}:{found.st_mtime_ns}")
    return " ".join(parts)


def _probabilities(classifier: Classifier, samples: Sequence[Sample | None]) -> np.ndarray:
    if not samples:
        return np.empty((0, len(classifier.classes)), np.float32)
    images, _ = stack([sample for sample in samples if sample is not None])
    found: np.ndarray = classifier.probabilities(images).cpu().numpy()
    if not np.isfinite(found).all():
        raise MedsaliencyError("expected finite probabilities of the model, got NaN or infinity")
    return found


def _failure(record: Record, reason: str) -> Failure:
    return Failure(STAGES[record.split or EVALUATION], record.id, "image", "", "", reason)


def as_rows(failures: pd.DataFrame) -> list[Failure]:
    """The failures of a table of :func:`failure_table`."""
    names = list(asdict(Failure("", "", "", "", "", "")))
    return [Failure(*row) for row in failures[names].itertuples(index=False, name=None)]
