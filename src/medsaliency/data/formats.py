"""The formats of files that hold images. To add one, write its file and a line in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medsaliency.data.dataset import Raw, Record
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.images import IMAGE_SUFFIXES, read_image, read_mask
from medsaliency.data.itk import ITK
from medsaliency.data.nifti import NIFTI
from medsaliency.data.reading import Format, Reading, Stack
from medsaliency.types import BoolArray, MedsaliencyError


def _one(path: Path, name: str, reading: Reading) -> Stack | None:
    """A picture is one image: files of several are refused when they are read."""
    del path, name, reading
    return None


def _picture(record: Record, reading: Reading) -> Raw:
    assert record.image is not None  # noqa: S101  # every source of files sets it
    if record.plane is not None:
        raise MedsaliencyError(f"{record.id}: expected no plane for a picture, got {record.plane}; leave it empty")
    if reading.volume:
        raise MedsaliencyError(f"{record.id}: expected a file of a volume, got a picture; leave volume out")
    return Raw(read_image(record.image, source=record.id))


def _drawn(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    del raw, reading
    assert record.mask is not None  # noqa: S101  # the caller has seen it
    return read_mask(record.mask, source=f"{record.id}: mask {record.mask.name}")


PICTURE = Format(IMAGE_SUFFIXES, _one, _picture, _drawn)
FORMATS: dict[str, Format] = {"picture": PICTURE, "dicom": DICOM, "nifti": NIFTI, "itk": ITK}
"""Every format by name; a file whose suffix none of them has is DICOM if it says so itself, else a picture."""
SUFFIXES = tuple(suffix for kind in FORMATS.values() for suffix in kind.suffixes)


def format_of(path: Path) -> Format:
    """The format of a file, by its suffix, or by what a DICOM file begins with (they often have none)."""
    for kind in FORMATS.values():
        if path.name.lower().endswith(kind.suffixes):
            return kind
    try:
        if not path.is_file():  # a pipe would be waited for
            return PICTURE
        with path.open("rb") as file:
            return DICOM if file.read(132)[128:] == b"DICM" else PICTURE
    except OSError:
        return PICTURE  # which says what is wrong with the file when it is read


def is_image(path: Path) -> bool:
    """Whether a file may hold an image, by its suffix; a DICOM file without one is found by its content."""
    return path.name.lower().endswith(SUFFIXES) or format_of(path) is DICOM


def read_record(record: Record, reading: Reading) -> Raw:
    """Read the image of a record, and its mask or boxes where it has them.

    Raises:
        MedsaliencyError: If a file cannot be read as it should, or a box leaves the image.
    """
    assert record.image is not None  # noqa: S101  # every source of files sets it
    raw = format_of(record.image).read(record, reading)
    if record.boxes:
        return replace(raw, lesion=_boxes(record, raw.pixels.shape[1:]))
    if record.mask is None:
        return raw
    return replace(raw, lesion=format_of(record.mask).lesion(record, raw, reading))


def planes_of(record: Record, reading: Reading) -> list[int | None]:
    """The planes of a record's file that become images: ``[None]`` where it is one, or is taken whole.

    Raises:
        MedsaliencyError: If the file has several and the reading does not say which, or asks for those with a lesion
            where there is no mask.
    """
    assert record.image is not None  # noqa: S101  # every source of files sets it
    stack = format_of(record.image).stack(record.image, record.id, reading)
    if stack is None:
        return [None]
    if reading.planes is None:
        raise MedsaliencyError(
            f"{record.id}: expected one image, got a file of {stack.count} slices or frames; say which with the column "
            "plane (from 0), or for all files with planes: all, middle or lesion, or take them whole with volume: true"
        )
    if reading.planes == "all":
        return list(range(stack.count))
    if reading.planes == "middle":
        return [stack.count // 2]
    if record.mask is None:
        raise MedsaliencyError(f"{record.id}: expected a mask, whose planes are asked for, got none; add it")
    whole = replace(reading, volume=True, planes=None)
    lesion = read_record(replace(record, plane=None), whole).lesion
    assert lesion is not None  # noqa: S101  # the record has a mask
    others = tuple(axis for axis in range(lesion.ndim) if axis != stack.axis)
    return [int(plane) for plane in np.flatnonzero(lesion.any(axis=others))]


def _boxes(record: Record, size: Sequence[int]) -> BoolArray:
    """The mask (H, W) of a record's boxes."""
    if len(size) != 2:
        raise MedsaliencyError(f"{record.id}: expected boxes for an image, got a volume; give it a mask")
    mask = np.zeros(size, dtype=np.bool_)
    height, width = size
    for x, y, across, down in record.boxes:
        if x + across > width or y + down > height:
            raise MedsaliencyError(
                f"{record.id}: expected boxes inside the image of {width} x {height} pixels, got x {x} y {y} width "
                f"{across} height {down}; give them in pixels of this very file"
            )
        mask[y : y + down, x : x + across] = True
    return mask
