"""MetaImage and NRRD files, read by SimpleITK once their headers have been looked through."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data import volumes
from medsaliency.data.dataset import Raw, Record
from medsaliency.data.itk_headers import Header, check_packed, read_header
from medsaliency.data.orientation import fault_of, from_lps
from medsaliency.data.reading import Format, Reading, Stack
from medsaliency.types import Affine, BoolArray, MedsaliencyError

_UPRIGHT = from_lps([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
"""Slices from the feet up, rows from the front back, columns from the patient's right to left: identity in ITK."""
_PICTURE = from_lps([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])


def stack(path: Path, name: str, reading: Reading) -> Stack | None:
    """How the slices of a file lie in its array (slice, row, column), along the axis that ``reading.view`` cuts."""
    return volumes.stack(open_stored(path, name), reading)


def read(record: Record, reading: Reading) -> Raw:
    """Read a 2D image, a slice, or a volume.

    Raises:
        MedsaliencyError: If the file is no image or volume, is cut off or damaged, or keeps its voxels elsewhere than
            beside it.
    """
    assert record.image is not None  # noqa: S101  # every source of files sets it
    return volumes.image(open_stored(record.image, record.id), record, reading)


def lesion(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    """Read a mask: every value above zero is lesion.

    Raises:
        MedsaliencyError: As :func:`read`, or if the mask does not fit the image.
    """
    del reading
    assert record.mask is not None  # noqa: S101  # the caller has seen it
    return volumes.mask(open_stored(record.mask, f"{record.id}: mask {record.mask.name}"), record, raw)


def open_stored(path: Path, name: str) -> volumes.Stored:
    """Read the header. The stored array is SimpleITK's (slice, row, column); its LPS+ becomes an RAS+ affine.

    A 2D image has no affine; neither has a MetaImage without TransformMatrix, or an NRRD file without a space of the
    patient. They are shown as they are stored.

    Raises:
        MedsaliencyError: If no image can be had of it.
    """
    if not path.is_file():
        raise MedsaliencyError(f"{name}: no such image file; check the path")
    kind, header = read_header(path, name)
    reader = _reader(path, kind)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(name, error) from error
    size, channels, dtype = reader.GetSize(), reader.GetNumberOfComponents(), _dtype(reader)
    if math.prod(size) * channels != math.prod(header.sizes):
        raise MedsaliencyError(
            f"{name}: expected {math.prod(header.sizes):,} numbers as its header says, got {size} of {channels}; the "
            "header is damaged, replace the file"
        )
    color = channels in (3, 4) and dtype == np.uint8
    if dtype is None or not (color or channels == 1):
        raise MedsaliencyError(
            f"{name}: expected one real number a voxel or 8-bit color, got {channels} of {dtype or 'another kind'}; "
            "save the image that is meant as its own file"
        )
    shape = tuple(reversed(size[:3] if len(size) == 4 and size[3] == 1 else size))
    affine, spacing = _place(reader, header, name) if len(shape) in (2, 3) else (None, None)
    return volumes.Stored(
        name=name,
        shape=shape,
        affine=affine,
        assumed=affine or (_PICTURE if len(shape) == 2 else _UPRIGHT),
        spacing=spacing,
        color=color,
        columns_first=False,
        size=header.size,
        length=header.length,
        packed=header.packed,
        load=partial(_load, path, name, kind, header, size, len(shape)),
        units=_same,
    )


def _reader(path: Path, kind: str) -> Any:
    import SimpleITK

    kinds: Any = SimpleITK  # its calls carry no types
    reader = kinds.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    return reader


def _dtype(reader: Any) -> np.dtype[Any] | None:
    """The type of the numbers, or None of complex ones and labels."""
    import SimpleITK

    kinds: Any = SimpleITK
    named = kinds.GetPixelIDValueAsString(reader.GetPixelID()).removeprefix("vector of ")
    found = re.fullmatch(r"(?:(\d+)-bit (un)?signed (?:integer|char)|(\d+)-bit float)", named)
    if found is None:
        return None
    whole, unsigned, real = found.groups()
    return np.dtype(f"f{int(real) // 8}" if real else f"{'u' if unsigned else 'i'}{int(whole) // 8}")


def _place(reader: Any, header: Header, name: str) -> tuple[Affine | None, tuple[float, ...] | None]:
    """The affine of a volume, and the spacing of an array, or None for what is unknown."""
    dimensions = reader.GetDimension()
    spacing = np.array(reader.GetSpacing()) * header.unit
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)
    known = tuple(spacing[:3][::-1].tolist()) if header.spaced else None
    if dimensions == 2 or not (header.placed and header.spaced):
        return None, known
    columns = (direction * spacing)[:3, :3][:, ::-1]
    origin = np.array(reader.GetOrigin())[:3, None] * header.unit
    affine = from_lps(np.hstack([columns, origin]))
    if fault := fault_of(affine):
        raise MedsaliencyError(f"{name}: expected axes of a scan, got a header where {fault}; correct it")
    return affine, known


def _load(
    path: Path,
    name: str,
    kind: str,
    header: Header,
    size: tuple[int, ...],
    dimensions: int,
    axis: int | None,
    index: int,
) -> NDArray[Any]:
    """Stored numbers of a plane, or of all."""
    import SimpleITK

    if header.packed:
        check_packed(header, name)
    reader = _reader(path, kind)
    if axis is not None:
        extent, start = list(size), [0] * len(size)
        extent[dimensions - 1 - axis], start[dimensions - 1 - axis] = 1, index
        reader.SetExtractSize(extent)
        reader.SetExtractIndex(start)
    try:
        numbers: NDArray[Any] = SimpleITK.GetArrayFromImage(reader.Execute())
    except (RuntimeError, MemoryError) as error:
        raise _unreadable(name, error) from error
    if len(size) > dimensions:
        numbers = numbers[0]
    return numbers if axis is None else numbers[(slice(None),) * axis + (0,)]


def _same(numbers: NDArray[Any]) -> NDArray[Any]:
    return numbers


def _unreadable(name: str, error: Exception) -> MedsaliencyError:
    """SimpleITK's text of many lines, of which the last says what is wrong."""
    said = re.split(r"(?:ERROR: |\(0x[0-9a-f]+\): )", " ".join(str(error).split()))[-1]
    return MedsaliencyError(f"{name}: cannot be read by SimpleITK ({said[:200]}); replace or remove the file")


ITK = Format((".mha", ".mhd", ".nrrd", ".nhdr"), stack, read, lesion)
