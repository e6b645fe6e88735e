"""Where DICOM frames lie in the patient, how far apart their pixels are, and whether slices make a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dicom.header import group, numbers, whole
from medsaliency.data.orientation import from_lps
from medsaliency.types import Affine

if TYPE_CHECKING:
    from pydicom import Dataset

CENTIMETERS = 3
"""Physical units of an ultrasound region (PS3.3 C.8.5.5.1.15)."""
UNEVEN = 0.01
"""Gaps of slices may differ by so much of the middle one, or by ``ROUNDED`` where that is more."""
ROUNDED = 0.01
"""Millimeters to which scanners round positions."""
PARALLEL = 1e-3
"""Largest difference of direction cosines of slices that are parallel."""


@dataclass(frozen=True)
class Plane:
    """A frame in the patient, in DICOM's LPS+ millimeters.

    Args:
        position: Of the center of its first pixel.
        rows: Unit vector along which the row index grows (down a column).
        columns: Unit vector along which the column index grows (along a row).
        spacing: Of rows, and of columns.
        thickness: Of the slice, 1 where unknown.
    """

    position: tuple[float, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float = 1.0

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector at right angles to the plane, so that (columns, rows, normal) is right-handed."""
        return np.cross(self.columns, self.rows)


def spacing_of(header: Dataset, index: int = 0) -> tuple[tuple[float, float] | None, bool]:
    """Distance of pixel centers down and across, and whether it is known in millimeters.

    The first of: PixelSpacing (of the frame), ImagerPixelSpacing (at the detector; divided by
    EstimatedRadiographicMagnificationFactor where that is given), NominalScannedPixelSpacing, and the one scale of all
    ultrasound regions where they have one in centimeters. Where none is given, or it is no distance, the ratio of
    PixelAspectRatio, in no unit.

    Args:
        header: Of the file.
        index: Of the frame.
    """
    measures = group(header, "PixelMeasuresSequence", index) or header
    magnification = numbers(header, "EstimatedRadiographicMagnificationFactor", 1) or (1.0,)
    for dataset, keyword, factor in (
        (measures, "PixelSpacing", 1.0),
        (header, "ImagerPixelSpacing", magnification[0]),
        (header, "NominalScannedPixelSpacing", 1.0),
    ):
        found = numbers(dataset, keyword, 2)
        if found is not None and min(found) > 0 and factor > 0:
            return (found[0] / factor, found[1] / factor), True
    if (regions := _ultrasound(header)) is not None:
        return regions, True
    ratio = numbers(header, "PixelAspectRatio", 2)
    return ((ratio[0], ratio[1]), False) if ratio is not None and min(ratio) > 0 else (None, False)


def planes_of(header: Dataset, count: int) -> list[Plane] | None:
    """Every frame in the patient; None where the file does not say it of all.

    Args:
        header: Of the file.
        count: Of frames. A classic file (and a dose) of several says where the first is, and GridFrameOffsetVector how
            far the others are from it.
    """
    offsets: Sequence[float] = (0.0,)
    if count > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        found = numbers(header, "GridFrameOffsetVector", count)
        if found is None:
            return None
        offsets = [offset - found[0] for offset in found]
    planes = []
    for index in range(count):
        plane = _plane(header, index)
        if plane is None:
            return None
        if index < len(offsets) and offsets[index]:
            position = np.asarray(plane.position) + offsets[index] * plane.normal
            plane = Plane(tuple(position.tolist()), plane.rows, plane.columns, plane.spacing, plane.thickness)
        planes.append(plane)
    return planes


def image_affine(plane: Plane, index: int | None = None) -> Affine:
    """The affine of one image: of (row, column, 0), or of (``index``, row, column) where it is a frame of several.

    The axis that is not in the image runs along the normal, a slice's thickness for each step.
    """
    across = plane.normal * plane.thickness
    down, along = _steps(plane)
    origin = np.asarray(plane.position)
    if index is None:
        return from_lps(np.column_stack([down, along, across, origin]))
    return from_lps(np.column_stack([across, down, along, origin - index * across]))


