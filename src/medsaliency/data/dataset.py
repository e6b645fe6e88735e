"""A dataset: a table of records, and how one of them is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medsaliency.data.images import fit, to_channels
from medsaliency.types import BoolArray, FloatArray, MedsaliencyError, Sample, Track, silent

Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of an image, x and y of the upper left one."""
TRAINING, VALIDATION, EVALUATION = SPLITS = ("training", "validation", "evaluation")


@dataclass(frozen=True)
class Record:
    """One row of a dataset: what is known of an image before it is read.

    Args:
        id: Unique in the dataset; the path relative to its root where there is a file.
        label: Index into the dataset's classes.
        patient: Unit of splitting and resampling; the id where unknown.
        split: One of ``SPLITS``, or None where the source names none.
        image: File of the image, or None for a made one.
        mask: File of the lesion mask, or None.
        boxes: Lesion boxes where there is no mask.
    """

    id: str
    label: int
    patient: str
    split: str | None = None
    image: Path | None = None
    mask: Path | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Raw:
    """An image as read: ``pixels`` (C, H, W) float32 in [0, 1], ``lesion`` (H, W) bool or None, ``spacing`` in mm."""

    pixels: FloatArray
    lesion: BoolArray | None = None
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dataset:
    """Records of one source, the names of its classes, and the function that reads a record.

    Args:
        name: For reports.
        classes: Name of each label, in the order of the model's outputs.
        records: In the source's own order, which carries no meaning.
        read: Reads one record from its source; raises MedsaliencyError that names the file.
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    read: Callable[[Record], Raw]

    def sample(self, record: Record, size: int, channels: int = 1) -> Sample:
        """Read ``record`` and bring it to the model's grid of ``size`` x ``size`` pixels and ``channels`` channels."""
        raw = self.read(record)
        if not np.isfinite(raw.pixels).all():
            raise MedsaliencyError(
                f"{record.id}: expected finite pixel values, got NaN or infinity; repair or remove the image"
            )
        if raw.lesion is not None and raw.lesion.shape != raw.pixels.shape[1:]:
            raise MedsaliencyError(
                f"{record.id}: expected a lesion mask of the image's size {raw.pixels.shape[1:]} (height, width), got "
                f"{raw.lesion.shape}; the mask must be drawn on the image's own pixels"
            )
        image, lesion, geometry = fit(to_channels(raw.pixels, channels, record.id), raw.lesion, size)
        return Sample(
            id=record.id,
            image=image,
            label=record.label,
            patient=record.patient,
            lesion=lesion,
            geometry=replace(geometry, spacing=raw.spacing, source=record.id),
            native_lesion=raw.lesion,
        )

    def samples(
        self,
        records: Sequence[Record],
        size: int,
        channels: int = 1,
        track: Track = silent,
        description: str = "reading",
    ) -> list[Sample]:
        """Read several records, in order."""
        return [self.sample(record, size, channels) for record in track(records, description, len(records))]

    def of(self, split: str) -> tuple[Record, ...]:
        """The records of one split."""
        return tuple(record for record in self.records if record.split == split)

    def with_records(self, records: Iterable[Record]) -> Dataset:
        """The same source with other records (a split assigned, some left out)."""
        return replace(self, records=tuple(records))
