"""NIfTI-1 and NIfTI-2 files, plain or gzipped: nibabel reads the header, and numbers are taken when asked for."""

from __future__ import annotations

import gzip
import logging
import math
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data import volumes
from medsaliency.data.dataset import Raw, Record
from medsaliency.data.orientation import affine_of, fault_of, spacing_of
from medsaliency.data.reading import Format, Reading, Stack
from medsaliency.types import Affine, BoolArray, MedsaliencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

MILLIMETERS = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""Of each unit of length that a header may name; one that names none means millimeters by custom."""
_ANALYZE = affine_of(np.diag([-1.0, 1.0, 1.0, 1.0]))
CHUNK = 2**20
"""Bytes taken from a gzipped file at a time."""


def stack(path: Path, name: str, reading: Reading) -> Stack | None:
    """How the slices of a file lie in its array, along the axis that ``reading.view`` cuts across."""
    return volumes.stack(open_stored(path, name), reading)


def read(record: Record, reading: Reading) -> Raw:
    """Read a 2D image, a slice, or a volume.

    Raises:
        MedsaliencyError: If the file is no NIfTI file of one image or volume, is cut off, or has a damaged header.
    """
    assert record.image is not None  # noqa: S101  # every source of files sets it
    with _readable(record.id):
        return volumes.image(open_stored(record.image, record.id), record, reading)


def lesion(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    """Read a mask: every value above zero is lesion.

    Raises:
        MedsaliencyError: As :func:`read`, or if the mask does not fit the image.
    """
    del reading
    assert record.mask is not None  # noqa: S101  # the caller has seen it
    name = f"{record.id}: mask {record.mask.name}"
    with _readable(name):
        return volumes.mask(open_stored(record.mask, name), record, raw)


def open_stored(path: Path, name: str) -> volumes.Stored:
    """Read the header.

    The affine is nibabel's: sform, else qform, in millimeters. Where both codes are 0 the file does not say where it
    lies; it is then shown as ANALYZE has it (first axis to the left, then front, then head), and no affine is given.

    Raises:
        MedsaliencyError: If no image can be had of it.
    """
    if not path.is_file():
        raise MedsaliencyError(f"{name}: no such image file; check the path")
    with _readable(name):
        header, packed, distances = _header(path, name)
        shape = tuple(header.get_data_shape())
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) > 3:
            raise MedsaliencyError(
                f"{name}: expected one image or volume, got {' x '.join(map(str, shape))} (a series in time, of "
                "directions or of vectors); save the volume that is meant as its own file"
            )
        dtype = header.get_data_dtype()
        color = dtype.fields is not None and set(dtype.fields) <= set("RGBA")
        if not color and (dtype.kind not in "biuf" or dtype.itemsize > 8):
            raise MedsaliencyError(
                f"{name}: expected real numbers of at most 64 bits, or color, got {dtype}; convert the file"
            )
        affine, spacing = _place(header, shape, name)
        if affine is None and not all(distances[: len(shape)]):
            spacing = None
        offset, (slope, inter) = int(header.get_data_offset()), header.get_slope_inter()
        return volumes.Stored(
            name=name,
            shape=shape,
            affine=affine,
            assumed=affine or _ANALYZE,
            spacing=spacing,
            color=color,
            columns_first=True,
            size=math.prod(shape) * dtype.itemsize,
            length=path.stat().st_size - (0 if packed else offset),
            packed=packed,
            load=partial(_load, path, name, shape, dtype, offset, packed),
            units=partial(_units, slope=slope, inter=inter),
        )


def _place(header: Any, shape: tuple[int, ...], name: str) -> tuple[Affine | None, tuple[float, ...] | None]:
    """The affine, or None where the header has none, and the spacing of an array, or None where it has none either."""
    unit = MILLIMETERS.get(header.get_xyzt_units()[0], 1.0)
    matrix = np.array(header.get_best_affine(), np.float64)
    matrix[:3] *= unit
    columns = matrix[:3, :3]
    for axis in range(3):  # a lone plane often has no thickness, and needs none
        if (axis >= len(shape) or shape[axis] == 1) and not np.linalg.norm(columns[:, axis]) > 0:
            normal = np.cross(columns[:, axis - 2], columns[:, axis - 1])
            columns[:, axis] = normal / (np.linalg.norm(normal) or 1.0)
    affine = affine_of(matrix)
    fault = fault_of(affine)
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        return None, None if fault else spacing_of(affine)[: len(shape)]
    if fault:
        raise MedsaliencyError(f"{name}: expected an affine of a scan, got one where {fault}; correct the header")
    return affine, spacing_of(affine)[: len(shape)]


def _header(path: Path, name: str) -> tuple[Any, bool, tuple[float, ...]]:
    """The header; whether the file is gzipped, whatever its name; and its distances, of which nibabel makes 0 to 1."""
    import nibabel

    kinds: Any = nibabel
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with _opened(path, packed) as file:
        start = file.read(540)
    if start[344:347] == b"n+1":
        header = kinds.Nifti1Header(start[:348], check=False)
    elif start[4:7] == b"n+2" and len(start) == 540:
        header = kinds.Nifti2Header(start, check=False)
    else:
        raise MedsaliencyError(
            f"{name}: expected a NIfTI file with its voxels in it, got another or a damaged file; convert or replace it"
        )
    distances = tuple(float(distance) for distance in header["pixdim"][1:4])
    log = logging.Logger("medsaliency.nifti")  # nibabel's own prints what it mends
    log.addHandler(logging.NullHandler())
    header.check_fix(logger=log)
    return header, packed, distances


def _opened(path: Path, packed: bool) -> IO[bytes]:
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _load(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    offset: int,
    packed: bool,
    axis: int | None,
    index: int,
) -> NDArray[Any]:
    """Stored numbers of a plane or of all: mapped from a plain file, and no more than these held of a gzipped one."""
    if dtype.fields is not None:
        samples = (len(dtype.fields), *shape)
        plane = None if axis is None else axis + 1
        numbers = _load(path, name, samples, np.dtype(np.uint8), offset, packed, plane, index)
        return np.moveaxis(numbers, 0, -1)
    if not packed:
        mapped = np.memmap(path, dtype, "r", offset, shape, "F")
        return mapped if axis is None else mapped[(slice(None),) * axis + (index,)]
    last = axis is not None and axis == len(shape) - 1
    wanted = shape[:-1] if last else shape
    held = np.empty(math.prod(wanted) * dtype.itemsize, np.uint8)
    with gzip.open(path, "rb") as file:
        skip = offset + (index * held.size if last else 0)
        while skip > 0 and (passed := len(file.read(min(CHUNK, skip)))):
            skip -= passed
        filled, view = 0, held.data
        while filled < held.size and (got := file.readinto(view[filled : filled + CHUNK])):
            filled += got
        if skip or filled < held.size:
            raise MedsaliencyError(
                f"{name}: expected {held.size:,} bytes of voxels, got {filled:,}; it is cut off, copy it again"
            )
        if not last:
            file.read(1)  # at the end, where the checksum is compared
    numbers = held.view(dtype).reshape(wanted, order="F")
    return numbers if axis is None or last else numbers[(slice(None),) * axis + (index,)]


def _units(numbers: NDArray[Any], slope: float | None, inter: float | None) -> NDArray[Any]:
    from nibabel.volumeutils import apply_read_scaling

    return np.asarray(apply_read_scaling(numbers, slope, inter))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever a damaged file makes nibabel, gzip or numpy raise becomes one line that begins with ``name``."""
    try:
        yield
    except MedsaliencyError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise MedsaliencyError(f"{name}: cannot be read as NIfTI ({said}); replace or remove it") from error


NIFTI = Format((".nii", ".nii.gz"), stack, read, lesion)
