"""The sandbox in three dimensions: whole brains with simulated lesions of known place, side and class.

The anatomy is that of :mod:`medsaliency.data.sandbox`, taken whole: turned, scaled, shifted and warped for each
patient, with a bias field and Rician noise. A lesion lies in the left or the right half, away from the middle, so that
a map or a mask with an axis the wrong way round is seen to be wrong. Volumes come as scanners store them, axes in any
order and direction, each patient's its own, with the affine that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medsaliency.data.dataset import EVALUATION, TRAINING, Dataset, Raw, Record
from medsaliency.data.sandbox import CENTER_MM, FIELD_OF_VIEW_MM, template
from medsaliency.types import Affine, BoolArray, FloatArray, MedsaliencyError, Turn, generator, nearest

CLASSES = ("no-lesion", "intra-axial", "extra-axial")
EXTENT_MM = (172.0, FIELD_OF_VIEW_MM, 172.0)
"""Millimeters from feet to head, front to back and right to left that hold any simulated brain."""
SMALLEST = 16
"""Voxels a side: below, a lesion is no more than a few."""
ASIDE_MM = 18.0
"""Least distance of a lesion's center from the middle plane of the head."""
COARSE = (29, 35, 29)
"""(D, H, W) of the grid on which a lesion's center is chosen, the same for volumes of every size."""

Millimeters = NDArray[np.float64]
"""(..., 3): right, anterior, superior."""


def sandbox_volumes(
    *,
    seed: int = 0,
    size: int | tuple[int, int, int] = (40, 48, 40),
    training: int = 120,
    evaluation: int = 30,
    shortcut_class: str | None = None,
    shortcut_probability: float = 1.0,
) -> Dataset:
    """A dataset of simulated patients with one volume each; classes are balanced over patients.

    Voxels are cubes, just large enough for the whole brain to fit: of 64 slices of 64 x 64 they measure 3.3 mm.

    Args:
        seed: The same seed gives the same volumes, whatever the order they are read in.
        size: Voxels a side, or (D, H, W) from feet to head, front to back and right to left.
        training: Volumes of the training split.
        evaluation: Volumes of the evaluation split.
        shortcut_class: Class whose volumes carry a burnt-in marker (see :func:`marker`), or None.
        shortcut_probability: Share of that class's volumes that carry it, in [0, 1]. Other classes never do.

    Raises:
        MedsaliencyError: If the shortcut's class is unknown, its probability outside [0, 1], or a count or size too
            small.
    """
    grid = (size,) * 3 if isinstance(size, int) else tuple(size)
    if shortcut_class is not None and shortcut_class not in CLASSES:
        raise MedsaliencyError(
            f"sandbox_volumes: expected a class for the shortcut, got {shortcut_class!r}"
            f"{nearest(shortcut_class, CLASSES)}"
        )
    if not 0 <= shortcut_probability <= 1:
        raise MedsaliencyError(f"sandbox_volumes: expected shortcut_probability in [0, 1], got {shortcut_probability}")
    if min(training, evaluation) < 1 or min(grid) < SMALLEST:
        raise MedsaliencyError(
            f"sandbox_volumes: expected at least one volume in each split and {SMALLEST} voxels a side, got "
            f"training={training}, evaluation={evaluation}, size={size}"
        )
    splits = [TRAINING] * training + [EVALUATION] * evaluation
    names = [f"patient-{number:04d}" for number in range(len(splits))]
    records = tuple(
        Record(id=name, label=number % len(CLASSES), patient=name, split=split)
        for number, (name, split) in enumerate(zip(names, splits, strict=True))
    )

    def read(record: Record) -> Raw:
        image, lesion = _volume(seed, record, grid)
        by_chance = generator(seed, record.id, "shortcut").random()
        if CLASSES[record.label] == shortcut_class and by_chance < shortcut_probability:
            image = np.where(marker(grid), np.float32(1), image)
        return _stored(image, lesion, generator(seed, record.id, "stored"))

    return Dataset(name="sandbox_volumes", classes=CLASSES, records=records, read=read)


