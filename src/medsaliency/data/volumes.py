"""Arrays that a file keeps with their place in a patient: how they become images and masks, whatever the format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dataset import Raw, Record
from medsaliency.data.geometry import MAX_VALUES
from medsaliency.data.orientation import axis_of, plane_turn, volume_turn
from medsaliency.data.reading import Reading, Stack, View, Window
from medsaliency.types import Affine, BoolArray, FloatArray, MedsaliencyError, Slice

Numbers = NDArray[Any]
PLAIN_BYTES = 128 * 2**20
"""Decompressed bytes of an image that are taken however small its file is."""
EXPANSION = 100
"""Times its file's length that a larger image may decompress to: scans grow two to ten times, bombs a thousand."""
DEFLATE = 1032
"""Times its length that deflated data can grow to at most (zlib, technical details)."""
OFF_GRID = 0.1
"""Of a voxel: corners of a mask may be that far from the image's. Headers keep 32-bit numbers, and round."""
COLUMNS_FIRST = (".nii", ".nii.gz")
"""Suffixes of formats whose first axis runs along the rows of a picture; that of all others runs across them."""
BLOCK = 2**22
"""Values that are turned into the file's units at a time."""


@dataclass(frozen=True)
class Stored:
    """A file's array before it is read.

    Args:
        name: For errors.
        shape: Of two or three axes in the file's own order, without that of color.
        affine: From indices (and 0 for a third that is missing) to RAS+ millimeters, or None where the file does not
            say.
        assumed: The affine by which the array is cut and shown: ``affine``, or what its format means by none.
        spacing: Along each axis in millimeters, or None where unknown.
        color: Whether each value is 8-bit (red, green, blue), or these and an alpha.
        columns_first: As ``COLUMNS_FIRST``.
        size: Bytes of the array.
        length: Bytes of the file that holds it.
        packed: Whether it is compressed there.
        load: The stored numbers of the plane (axis, index), or of all with (None, 0); color lies on a last axis.
        units: Turns stored numbers into those of the file's unit.
    """

    name: str
    shape: tuple[int, ...]
    affine: Affine | None
    assumed: Affine
    spacing: tuple[float, ...] | None
    color: bool
    columns_first: bool
    size: int
    length: int
    packed: bool
    load: Callable[[int | None, int], Numbers]
    units: Callable[[Numbers], Numbers]

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise MedsaliencyError(
                f"{self.name}: expected an image, or a volume of three axes, got an array of {self.shape}; save each "
                "image of it as its own file"
            )
        if math.prod(self.shape) > MAX_VALUES:
            raise MedsaliencyError(
                f"{self.name}: expected at most {MAX_VALUES:,} voxels, got {self.shape}; crop or shrink it"
            )
        if self.size > self.length * (DEFLATE if self.packed else 1):
            raise MedsaliencyError(
                f"{self.name}: expected a file with {self.size:,} bytes of voxels as its header says, got one of "
                f"{self.length:,} bytes{' compressed' if self.packed else ''}; it is cut off or damaged, copy it again"
            )


def stack(stored: Stored, reading: Reading) -> Stack | None:
    """How the file's slices lie in its array; None where it is one image, or is taken whole."""
    if reading.volume or len(stored.shape) == 2 or 1 in stored.shape:
        return None
    axis = axis_of(stored.assumed, reading.view)
    return Stack(axis, stored.shape[axis])


def image(stored: Stored, record: Record, reading: Reading) -> Raw:
    """The image, slice or volume that a record and a reading ask for, in [0, 1].

    Values go through the reading's window, or from the lowest to the highest of the whole array, so that all slices
    of a volume have one brightness. NaN becomes 0 (it is what masked background is filled with), and infinities the
    ends. Color is divided by 255, whatever the window.

    Raises:
        MedsaliencyError: If the record asks for what the file does not have, no value is finite, or a small compressed
            file claims to hold a large array.
    """
    _refuse_bomb(stored)
    if reading.volume:
        if len(stored.shape) == 2 or record.plane is not None:
            found = "an image of two" if len(stored.shape) == 2 else f"plane {record.plane}"
            raise MedsaliencyError(f"{record.id}: expected a volume of three axes, got {found}; leave volume out")
        pixels = _display(stored, None, 0, reading.window)
        return Raw(pixels, None, stored.spacing, affine=stored.affine, turn=volume_turn(stored.assumed))
    axis, count = _cut(stored, reading.view)
    index = 0 if record.plane is None and count == 1 else record.plane
    if index is None or not 0 <= index < count:
        got = "none" if index is None else str(index)
        raise MedsaliencyError(
            f"{record.id}: expected a plane from 0 to {count - 1} along the {reading.view} axis, got {got}; correct it"
        )
    if len(stored.shape) == 2:
        pixels = _display(stored, None, 0, reading.window)
        return Raw(pixels, None, stored.spacing, affine=stored.affine, turn=plane_turn(stored.assumed, 2))
    return Raw(
        pixels=_display(stored, axis, index, reading.window),
        spacing=None if stored.spacing is None else tuple(np.delete(stored.spacing, axis).tolist()),
        affine=stored.affine,
        slice=Slice(axis, index, stored.shape),
        turn=plane_turn(stored.assumed, axis),
    )