def stack_affine(planes: Sequence[Plane]) -> tuple[Affine | None, str]:
    """The affine of (slice, row, column) of parallel and evenly spaced slices; or None, and why they are not.

    Args:
        planes: Of the slices, in their order.
    """
    first = planes[0]
    if any(not _parallel(first, plane) for plane in planes):
        return None, "expected parallel slices with pixels of one size, got several orientations or sizes"
    if len(planes) < 2:
        return None, "expected several slices, got one"
    places = np.array([plane.position for plane in planes])
    gaps = np.diff(places, axis=0) @ first.normal
    middle = float(np.median(gaps))
    allowed = max(abs(middle) * UNEVEN, ROUNDED)
    if abs(middle) <= ROUNDED or np.any(np.sign(gaps) != np.sign(middle)):
        return None, "expected slices one behind the other, got some at one place, or in another order"
    worst = int(np.argmax(np.abs(gaps - middle)))
    if abs(gaps[worst] - middle) > allowed:
        return None, (
            f"expected evenly spaced slices, got {abs(gaps[worst]):.4g} mm between slices {worst + 1} and {worst + 2} "
            f"where others are {abs(middle):.4g} mm apart"
        )
    step = (places[-1] - places[0]) / (len(planes) - 1)
    if np.linalg.norm(step - first.normal * (step @ first.normal)) > allowed:
        return None, "expected slices straight behind each other, got shifted ones (a tilted gantry)"
    down, along = _steps(first)
    return from_lps(np.column_stack([step, down, along, places[0]])), ""


def along_normal(planes: Sequence[Plane]) -> list[int]:
    """The order of slices along the normal of the first."""
    normal = planes[0].normal
    places = [float(np.dot(plane.position, normal)) for plane in planes]
    return sorted(range(len(planes)), key=places.__getitem__)


def parallel(first: Plane, second: Plane) -> bool:
    """Whether two slices are parallel, with axes that point the same way and pixels of one size."""
    return _parallel(first, second)


def _parallel(first: Plane, second: Plane) -> bool:
    turned = np.abs(np.subtract((*first.rows, *first.columns), (*second.rows, *second.columns))).max()
    return bool(turned <= PARALLEL and np.allclose(first.spacing, second.spacing, rtol=1e-3))


def _steps(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(plane.rows) * plane.spacing[0], np.asarray(plane.columns) * plane.spacing[1]


def _plane(header: Dataset, index: int) -> Plane | None:
    place = group(header, "PlanePositionSequence", index) or header
    turn = group(header, "PlaneOrientationSequence", index) or header
    measures = group(header, "PixelMeasuresSequence", index) or header
    position, cosines = numbers(place, "ImagePositionPatient", 3), numbers(turn, "ImageOrientationPatient", 6)
    spacing = numbers(measures, "PixelSpacing", 2)
    if position is None or cosines is None or spacing is None or min(spacing) <= 0:
        return None
    columns, rows = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    lengths = np.linalg.norm(columns), np.linalg.norm(rows)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(columns @ rows)) > 0.01:
        return None  # no directions at right angles: what they meant cannot be known
    thick = numbers(measures, "SpacingBetweenSlices", 1) or numbers(measures, "SliceThickness", 1) or (1.0,)
    return Plane(
        position,
        tuple((rows / lengths[1]).tolist()),
        tuple((columns / lengths[0]).tolist()),
        (spacing[0], spacing[1]),
        thick[0] if thick[0] > 0 else 1.0,
    )


def _ultrasound(header: Dataset) -> tuple[float, float] | None:
    """Millimeters down and across, if all regions of the image have one scale, in centimeters (PS3.3 C.8.5.5)."""
    scales = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = [whole(region, f"PhysicalUnits{axis}Direction", 0) for axis in "YX"]
        deltas = [numbers(region, f"PhysicalDelta{axis}", 1) for axis in "YX"]
        if units != [CENTIMETERS, CENTIMETERS] or None in deltas:
            return None
        scales.add(tuple(abs(10 * delta[0]) for delta in deltas if delta))
    if len(scales) != 1:
        return None
    down, across = scales.pop()
    return (down, across) if min(down, across) > 0 else None