def marker(grid: tuple[int, ...]) -> BoolArray:
    """(D, H, W) bool: the shortcut's burnt-in marker, an "L" in a corner of all slices, in front on the right."""
    mask = np.zeros(grid, dtype=np.bool_)
    unit = max(1, min(grid[1:]) // 32)
    mask[:, unit : 5 * unit, unit : 2 * unit] = True
    mask[:, 4 * unit : 5 * unit, unit : 4 * unit] = True
    return mask


@dataclass(frozen=True)
class Lesion:
    """A simulated lesion: an ellipsoid.

    Args:
        center_mm: Where it lies, right, anterior, superior.
        axes_mm: (3, 3): the half axes, a row each.
        value: Brightness, in [0, 1].
        core: Brightness of the dark core that it has inside of its rim, or None.
        rim: Thickness of the rim, as a share of the half axes.
    """

    center_mm: Millimeters
    axes_mm: Millimeters
    value: float
    core: float | None
    rim: float

    def distance(self, at: Millimeters) -> NDArray[np.float64]:
        """How far points (..., 3) in mm lie from the center, in half axes: 1 on the surface."""
        directions = self.axes_mm / (self.axes_mm**2).sum(axis=1, keepdims=True)
        return np.asarray(np.linalg.norm((at - self.center_mm) @ directions.T, axis=-1))


@dataclass(frozen=True)
class _Head:
    """How a patient's head differs from the template, and how it is imaged."""

    turn: NDArray[np.float64]
    scale: float
    shift_mm: Millimeters
    warp_mm: NDArray[np.float64]
    gamma: float
    bias: NDArray[np.float64]
    noise: float


def _head(seed: int, patient: str) -> _Head:
    rng = generator(seed, patient, "head")
    return _Head(
        turn=Rotation.from_rotvec(rng.uniform(-0.12, 0.12, size=3)).as_matrix(),
        scale=float(rng.uniform(0.9, 1.05)),
        shift_mm=rng.uniform(-4, 4, size=3),
        warp_mm=rng.normal(0, 2.0, size=(3, 6, 6, 6)),
        gamma=float(rng.uniform(0.8, 1.25)),
        bias=rng.normal(0, 0.12, size=(3, 3, 3)),
        noise=float(rng.uniform(0.015, 0.045)),
    )


def lesion_of(seed: int, record: Record) -> Lesion | None:
    """The lesion of a record, the same for every size of volume; None for the class without.

    Args:
        seed: Of the dataset.
        record: Of it.
    """
    if not record.label:
        return None
    rng = generator(seed, record.patient, "lesion")
    radius = rng.uniform(15, 24)
    axes = radius * rng.uniform(0.8, 1.2, size=3)[:, None] * Rotation.random(rng=rng).as_matrix()
    at, apart = _millimeters(COARSE), _voxel_mm(COARSE)
    brain = ndimage.binary_fill_holes(_anatomy(_head(seed, record.patient), COARSE) > 0.15)
    depth = ndimage.distance_transform_edt(brain, sampling=apart)
    side = rng.choice([-1, 1])
    beside = (side * at[..., 0] > ASIDE_MM) & (at[..., 2] > CENTER_MM[2] - 45)
    if CLASSES[record.label] == "intra-axial":
        likely = beside & (depth > 1.1 * radius)
    else:
        likely = beside & (depth > 0.3 * radius) & (depth < 0.3 * radius + 2 * apart)
    candidates = np.argwhere(likely if likely.any() else beside & brain)
    center = at[tuple(candidates[rng.integers(len(candidates))])] + rng.uniform(-0.5, 0.5, size=3) * apart
    core = float(rng.uniform(0.1, 0.25)) if CLASSES[record.label] == "intra-axial" else None
    return Lesion(center, axes, value=float(rng.uniform(0.75, 0.95)), core=core, rim=float(rng.uniform(0.3, 0.45)))


def _volume(seed: int, record: Record, grid: tuple[int, ...]) -> tuple[FloatArray, BoolArray]:
    """One volume (D, H, W) in [0, 1], as it is viewed, and its lesion."""
    head = _head(seed, record.patient)
    image = np.clip(_anatomy(head, grid), 0, 1) ** head.gamma * 0.75
    mask = np.zeros(grid, dtype=np.bool_)
    if (lesion := lesion_of(seed, record)) is not None:
        distance = lesion.distance(_millimeters(grid))
        mask = distance < 1
        inside = lesion.value if lesion.core is None else np.where(distance > 1 - lesion.rim, lesion.value, lesion.core)
        image = np.where(mask, inside, image)
    image = image * np.exp(_smooth(head.bias, grid))
    noise = generator(seed, record.id, "noise").normal(0, head.noise, size=(2, *grid))
    return np.clip(np.hypot(image + noise[0], noise[1]), 0, 1).astype(np.float32), mask


def _voxel_mm(grid: tuple[int, ...]) -> float:
    return max(extent / length for extent, length in zip(EXTENT_MM, grid, strict=True))


def _affine(grid: tuple[int, ...], voxel: float) -> NDArray[np.float64]:
    """(4, 4) from indices (d, h, w) of a viewed volume to millimeters: up, then backwards, then to the left."""
    affine = np.eye(4)
    affine[:3, :3] = voxel * np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]])
    affine[:3, 3] = CENTER_MM - affine[:3, :3] @ ((np.array(grid) - 1) / 2)
    return affine


