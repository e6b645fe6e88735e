"""A study's images, and what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medsaliency.data import MADE, open_source
from medsaliency.data.dataset import Dataset
from medsaliency.data.splits import split
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.types import MedsaliencyError, Sample, Track, silent


def load_data(study: Study) -> Dataset:
    """Open the study's source and give every record a split."""
    root = Path(study.data.root) if study.data.root is not None else None
    options = dict(study.data.options)
    if study.data.source in MADE:
        options = {"seed": study.seed, "size": study.data.size, **options}
    elif root is None:
        raise MedsaliencyError(f"study {study.name!r}: expected data.root for its images; give --data-root FOLDER")
    dataset = open_source(root, study.data.source, **options)
    return split(dataset, seed=study.seed, validation=study.data.validation, evaluation=study.data.evaluation)


def read_split(study: Study, dataset: Dataset, name: str, track: Track = silent) -> list[Sample]:
    """Read all images of one split into memory."""
    data = study.data
    return dataset.samples(dataset.of(name), data.size, data.channels, track, f"reading {name} images", fit=data.fit)


def predict(classifier: Classifier, samples: Sequence[Sample], track: Track = silent) -> pd.DataFrame:
    """Columns sample, patient, label, predicted (class indices) and p_0 ... p_{K-1}, one row a sample."""
    size = classifier.batch_size
    starts = range(0, len(samples), size)
    parts = [np.empty((0, len(classifier.classes)), np.float32)]
    for start in track(starts, "predicting", len(starts)):
        images, _ = stack(samples[start : start + size])
        parts.append(classifier.probabilities(images).cpu().numpy())
    probabilities = np.concatenate(parts)
    table = pd.DataFrame(
        {
            "sample": [sample.id for sample in samples],
            "patient": [sample.patient for sample in samples],
            "label": [sample.label for sample in samples],
            "predicted": probabilities.argmax(axis=1),
        }
    )
    return table.assign(**{f"p_{k}": probabilities[:, k] for k in range(probabilities.shape[1])})


def stack(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, H, W) float32 and labels (N,) int64 (-1 where unknown)."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    labels = torch.tensor([-1 if sample.label is None else sample.label for sample in samples])
    return images, labels


def default_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
