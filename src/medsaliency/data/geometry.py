"""From native pixels to the model's grid and back: how the way is planned, walked, undone and written down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from PIL import Image

from medsaliency.types import (
    BoolArray,
    Crop,
    FloatArray,
    Geometry,
    MedsaliencyError,
    Pad,
    Resize,
    Slice,
    Step,
    Turn,
    nearest,
)

Fit = Literal["pad", "crop", "stretch"]
Size = int | tuple[int, ...]
"""Pixels a side of the model's grid: one number for all sides, or one for each."""
Values = TypeVar("Values", FloatArray, BoolArray)

MAX_VALUES = 512_000_000
"""Most pixels of a padded image or volume (800 x 800 x 800)."""
SAME_SPACING = 1e-3
"""Spacings that differ by less, relatively, are taken to be the same: files round them."""


def grid_of(size: Size, dimensions: int) -> tuple[int, ...]:
    """The model's grid, (H, W) or (D, H, W).

    Raises:
        MedsaliencyError: If ``size`` names another number of sides.
    """
    grid = (size,) * dimensions if isinstance(size, int) else tuple(size)
    if len(grid) != dimensions:
        raise MedsaliencyError(
            f"expected a size of one number or {dimensions} (an image has 2 sides, a volume 3), got {size}"
        )
    return grid


