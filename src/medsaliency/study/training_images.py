"""Images to train on, kept in a file rather than in memory, so that a training may have more than fit there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medsaliency.data.dataset import Dataset
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure
from medsaliency.study.predicting import STAGES, read_each
from medsaliency.types import MedsaliencyError, Track, silent


@contextmanager
def images_of(
    study: Study,
    dataset: Dataset,
    split: str,
    folder: Path,
    track: Track = silent,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The images of a split, read once, in a file that the system maps into memory as it is needed.

    The file has no name: it is gone with the process, however that ends.

    Args:
        study: How images are read.
        dataset: Where from.
        split: Which.
        folder: Where there is room for them; it must exist.
        track: Shows progress.
        failed: Told of an image that cannot be read, which is left out.

    Yields:
        Images (N, C, H, W) float32 and labels (N,) int64.

    Raises:
        MedsaliencyError: If no image of the split can be read.
    """
    records = dataset.of(split)
    labels: list[int] = []
    shape: tuple[int, ...] | None = None
    with tempfile.TemporaryFile(dir=folder) as file:
        for record in track(records, f"reading {split} images", len(records)):
            (sample,), unread = read_each(study, dataset, [record])
            if sample is None:
                failed(Failure(STAGES[split], record.id, "image", "", "", unread[0]))
                continue
            if shape is None:
                shape = sample.image.shape
            if sample.image.shape != shape:
                reason = f"expected an image of the shape {shape} of those before, got {sample.image.shape}"
                failed(Failure(STAGES[split], record.id, "image", "", "", reason))
                continue
            file.write(np.ascontiguousarray(sample.image).tobytes())
            labels.append(record.label)
        file.flush()
        if shape is None:
            raise MedsaliencyError(
                f"{dataset.name}: expected {split} images, got none that can be read of {len(records)}; see "
                "`medsaliency data check` for what is wrong with them"
            )
        # A private mapping: torch asks for an array that may be written, and the file stays as it is.
        images = np.memmap(file, np.float32, "c", shape=(len(labels), *shape))
        yield torch.from_numpy(images), torch.tensor(labels)