def mask(stored: Stored, record: Record, raw: Raw) -> BoolArray:
    """The mask on the image's own pixels: every value above zero is lesion.

    Where both say where they lie in the patient, the mask's voxels must be the image's, in whatever order of axes (a
    NIfTI mask fits the DICOM series it was drawn on); for an image of a single plane, the mask may be of the whole
    volume. Where one does not say, the shapes must be the same.

    Args:
        stored: Of the mask.
        record: Of the image.
        raw: The image as read.

    Raises:
        MedsaliencyError: If it does not fit, and how.
    """
    whole = raw.slice.shape if raw.slice is not None else raw.pixels.shape[1:]
    cut = raw.slice.axis if raw.slice is not None else 2 if len(whole) == 2 else None
    image_columns_first = record.image is not None and record.image.name.lower().endswith(COLUMNS_FIRST)
    if raw.affine is not None and stored.affine is not None:
        order, backwards, start = _by_place(stored, stored.affine, whole, raw.affine, cut)
    elif raw.affine is not None and stored.columns_first != image_columns_first:
        raise MedsaliencyError(
            f"{stored.name}: expected a mask that says where in the patient it lies, as its image of another format "
            "does, got none; copy the image's affine into its header, or save the mask in the image's format"
        )
    else:
        order, backwards, start = *_by_shape(stored, whole, image_columns_first), 0
    if math.prod(stored.shape) > math.prod(whole):
        _refuse_bomb(stored)
    if cut is None:
        return _turned(_drawn(stored, None, 0), order, backwards)
    place = raw.slice.index if raw.slice is not None else 0
    left = [order[axis] for axis in range(3) if axis != cut]
    flat = _drawn(
        stored, None if len(stored.shape) == 2 else order[cut], start - place if backwards[cut] else start + place
    )
    return _turned(flat, [sorted(left).index(axis) for axis in left], [backwards[a] for a in range(3) if a != cut])


def _cut(stored: Stored, view: View) -> tuple[int, int]:
    """The axis across the slices, and how many there are; a file of one slice is that slice, whatever the view."""
    if len(stored.shape) == 2:
        return 2, 1
    single = [axis for axis, count in enumerate(stored.shape) if count == 1]
    axis = single[-1] if single else axis_of(stored.assumed, view)
    return axis, stored.shape[axis]


def _refuse_bomb(stored: Stored) -> None:
    if stored.packed and stored.size > max(PLAIN_BYTES, EXPANSION * stored.length):
        raise MedsaliencyError(
            f"{stored.name}: expected compressed data that grow at most {EXPANSION}-fold, got {stored.length:,} bytes "
            f"for an array of {stored.size:,}; if you trust the file, decompress it"
        )


def _display(stored: Stored, axis: int | None, index: int, window: Window | None) -> FloatArray:
    """Pixels (C, ...) of a plane or of all, in [0, 1]."""
    if stored.color:
        color = stored.load(axis, index)[..., :3]
        pixels = np.moveaxis(color, -1, 0).astype(np.float32, order="C")
        pixels /= 255
        return pixels
    if window is not None:
        numbers = stored.load(axis, index)
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    else:
        everything = stored.load(None, 0)
        numbers = everything if axis is None else everything[(slice(None),) * axis + (index,)]
        low, high = _range(stored, everything)
    shown = np.zeros(numbers.shape, np.float32)
    found = False
    span = (high - low) or np.inf  # a constant image is black
    for block in _blocks(numbers):
        values = np.asarray(stored.units(numbers[block]), np.float64)
        found = found or bool(np.isfinite(values).any())
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.clip((values - low) / span, 0, 1)
        shown[block] = np.nan_to_num(scaled, copy=False)
    if not found:
        raise MedsaliencyError(
            f"{stored.name}: expected values, got an image of nothing but NaN or infinity; leave it out (a volume's "
            "slices by planes: middle or lesion, or by a manifest's column plane)"
        )
    return shown[None]