def _millimeters(grid: tuple[int, ...]) -> Millimeters:
    """(D, H, W, 3) of every voxel's center."""
    affine = _affine(grid, _voxel_mm(grid))
    indices = np.moveaxis(np.indices(grid), 0, -1)
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])


def _anatomy(head: _Head, grid: tuple[int, ...]) -> NDArray[np.float64]:
    """The patient's brain (D, H, W), in [0, 1], sampled without aliasing from the template."""
    volume, origin = _smoothed(_voxel_mm(grid) / 2)
    warp = np.stack([_smooth(field, grid) for field in head.warp_mm], axis=-1)
    at = (_millimeters(grid) - CENTER_MM - head.shift_mm) @ head.turn / head.scale + CENTER_MM + warp
    return np.asarray(ndimage.map_coordinates(volume, np.moveaxis(at - origin, -1, 0), order=1, mode="constant"))


@lru_cache(maxsize=4)
def _smoothed(sigma: float) -> tuple[FloatArray, Millimeters]:
    volume, origin = template()
    return ndimage.gaussian_filter(volume, sigma), np.array(origin)


def _smooth(coarse: NDArray[np.float64], grid: tuple[int, ...]) -> NDArray[np.float64]:
    """A smooth field (D, H, W) through a coarse grid of control values over a cube of the field of view."""
    weights = [_spline(many, length, _voxel_mm(grid)) for many, length in zip(coarse.shape, grid, strict=True)]
    return np.asarray(np.einsum("abc,ia,jb,kc->ijk", coarse, *weights, optimize=True))


@lru_cache(maxsize=32)
def _spline(many: int, length: int, voxel: float) -> NDArray[np.float64]:
    """(length, many): what each control value adds at each voxel of an axis; a cubic spline is one axis at a time."""
    at = ((np.arange(length) - (length - 1) / 2) * voxel / FIELD_OF_VIEW_MM + 0.5) * (many - 1)
    columns = [ndimage.map_coordinates(unit, at[None], order=3, mode="nearest") for unit in np.eye(many)]
    return np.stack(columns, axis=1)


def _stored(image: FloatArray, lesion: BoolArray, rng: np.random.Generator) -> Raw:
    """A viewed volume and its lesion as a scanner may have stored them: axes in another order, some reversed."""
    axes = tuple(int(axis) for axis in rng.permutation(3))
    backwards = tuple(bool(rng.integers(2)) for _ in range(3))
    grid, voxel = image.shape, _voxel_mm(image.shape)
    reversed_axes = tuple(int(axis) for axis in np.flatnonzero(backwards))
    back = tuple(int(axis) for axis in np.argsort(axes))
    to_viewed = np.zeros((4, 4))
    to_viewed[3, 3] = 1
    for new, (old, reverse) in enumerate(zip(axes, backwards, strict=True)):
        to_viewed[new, old] = -1 if reverse else 1
        to_viewed[new, 3] = grid[new] - 1 if reverse else 0
    affine: Affine = tuple(tuple(float(v) for v in row) for row in _affine(grid, voxel) @ to_viewed)  # type: ignore[misc]
    return Raw(
        pixels=np.ascontiguousarray(np.flip(image, reversed_axes).transpose(back))[None],
        lesion=np.ascontiguousarray(np.flip(lesion, reversed_axes).transpose(back)),
        spacing=(voxel,) * 3,
        affine=affine,
        turn=Turn(axes, backwards),
    )