def plan(
    native_size: Sequence[int],
    size: Size,
    *,
    fit: Fit = "pad",
    spacing: Sequence[float] | None = None,
    turn: Turn | None = None,
) -> tuple[Step, ...]:
    """The steps from native pixels to the model's grid.

    The anatomy keeps its proportions in millimeters: an axis whose pixels are further apart is given fewer of them.

    Args:
        native_size: (H, W) or (D, H, W) of the file.
        size: Of the model's grid.
        fit: "pad" adds background until the proportions are the grid's, "crop" cuts the sides that are too long,
            "stretch" gives up proportions.
        spacing: Distance of pixel centers along each native axis, in any unit; None for equal ones.
        turn: How the axes are taken first.

    Raises:
        MedsaliencyError: If ``fit`` is unknown, an axis is empty, or padding to these spacings would take more than
            ``MAX_VALUES`` pixels.
    """
    if fit not in get_args(Fit):
        raise MedsaliencyError(f"expected fit pad, crop or stretch, got {fit!r}{nearest(fit, get_args(Fit))}")
    if min(native_size, default=0) < 1:
        raise MedsaliencyError(f"expected an image with pixels along every axis, got a size of {tuple(native_size)}")
    steps: list[Step] = []
    now, between = list(native_size), _relative(spacing, len(native_size))
    if turn is not None and turn != Turn(tuple(range(len(now))), (False,) * len(now)):
        steps.append(turn)
    if turn is not None:
        now, between = [now[axis] for axis in turn.axes], [between[axis] for axis in turn.axes]
    grid = grid_of(size, len(now))
    if fit != "stretch":
        spans = [count * apart / target for count, apart, target in zip(now, between, grid, strict=True)]
        span = max(spans) if fit == "pad" else min(spans)  # of one pixel of the grid
        wanted = [max(1, round(span * target / apart)) for target, apart in zip(grid, between, strict=True)]
        wanted = [(max if fit == "pad" else min)(*pair) for pair in zip(wanted, now, strict=True)]
        if math.prod(wanted) > MAX_VALUES:
            raise MedsaliencyError(
                f"expected an image that pads to at most {MAX_VALUES:,} pixels, got {now} with pixels "
                f"{[round(apart, 6) for apart in between]} apart; correct its spacing, or use fit stretch"
            )
        more = [abs(want - count) for want, count in zip(wanted, now, strict=True)]
        if any(more):
            before = tuple(count // 2 for count in more)
            after = tuple(count - first for count, first in zip(more, before, strict=True))
            steps.append(Pad(before, after) if fit == "pad" else Crop(before, after))
        now = wanted
    if tuple(now) != grid:
        steps.append(Resize(tuple(now), grid))
    return tuple(steps)


def to_model(values: Values, steps: Sequence[Step]) -> Values:
    """Bring an array of native pixels to the model's grid; a mask is True where at least half of a new pixel is.

    Args:
        values: (..., H, W) or (..., D, H, W), float32 or bool.
        steps: Of a geometry.
    """
    found: Any = values
    for step in steps:
        found = _forwards(found, step)
    return cast("Values", np.ascontiguousarray(found))


def _forwards(values: Any, step: Step) -> Any:
    front = values.ndim - _dimensions(step)
    if isinstance(step, Turn):
        axes = (*range(front), *(front + axis for axis in step.axes))
        backwards = tuple(front + i for i, back in enumerate(step.backwards) if back)
        return np.flip(values.transpose(axes), backwards)
    if isinstance(step, Pad):
        return np.pad(values, (*[(0, 0)] * front, *zip(step.before, step.after, strict=True)))
    if isinstance(step, Crop):
        return values[(..., *_inner(step, values.shape[front:]))]
    resized = _resize(values.astype(np.float32), step.after)
    return resized >= 0.5 if values.dtype == np.bool_ else resized


def to_native(saliency: FloatArray, geometry: Geometry) -> FloatArray:
    """Put a map of the model's grid back on the native pixels: each step of the geometry undone, last first.

    What was cut off has no map: it is zero.

    Args:
        saliency: (H, W), or (D, H, W) for a volume.
        geometry: Of its image.

    Returns:
        float32 of ``geometry.native_size``.
    """
    for step in reversed(geometry.steps):
        if isinstance(step, Resize):
            saliency = _resize(saliency, step.before)
        elif isinstance(step, Pad):
            saliency = saliency[_inner(step, saliency.shape)]
        elif isinstance(step, Crop):
            saliency = np.pad(saliency, list(zip(step.before, step.after, strict=True)))
        else:
            turned = np.flip(saliency, tuple(i for i, back in enumerate(step.backwards) if back))
            saliency = turned.transpose(np.argsort(step.axes))
    return np.ascontiguousarray(saliency, dtype=np.float32)


def to_stored(native: Values, geometry: Geometry) -> Values:
    """Put native pixels (H, W) at their plane of the stored volume, the rest being zero; a whole image is returned."""
    if geometry.slice is None:
        return native
    stored = np.zeros(geometry.slice.shape, native.dtype)
    stored[(slice(None),) * geometry.slice.axis + (geometry.slice.index,)] = native
    return cast("Values", stored)


def to_dict(geometry: Geometry) -> dict[str, Any]:
    """The geometry as plain data for JSON, which :func:`from_dict` reads."""
    steps = [{"step": type(step).__name__.lower(), **asdict(step)} for step in geometry.steps]
    return {**asdict(geometry), "steps": steps}


def from_dict(data: Mapping[str, Any]) -> Geometry:
    """The geometry of :func:`to_dict`, JSON's lists made tuples again; what else stands beside it is passed over.

    Raises:
        MedsaliencyError: If it is not one.
    """
    kinds = {kind.__name__.lower(): kind for kind in get_args(Step)}
    try:
        given = {field.name: _tuples(data[field.name]) for field in fields(Geometry)}
        steps = [dict(step) for step in data["steps"]]
        given["steps"] = tuple(kinds[step.pop("step")](**{k: _tuples(v) for k, v in step.items()}) for step in steps)
        if data.get("slice") is not None:
            given["slice"] = Slice(**{k: _tuples(v) for k, v in data["slice"].items()})
        return Geometry(**given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MedsaliencyError(f"expected the geometry of an image, got something else ({error!r})") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list | tuple) else value


def _relative(spacing: Sequence[float] | None, dimensions: int) -> list[float]:
    """Distances of pixels, relative to the smallest; 1 where they are unknown, or no distance."""
    if spacing is None or not all(math.isfinite(apart) and apart > 0 for apart in spacing):
        return [1.0] * dimensions
    smallest = min(spacing)
    return [1.0 if apart / smallest < 1 + SAME_SPACING else apart / smallest for apart in spacing]


def _dimensions(step: Step) -> int:
    return len(step.axes if isinstance(step, Turn) else step.before)


def _inner(step: Pad | Crop, shape: Sequence[int]) -> tuple[slice, ...]:
    ends = zip(step.before, step.after, shape, strict=True)
    return tuple(slice(before, length - after) for before, after, length in ends)


def _resize(values: FloatArray, shape: Sequence[int]) -> FloatArray:
    """Linear resize of the last axes of a float32 array, averaging where it shrinks."""
    front = values.shape[: values.ndim - len(shape)]
    planes = values.reshape(-1, *values.shape[len(front) :])
    if len(shape) == 2:
        found = np.stack([_resize_plane(plane, shape) for plane in planes])
    else:  # axis by axis, which is the same: slices first, then all columns of pixels through them
        found = np.stack([_resize_volume(plane, shape) for plane in planes])
    return found.reshape(*front, *shape)


def _resize_volume(volume: FloatArray, shape: Sequence[int]) -> FloatArray:
    slices = np.stack([_resize_plane(plane, shape[1:]) for plane in volume])
    through = _resize_plane(slices.reshape(len(slices), -1), (shape[0], shape[1] * shape[2]))
    return through.reshape(*shape)


def _resize_plane(plane: FloatArray, shape: Sequence[int]) -> FloatArray:
    if plane.shape == tuple(shape):
        return plane
    resized = Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)
