"""Maps as NIfTI, on the stored array's own grid and affine."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import numpy as np

from medsaliency.data.geometry import to_stored
from medsaliency.types import FloatArray, Geometry, MedsaliencyError

ALIGNED, UNKNOWN = "aligned", "unknown"
"""What the header says of the affine: that of another file, the original, or none."""
NOTE = b"medsaliency map, research use only, not for diagnosis"
LONGEST = 32767
"""Voxels along an axis that a NIfTI-1 header can count."""


def merged(maps: Sequence[tuple[FloatArray, Geometry]], sample: str) -> FloatArray:
    """Maps of slices of one stored volume, each in its place, zero where none was explained; a map alone as it is.

    Args:
        maps: (H, W) or (D, H, W) each, on native pixels, with its geometry.
        sample: What the first is called, for errors.

    Returns:
        float32 of the stored array's shape.

    Raises:
        MedsaliencyError: If they are not of one stored array, or two are of the same slice.
    """
    whole = to_stored(*maps[0])
    taken = {(maps[0][1].slice.axis, maps[0][1].slice.index)} if maps[0][1].slice is not None else set()
    for saliency, geometry in maps[1:]:
        place = geometry.slice
        if place is None or place.shape != whole.shape or {axis for axis, _ in taken} != {place.axis}:
            raise MedsaliencyError(
                f"{sample}: expected slices of one volume along one axis, got others; export each by itself"
            )
        if (place.axis, place.index) in taken:
            raise MedsaliencyError(f"{sample}: expected one map of slice {place.index}, got two")
        taken.add((place.axis, place.index))
        whole[(slice(None),) * place.axis + (place.index,)] = saliency
    return whole


def nifti(values: FloatArray, geometry: Geometry, method: str, sample: str) -> bytes:
    """A gzipped NIfTI-1 file.

    Args:
        values: float32 on the stored array's grid.
        geometry: Of what it was made of. Without an affine the header says that the place is unknown, and its affine
            is the spacing where that is known, else one per pixel.
        method: Whose map, for the header.
        sample: What it is called, for errors.

    Raises:
        MedsaliencyError: If an axis is longer than the format can say.
    """
    import nibabel

    if max(values.shape) > LONGEST:
        raise MedsaliencyError(
            f"{sample}: expected at most {LONGEST} pixels along an axis of a NIfTI file, got {values.shape}"
        )
    affine, code = _affine(values, geometry)
    image: Any = nibabel.Nifti1Image(values, None)  # type: ignore[no-untyped-call]
    image.header.set_data_dtype(np.float32)
    image.set_sform(affine, code)
    image.set_qform(affine, code, strip_shears=True)
    if not np.allclose(image.get_qform(), affine, rtol=1e-4, atol=1e-4):
        image.set_qform(affine, UNKNOWN, strip_shears=True)  # a sheared grid, which a qform cannot say
    image.header.set_xyzt_units("mm" if _in_millimeters(geometry) else "unknown")
    image.header["descrip"] = NOTE
    image.header["intent_name"] = method[:15].encode()
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _affine(values: FloatArray, geometry: Geometry) -> tuple[np.ndarray, str]:
    if geometry.affine is not None:
        return np.asarray(geometry.affine, dtype=np.float64), ALIGNED
    spacing = np.ones(3)
    if geometry.spacing is not None:
        # A slice knows the distances of its own two axes alone.
        axes = [axis for axis in range(values.ndim) if geometry.slice is None or axis != geometry.slice.axis]
        spacing[axes] = geometry.spacing
    return np.diag([*spacing, 1.0]), UNKNOWN


def _in_millimeters(geometry: Geometry) -> bool:
    return geometry.affine is not None or (geometry.spacing is not None and geometry.spacing_known)
