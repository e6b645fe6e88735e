"""A dataset: a table of records, and how one of them is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsaliency.data.geometry import Fit, Size, plan, to_model
from medsaliency.data.images import to_channels
from medsaliency.types import (
    Affine,
    BoolArray,
    FloatArray,
    Geometry,
    MedsaliencyError,
    Sample,
    Slice,
    Track,
    Turn,
    silent,
)

if TYPE_CHECKING:
    from medsaliency.data.reading import Reading

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
        plane: Number, from 0, of the slice or frame in the file; None where the file is one image, or is taken whole.
        parts: Files of a volume that is kept one slice a file, in the order of the slices; ``image`` is the first.
    """

    id: str
    label: int
    patient: str
    split: str | None = None
    image: Path | None = None
    mask: Path | None = None
    boxes: tuple[Box, ...] = ()
    plane: int | None = None
    parts: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its image: its parts, or the one; none for a made image."""
        return self.parts or (() if self.image is None else (self.image,))

    def digests(self) -> list[str]:
        """SHA-256 of each of :attr:`files`, by which an export knows them again."""
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files]


@dataclass(frozen=True)
class Raw:
    """An image as read, on the file's own pixels. What else is known of them is as in ``Geometry``.

    Args:
        pixels: (C, H, W) or, for a volume, (C, D, H, W) float32 in [0, 1], axes in the file's order.
        lesion: Bool, on the same pixels, or None.
        spacing: Of pixel centers along each axis in mm, or in no unit where ``spacing_known`` is False.
        affine: From indices of the stored array to RAS+ millimeters.
        slice: The plane of a stored volume that the pixels are.
        turn: How axes are taken to show the image as it is usually viewed; None for as they are.
        spacing_known: Whether ``spacing`` is in millimeters.
    """

    pixels: FloatArray
    lesion: BoolArray | None = None
    spacing: tuple[float, ...] | None = None
    affine: Affine | None = None
    slice: Slice | None = None
    turn: Turn | None = None
    spacing_known: bool = True


@dataclass(frozen=True)
class Dataset:
    """Records of one source, the names of its classes, and the function that reads a record.

    Args:
        name: For reports.
        classes: Name of each label, in the order of the model's outputs.
        records: In the source's own order, which carries no meaning.
        read: Reads one record from its source; raises MedsaliencyError that names the file.
        reading: How its files are read, so that a model is shown others in the same way; None for what is no file.
        names_patients: Whether the source tells patients apart, though each may have a single image.
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    read: Callable[[Record], Raw]
    reading: Reading | None = None
    names_patients: bool = False

    @property
    def patients_known(self) -> bool:
        """Whether images of one patient would be seen to be."""
        return self.names_patients or any(record.patient != record.id for record in self.records)

    def sample(self, record: Record, size: Size, channels: int = 1, fit: Fit = "pad") -> Sample:
        """Read ``record`` and bring it to the model's grid of ``size`` pixels and ``channels`` channels."""
        return prepare(record, self.read(record), size, channels, fit)

    def samples(
        self,
        records: Sequence[Record],
        size: Size,
        channels: int = 1,
        track: Track = silent,
        description: str = "reading",
        *,
        fit: Fit = "pad",
    ) -> list[Sample]:
        """Read several records, in order."""
        return [self.sample(record, size, channels, fit) for record in track(records, description, len(records))]

    def of(self, split: str) -> tuple[Record, ...]:
        """The records of one split."""
        return tuple(record for record in self.records if record.split == split)

    def with_records(self, records: Iterable[Record]) -> Dataset:
        """The same source with other records (a split assigned, some left out)."""
        return replace(self, records=tuple(records))


def prepare(record: Record, raw: Raw, size: Size, channels: int = 1, fit: Fit = "pad") -> Sample:
    """Bring what was read of ``record`` to the model's grid.

    Raises:
        MedsaliencyError: If pixels are not finite, the mask has another size, or they do not fit the grid.
    """
    if not np.isfinite(raw.pixels).all():
        raise MedsaliencyError(
            f"{record.id}: expected finite pixel values, got NaN or infinity; repair or remove the image"
        )
    if raw.lesion is not None and raw.lesion.shape != raw.pixels.shape[1:]:
        raise MedsaliencyError(
            f"{record.id}: expected a lesion mask of the image's size {raw.pixels.shape[1:]} (height, width), got "
            f"{raw.lesion.shape}; the mask must be drawn on the image's own pixels"
        )
    pixels = to_channels(raw.pixels, channels, record.id)
    try:
        steps = plan(pixels.shape[1:], size, fit=fit, spacing=raw.spacing, turn=raw.turn)
    except MedsaliencyError as error:
        raise MedsaliencyError(f"{record.id}: {error}") from error
    return Sample(
        id=record.id,
        image=np.clip(to_model(pixels, steps), 0, 1),
        label=record.label,
        patient=record.patient,
        lesion=None if raw.lesion is None else to_model(raw.lesion, steps),
        geometry=Geometry(
            native_size=pixels.shape[1:],
            steps=steps,
            spacing=raw.spacing,
            source=record.id,
            affine=raw.affine,
            slice=raw.slice,
            spacing_known=raw.spacing_known,
        ),
        native_lesion=raw.lesion,
    )
