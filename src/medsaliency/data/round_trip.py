"""The self-test of geometry that every study makes: does a map come back to the native pixel that it is of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from medsaliency.data.dataset import Dataset, Record, prepare
from medsaliency.data.geometry import Fit, Size, to_model, to_native
from medsaliency.types import FloatArray, Geometry, MedsaliencyError, Resize, Track, Turn, silent

TOLERANCE = 1.0
"""Native pixels by which a marker may be off."""
MOST_CHAINS = 20
"""Ways from native pixels to the model's grid that are tested; further ones differ from these in sizes alone."""


@dataclass(frozen=True)
class RoundTrip:
    """How far markers came back from where they were put.

    Args:
        markers: How many were put.
        chains: Different ways from native pixels to the model's grid among the images.
        tested: How many of them were tested.
        largest: Largest distance along one axis, in native pixels.
        sample: The image where it was.
    """

    markers: int
    chains: int
    tested: int
    largest: float
    sample: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def round_trip(
    dataset: Dataset,
    records: Sequence[Record],
    geometries: Sequence[Geometry],
    size: Size,
    channels: int = 1,
    fit: Fit = "pad",
    track: Track = silent,
) -> RoundTrip:
    """Put markers at known native pixels, bring them to the model's grid as images are, and look where they come back.

    A marker is a Gaussian as wide as a pixel of the model's grid, at the center and towards each corner of what the
    model sees. It takes the place of the pixels of an image as its source read it, and then goes the very way of the
    image. Where it comes back is the center of mass of what is above half of its height.

    Args:
        dataset: Reads and prepares the records.
        records: The images.
        geometries: Theirs, as they were prepared.
        size: Of the model's grid.
        channels: Of the model.
        fit: As the images were prepared.
        track: Shows progress.

    Raises:
        MedsaliencyError: If a marker comes back more than :data:`TOLERANCE` native pixels off, naming the image.
    """
    chains = {(g.native_size, g.steps): (r, g) for r, g in zip(records, geometries, strict=True)}
    tested = list(chains.values())[:MOST_CHAINS]
    markers, largest, worst = 0, 0.0, ""
    for record, geometry in track(tested, "testing geometry", len(tested)):
        raw = dataset.read(record)
        for place, marker in _markers(geometry):
            marked = replace(raw, pixels=np.repeat(marker[None], len(raw.pixels), axis=0), lesion=None)
            prepared = prepare(record, marked, size, channels, fit)
            back = to_native(prepared.image[0], prepared.geometry)
            off = float(np.abs(_center(back) - place).max()) if back.any() else math.inf
            markers += 1
            if not off <= TOLERANCE:
                came = f"it came back {off:.2f} off" if math.isfinite(off) else "it did not come back"
                raise MedsaliencyError(
                    f"{record.id}: expected a marker at native pixel {tuple(place.tolist())} to come back within "
                    f"{TOLERANCE:g} pixel, {came}; maps of this image cannot be trusted to lie "
                    "where they are drawn: check its spacing and orientation, or use another fit"
                )
            if off >= largest:
                largest, worst = off, record.id
    return RoundTrip(markers, len(chains), len(tested), largest, worst)


def _markers(geometry: Geometry) -> list[tuple[FloatArray, FloatArray]]:
    """Places and the images (native size) with a marker there."""
    widths = _widths(geometry)
    rooms = []
    for (low, high), width in zip(_seen(geometry), widths, strict=True):
        margin = 4 * width
        middle = (low + high) // 2
        # Along a side too short for a marker it stands in the middle, where it is cut alike on both sides.
        rooms.append(sorted({round(low + margin), round(high - margin)}) if high - low > 2 * margin else [middle])
    middles = tuple((room[0] + room[-1]) // 2 for room in rooms)
    places = sorted({middles, *product(*rooms)})
    return [(np.array(place, np.float32), _blob(geometry.native_size, place, widths)) for place in places]


def _seen(geometry: Geometry) -> list[tuple[int, int]]:
    """First and last native pixel along each axis that the model's grid shows."""
    whole = to_model(np.ones(geometry.native_size, np.float32), geometry.steps)
    shown = to_native(np.ones_like(whole), geometry) > 0
    if not shown.any():  # which the markers will say, wherever they stand
        shown[...] = True
    ends = []
    for axis in range(shown.ndim):
        along = np.flatnonzero(shown.any(axis=tuple(other for other in range(shown.ndim) if other != axis)))
        ends.append((int(along[0]), int(along[-1])))
    return ends


def _widths(geometry: Geometry) -> list[float]:
    """Native pixels that a pixel of the model's grid has along each native axis, at least 1."""
    ratios = [1.0] * len(geometry.native_size)
    axes: Sequence[int] = range(len(ratios))
    for step in geometry.steps:
        if isinstance(step, Turn):
            axes = step.axes
        elif isinstance(step, Resize):
            for axis, before, after in zip(axes, step.before, step.after, strict=True):
                ratios[axis] = max(1.0, before / after)
    return ratios


def _blob(size: Sequence[int], place: Sequence[int], widths: Sequence[float]) -> FloatArray:
    found = np.ones(size, np.float32)
    for axis, (count, center, width) in enumerate(zip(size, place, widths, strict=True)):
        values = np.exp(-(((np.arange(count) - center) / width) ** 2) / 2).astype(np.float32)
        found *= values.reshape([-1 if other == axis else 1 for other in range(len(size))])
    return found


def _center(values: FloatArray) -> FloatArray:
    weights = np.where(values > values.max() / 2, values, 0).astype(np.float64)
    along = [
        weights.sum(axis=tuple(other for other in range(weights.ndim) if other != axis)) for axis in range(weights.ndim)
    ]
    return np.array([(np.arange(len(sums)) * sums).sum() / sums.sum() for sums in along], np.float32)