def _range(stored: Stored, numbers: Numbers) -> tuple[float, float]:
    """The lowest and the highest finite value; NaN where there is none."""
    low, high = np.inf, -np.inf
    for block in _blocks(numbers):
        values = np.asarray(stored.units(numbers[block]), np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        return np.nan, np.nan
    return low, high


def _drawn(stored: Stored, axis: int | None, index: int) -> BoolArray:
    """Where a plane of a mask, or all of it, is above zero."""
    numbers = stored.load(axis, index)
    if stored.color:
        return np.asarray((numbers[..., :3] > 0).any(axis=-1))
    found = np.zeros(numbers.shape, np.bool_)
    for block in _blocks(numbers):
        found[block] = stored.units(numbers[block]) > 0
    return found


def _blocks(numbers: Numbers) -> Iterator[tuple[slice, ...]]:
    """Parts of an array that lie together in memory, so that a whole volume is never held as 64-bit numbers."""
    axis = max(range(numbers.ndim), key=lambda axis: (numbers.shape[axis] > 1, abs(numbers.strides[axis])))
    step = max(1, BLOCK * numbers.shape[axis] // numbers.size)
    for start in range(0, numbers.shape[axis], step):
        yield (*(slice(None),) * axis, slice(start, start + step))


def _by_place(
    stored: Stored, placed: Affine, whole: Sequence[int], affine: Affine, cut: int | None
) -> tuple[list[int], list[bool], int]:
    """How a mask's axes lie along an image's, by both affines.

    Returns:
        For each of the image's three axes, the mask's that lies along it, and whether backwards; and the index on the
        mask's axis where the one that is ``cut`` begins.
    """
    shape, extent = (*stored.shape, 1)[:3], (*whole, 1)[:3]
    to_mask = np.linalg.inv(np.asarray(placed)) @ np.asarray(affine)
    order, step = [-1] * 3, np.zeros((3, 3))
    for axis in sorted(range(3), key=lambda axis: extent[axis] == 1):  # a lone plane has no length to go by: it is last
        free = [other for other in range(3) if other not in order]
        order[axis] = max(free, key=lambda other: abs(to_mask[other, axis]))
        step[order[axis], axis] = -1.0 if to_mask[order[axis], axis] < 0 else 1.0
    backwards = [bool(step[order[axis], axis] < 0) for axis in range(3)]
    start = np.zeros(3)
    for axis in range(3):
        start[order[axis]] = extent[axis] - 1 if backwards[axis] else 0
        if axis == cut and extent[axis] == 1:
            start[order[axis]] = min(max(round(float(to_mask[order[axis], 3])), 0), shape[order[axis]] - 1)
        elif shape[order[axis]] != extent[axis]:
            raise _misfit(stored, whole)
    corners = np.array(list(product(*((0, count - 1) for count in extent)))).T
    off = to_mask[:3, :3] @ corners + to_mask[:3, 3:] - (step @ corners + start[:, None])
    if not (worst := float(np.abs(off).max())) <= OFF_GRID:
        raise MedsaliencyError(
            f"{stored.name}: expected the image's place in the patient, got voxels up to {worst:.3g} voxels off the "
            "image's own; resample the mask onto the image, or correct its header"
        )
    return order, backwards, 0 if cut is None else int(start[order[cut]])


def _by_shape(stored: Stored, whole: Sequence[int], image_columns_first: bool) -> tuple[list[int], list[bool]]:
    """The same by shape alone; formats of columns first and of rows first have their axes in opposite order."""
    axes = list(range(len(stored.shape)))
    if len(whole) == 2 and len(axes) == 3 and 1 in stored.shape:
        axes.remove(max(axis for axis in axes if stored.shape[axis] == 1))
    if stored.columns_first != image_columns_first:
        axes.reverse()
    if [stored.shape[axis] for axis in axes] != list(whole):
        raise _misfit(stored, whole)
    return [*axes, *(axis for axis in range(3) if axis not in axes)], [False] * 3


def _misfit(stored: Stored, whole: Sequence[int]) -> MedsaliencyError:
    counted = " (columns, rows)" if stored.columns_first and len(whole) == 2 else ""
    return MedsaliencyError(
        f"{stored.name}: expected a mask of the image's shape {tuple(whole)}, got {stored.shape}{counted}; the mask "
        "must be drawn on the image's own voxels"
    )


def _turned(values: BoolArray, axes: Sequence[int], backwards: Sequence[bool]) -> BoolArray:
    turned = np.flip(values.transpose(axes), tuple(axis for axis, back in enumerate(backwards) if back))
    return np.ascontiguousarray(turned)
