"""DICOM files as a format: one image, a frame of several, an enhanced file or a series as a volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medsaliency.data.dataset import Raw, Record
from medsaliency.data.dicom.file import frame_count, named, opened
from medsaliency.data.dicom.geometry import Plane, image_affine, planes_of, spacing_of, stack_affine
from medsaliency.data.dicom.header import DicomFault, raw_text, whole
from medsaliency.data.dicom.pixels import Frame, frames, shown
from medsaliency.data.geometry import MAX_VALUES
from medsaliency.data.orientation import spacing_of as spacing_of_affine
from medsaliency.data.orientation import volume_turn
from medsaliency.data.reading import Format, Reading, Stack
from medsaliency.types import BoolArray, Slice

if TYPE_CHECKING:
    from medsaliency.data.dicom.file import DicomFile


def stack(path: Path, name: str, reading: Reading) -> Stack | None:
    """How the frames of a file are stacked; None where it has one, or is taken whole.

    Raises:
        MedsaliencyError: If it is no image that can be read.
    """
    if reading.volume:
        return None
    with opened(path, name) as file:
        count = frame_count(file)
    return Stack(0, count) if count > 1 else None


def read(record: Record, reading: Reading) -> Raw:
    """Read an image, a frame, or a volume.

    A single image has an affine of (row, column, 0) where the file says where it lies. A frame of several (``plane``)
    is a ``Slice`` of the stored (frame, row, column), and its affine takes these. It is that of all frames where they
    are parallel and evenly spaced in their order, and otherwise one that is right for this frame and no other.

    A volume is a file of several frames in their stored order, or the parts of the record in theirs. Where there are
    positions, slices must be parallel, of one frame of reference, and evenly spaced within 1 %. Frames that the file
    gives no place, or all the same (a film), have neither spacing nor affine.

    Raises:
        MedsaliencyError: If a file is no image, damaged or too large, or its slices make no volume.
    """
    if record.parts and record.plane is None:
        with named(record.id):
            return _series(record, reading)
    assert record.image is not None  # noqa: S101  # every source of files sets it
    with opened(record.image, record.id) as file:
        count = frame_count(file)
        if reading.volume and record.plane is None:
            return _whole(file, count, reading)
        if record.plane is None and count > 1:
            raise DicomFault(f"expected one image, got {count} frames; say which with the column plane, or planes: all")
        index = record.plane or 0
        if index >= count:
            raise DicomFault(f"expected a plane below the number of frames {count}, got {index}; correct it")
        pixels = shown(list(frames(file, [index], count)), reading.window)
        spacing, known = spacing_of(file.header, index)
        planes = planes_of(file.header, count)
        if record.plane is None:
            affine = image_affine(planes[0]) if planes else None
            return Raw(pixels, spacing=spacing, affine=affine, spacing_known=known)
        affine = (stack_affine(planes)[0] or image_affine(planes[index], index)) if planes else None
        place = Slice(0, index, (count, *pixels.shape[1:]))
        return Raw(pixels, spacing=spacing, affine=affine, slice=place, spacing_known=known)


def lesion(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    """The mask of a DICOM SEG or RTSTRUCT on the image's pixels."""
    from medsaliency.data.dicom.masks import lesion as mask_of

    found: BoolArray = mask_of(record, raw, reading)
    return found


def _whole(file: DicomFile, count: int, reading: Reading) -> Raw:
    if count < 2:
        raise DicomFault(
            "expected a file of several frames, or a series, for a volume, got one image; leave volume out"
        )
    _check_size(whole(file.header, "Rows") * whole(file.header, "Columns") * count)
    planes = planes_of(file.header, count)
    if planes and all(plane.position == planes[0].position for plane in planes):
        planes = None
    return _volume(list(frames(file, range(count), count)), planes, reading)


def _series(record: Record, reading: Reading) -> Raw:
    """The volume of a record's parts."""
    found: list[Frame] = []
    planes: list[Plane] = []
    references = set()
    for part in record.parts:
        with opened(part, f"{record.id}: {part.name}") as file:
            if frame_count(file) != 1:
                raise DicomFault("expected a series of one slice a file, got a file of several frames; read it alone")
            _check_size(whole(file.header, "Rows") * whole(file.header, "Columns") * len(record.parts))
            plane = planes_of(file.header, 1)
            if not plane:
                raise DicomFault("expected a slice with position, orientation and spacing, got none; leave volume out")
            planes += plane
            references.add(raw_text(file.header, "FrameOfReferenceUID"))
            found += frames(file, [0], 1)
    if len({frame.stored.shape for frame in found}) > 1:
        raise DicomFault("expected slices of one size and kind, got several; leave volume out")
    if len(references) > 1:
        raise DicomFault("expected slices of one frame of reference, got several; leave volume out")
    return _volume(found, planes, reading)


def _volume(found: list[Frame], planes: list[Plane] | None, reading: Reading) -> Raw:
    pixels = shown(found, reading.window)
    if not planes:
        return Raw(pixels)
    affine, reason = stack_affine(planes)
    if affine is None:
        raise DicomFault(f"{reason}; complete the series, or read it slice by slice")
    return Raw(pixels, spacing=spacing_of_affine(affine), affine=affine, turn=volume_turn(affine))


def _check_size(values: int) -> None:
    if values > MAX_VALUES:
        raise DicomFault(f"expected a volume of at most {MAX_VALUES:,} pixels, got {values:,}; read slices")


DICOM = Format((".dcm", ".dicom", ".ima"), stack, read, lesion)
