"""From where a stored array lies in the patient to how it is shown: which axis a view cuts, and how axes are turned.

Patient axes are those of ``Affine``, RAS+: 0 runs to the patient's right, 1 to the front (anterior), 2 to the head
(superior). Images are shown as radiologists see them: the patient's right on the left of an axial or coronal slice, the
front at the top of an axial and on the left of a sagittal one, the head at the top of the others. Formats whose
millimeters are LPS+ (DICOM, and ITK's) come through :func:`from_lps` first.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsaliency.types import Affine, Turn

if TYPE_CHECKING:
    from medsaliency.data.reading import View

RIGHT, ANTERIOR, SUPERIOR = range(3)
"""The patient axes, by where they run to."""
ACROSS: dict[View, int] = {"axial": SUPERIOR, "coronal": ANTERIOR, "sagittal": RIGHT}
"""The patient axis that a view cuts across."""
SHEARED = 0.02
"""Cosine of the angle of two axes (about 1 degree off a right one) above which an array is sheared and not rounded."""


def affine_of(matrix: ArrayLike) -> Affine:
    """A (4, 4) or (3, 4) matrix as plain numbers, its last row made 0 0 0 1."""
    upper = np.asarray(matrix, np.float64)[:3]
    a, b, c = (tuple(float(value) for value in row) for row in upper)
    return (a, b, c, (0.0, 0.0, 0.0, 1.0))  # type: ignore[return-value]


def from_lps(matrix: ArrayLike) -> Affine:
    """The RAS+ affine of a matrix (4, 4) or (3, 4) that leads to LPS+ millimeters, as DICOM and ITK have them."""
    upper = np.array(matrix, np.float64)[:3]
    upper[:2] *= -1
    return affine_of(upper)


def fault_of(affine: Affine) -> str:
    """Why no image can be placed by this affine (not finite, without extent along an axis, sheared), or ``""``."""
    columns = np.asarray(affine, np.float64)[:3, :3]
    if not np.isfinite(np.asarray(affine, np.float64)).all():
        return "it is not finite"
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(columns, axis=0)
    if not (lengths > 1e-9).all() or not (lengths < 1e9).all():
        return f"its voxels measure {' x '.join(f'{length:g}' for length in lengths)} mm"
    unit = columns / lengths
    worst = float(np.abs(unit.T @ unit - np.eye(3)).max())
    if worst > SHEARED:
        return f"its axes meet at {math.degrees(math.acos(min(worst, 1.0))):.0f} degrees and not at right angles"
    return ""


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Distance of voxel centers along each stored axis, in millimeters."""
    a, b, c = (float(length) for length in np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))
    return a, b, c


def patient_axes(affine: Affine) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which patient axis each stored axis runs along most nearly, and whether it runs along it the way it points.

    Each patient axis is taken once: of the six assignments, the one whose cosines add up to most.

    Args:
        affine: Without a fault (:func:`fault_of`).

    Returns:
        For each stored axis, ``RIGHT``, ``ANTERIOR`` or ``SUPERIOR``; and for each, True where indices grow towards
        that side, False where they grow away from it.
    """
    columns: NDArray[np.float64] = np.asarray(affine, np.float64)[:3, :3]
    cosines = columns / np.linalg.norm(columns, axis=0)
    # Rounding, for oblique arrays halfway between two axes: the same rule on every machine.
    a, b, c = max(
        permutations(range(3)), key=lambda order: round(sum(abs(cosines[p, s]) for s, p in enumerate(order)), 6)
    )
    towards = [bool(cosines[patient, stored] > 0) for stored, patient in enumerate((a, b, c))]
    return (a, b, c), (towards[0], towards[1], towards[2])


def axis_of(affine: Affine, view: View) -> int:
    """The stored axis along which the slices of a view lie.

    Args:
        affine: Of a stored array of three axes.
        view: The plane of the slices.
    """
    return patient_axes(affine)[0].index(ACROSS[view])


def plane_turn(affine: Affine, axis: int) -> Turn:
    """How the plane that is left when ``axis`` is cut is turned to be shown.

    What is cut says what is seen: an axis that runs along the body leaves an axial plane (down: to the back, across: to
    the patient's left), one from back to front a coronal (down: to the feet, across: to the patient's left), one from
    side to side a sagittal (down: to the feet, across: to the back).

    Args:
        affine: Of the stored array of three axes; an image (row, column) has a third of length 1.
        axis: The stored axis that is left out: 0, 1 or 2.

    Returns:
        A turn of the two other stored axes, taken in their stored order.
    """
    along, towards = patient_axes(affine)
    left = [stored for stored in range(3) if stored != axis]
    shown = sorted(left, key=lambda stored: -along[stored])  # head to feet, then front to back, then right to left
    return Turn(tuple(left.index(stored) for stored in shown), tuple(towards[stored] for stored in shown))


def volume_turn(affine: Affine) -> Turn:
    """How a stored volume is turned so that D runs from feet to head, H from front to back, W from right to left.

    Args:
        affine: Of the stored array of three axes.

    Returns:
        A turn of the three stored axes.
    """
    along, towards = patient_axes(affine)
    down, back, across = sorted(range(3), key=lambda stored: -along[stored])
    return Turn((down, back, across), (not towards[down], towards[back], towards[across]))
