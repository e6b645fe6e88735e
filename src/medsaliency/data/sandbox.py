"""The sandbox: real T1 anatomy with simulated lesions of known place and class, and a shortcut if asked.

Slices of the MNI152 T1 template that nilearn's wheel ships are deformed, scaled, given a bias field and Rician noise,
and one of three kinds of lesion, or none. Every class draws its slices from the same planes through the sella, its
anatomy and noise from the same distributions, so the lesion's pixels are the only thing that makes the class; the
mask of those pixels is exact. After the idea of Oliveira et al. 2024, doi:10.3389/frai.2024.1330919.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from medsaliency.data.dataset import EVALUATION, TRAINING, Dataset, Raw, Record
from medsaliency.types import BoolArray, FloatArray, MedsaliencyError, generator, nearest

CLASSES = ("no-lesion", "intra-axial", "extra-axial", "sellar")
FIELD_OF_VIEW_MM = 210.0
SELLA_MM = (0.0, 3.0, -30.0)
"""Place of the sella turcica in MNI space: (left-right, posterior-anterior, inferior-superior) in millimeters."""
PLANES = {
    # plane: axis cut, range of the cut in mm, axes of (rows, columns); rows run downwards, so their axis is reversed
    "axial": (2, (-34.0, -24.0), (1, 0)),
    "coronal": (1, (-4.0, 9.0), (2, 0)),
    "sagittal": (0, (-8.0, 8.0), (2, 1)),
}
MOST_SLICES = 9
"""Of one patient: the outermost are then 12 mm from the middle, where a lesion ends."""
CENTER_MM = (0.0, -17.0, 12.0)


def sandbox(
    *,
    seed: int = 0,
    size: int = 128,
    training: int = 900,
    evaluation: int = 150,
    slices: int = 3,
    shortcut_class: str | None = None,
    shortcut_probability: float = 1.0,
) -> Dataset:
    """A dataset of simulated patients with a few neighboring slices each; classes are balanced over patients.

    Args:
        seed: The same seed gives the same images, whatever the order they are read in.
        size: Pixels a side.
        training: Images of the training split; rounded up to whole patients.
        evaluation: Images of the evaluation split; rounded up to whole patients. No patient is in both.
        slices: Slices of one patient, 3 mm apart, showing the same lesion.
        shortcut_class: Class whose images carry a burnt-in corner marker (see :func:`marker`), or None.
        shortcut_probability: Share of that class's images that carry it, in [0, 1]. Other classes never do.

    Raises:
        MedsaliencyError: If the shortcut's class is unknown, its probability outside [0, 1], or a count below one.
    """
    if shortcut_class is not None and shortcut_class not in CLASSES:
        raise MedsaliencyError(
            f"sandbox: expected a class for the shortcut, got {shortcut_class!r}{nearest(shortcut_class, CLASSES)}"
        )
    if not 0 <= shortcut_probability <= 1:
        raise MedsaliencyError(f"sandbox: expected shortcut_probability in [0, 1], got {shortcut_probability}")
    if min(training, evaluation, slices) < 1 or slices > MOST_SLICES or size < 32:
        raise MedsaliencyError(
            "sandbox: expected at least one image in each split, "
            f"1 to {MOST_SLICES} slices a patient and 32 pixels a side, got "
            f"training={training}, evaluation={evaluation}, slices={slices}, size={size}"
        )
    records = []
    patient = 0
    for split, images in ((TRAINING, training), (EVALUATION, evaluation)):
        for _ in range(-(-images // slices)):
            name = f"patient-{patient:04d}"
            records += [
                Record(id=f"{name}/slice-{i}", label=patient % len(CLASSES), patient=name, split=split)
                for i in range(slices)
            ]
            patient += 1

    def read(record: Record) -> Raw:
        index = int(record.id.rsplit("-", 1)[1])
        image, lesion = _slice(seed, record, offset_mm=3.0 * (index - (slices - 1) / 2), size=size)
        if shortcut_class is not None and CLASSES[record.label] == shortcut_class:
            draws = generator(seed, record.id, "shortcut").random()
            if draws < shortcut_probability:
                image = np.where(marker(size), np.float32(1), image)
        return Raw(image[None], lesion, (FIELD_OF_VIEW_MM / size, FIELD_OF_VIEW_MM / size))

    return Dataset(name="sandbox", classes=CLASSES, records=tuple(records), read=read)


def marker(size: int) -> BoolArray:
    """(size, size) bool: the pixels of the shortcut's burnt-in corner marker, an "L" as on films, top left."""
    mask = np.zeros((size, size), dtype=np.bool_)
    unit = max(1, size // 64)
    mask[3 * unit : 10 * unit, 3 * unit : 4 * unit + unit // 2] = True
    mask[9 * unit : 10 * unit, 3 * unit : 8 * unit] = True
    return mask


@dataclass(frozen=True)
class _Patient:
    """What the slices of one patient share."""

    plane: str
    cut_mm: float
    angle: float
    scale: float
    shift_mm: FloatArray
    warp_mm: FloatArray
    gamma: float
    bias: FloatArray
    noise: float
    lesion_seed: int


def _draw_patient(seed: int, patient: str) -> _Patient:
    rng = generator(seed, patient, "anatomy")
    plane = str(rng.choice(list(PLANES)))
    return _Patient(
        plane=plane,
        cut_mm=float(rng.uniform(*PLANES[plane][1])),
        angle=float(np.deg2rad(rng.uniform(-12, 12))),
        scale=float(rng.uniform(0.9, 1.1)),
        shift_mm=rng.uniform(-8, 8, size=2).astype(np.float32),
        warp_mm=rng.normal(0, 3.0, size=(2, 6, 6)).astype(np.float32),
        gamma=float(rng.uniform(0.8, 1.25)),
        bias=rng.normal(0, 0.12, size=(3, 3)).astype(np.float32),
        noise=float(rng.uniform(0.015, 0.045)),
        lesion_seed=int(rng.integers(2**31)),
    )


def _slice(seed: int, record: Record, offset_mm: float, size: int) -> tuple[FloatArray, BoolArray]:
    """One image (size, size) in [0, 1] and its lesion mask (size, size)."""
    patient = _draw_patient(seed, record.patient)
    rows, columns = _grid(patient, size)
    middle = _cut(patient.plane, patient.cut_mm, rows, columns)
    image = middle if offset_mm == 0 else _cut(patient.plane, patient.cut_mm + offset_mm, rows, columns)
    image = np.clip(image, 0, 1) ** patient.gamma * 0.75
    lesion = np.zeros((size, size), dtype=np.bool_)
    if record.label:
        # The lesion is placed on the middle slice and drawn again, smaller, on its neighbors, as a ball is cut.
        rng = np.random.default_rng(patient.lesion_seed)
        shrink = float(np.sqrt(max(0.4, 1 - (offset_mm / 12) ** 2)))
        draw = (_intra_axial, _extra_axial, _sellar)[record.label - 1]
        image, lesion = draw(image, middle > 0.15, (rows, columns, patient.plane), rng, shrink)
    image = image * np.exp(_upsample(patient.bias, size))
    noise = generator(seed, record.id, "noise").normal(0, patient.noise, size=(2, size, size))
    image = np.hypot(image + noise[0], noise[1])
    return np.clip(image, 0, 1).astype(np.float32), lesion


def _grid(patient: _Patient, size: int) -> tuple[FloatArray, FloatArray]:
    """Millimeters along the plane's (row, column) axes at every output pixel, each (size, size)."""
    _, _, axes = PLANES[patient.plane]
    step = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    down, right = np.meshgrid(step * FIELD_OF_VIEW_MM, step * FIELD_OF_VIEW_MM, indexing="ij")
    cos, sin = np.cos(patient.angle) / patient.scale, np.sin(patient.angle) / patient.scale
    rows = -(cos * down + sin * right) + CENTER_MM[axes[0]] + patient.shift_mm[0] + _upsample(patient.warp_mm[0], size)
    columns = cos * right - sin * down + CENTER_MM[axes[1]] + patient.shift_mm[1] + _upsample(patient.warp_mm[1], size)
    return rows.astype(np.float32), columns.astype(np.float32)


def _upsample(coarse: FloatArray, size: int) -> FloatArray:
    """A smooth (size, size) field through a coarse grid of control values."""
    at = np.linspace(0, len(coarse) - 1, size, dtype=np.float32)
    field = ndimage.map_coordinates(coarse, np.meshgrid(at, at, indexing="ij"), order=3, mode="nearest")
    return np.asarray(field, dtype=np.float32)


def _cut(plane: str, cut_mm: float, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Sample the template's plane at ``cut_mm``: two neighboring slices, mixed linearly."""
    volume, origin = template()
    axis, _, (row_axis, column_axis) = PLANES[plane]
    position = cut_mm - origin[axis]
    below = int(np.floor(position))
    part = position - below
    planes = np.moveaxis(volume, axis, 0)
    mixed = (1 - part) * planes[below] + part * planes[below + 1]
    if row_axis > column_axis:  # the remaining axes are in ascending order; rows come first
        mixed = mixed.T
    where = np.stack([rows - origin[row_axis], columns - origin[column_axis]])
    return np.asarray(ndimage.map_coordinates(mixed, where, order=1, mode="constant"), dtype=np.float32)


@lru_cache(maxsize=1)
def template() -> tuple[FloatArray, tuple[float, float, float]]:
    """The MNI152 T1 template (197, 233, 189) at 1 mm, in [0, 1], and the millimeters of its first voxel."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    volume = image.get_fdata(dtype=np.float32)
    x, y, z = (float(v) for v in image.affine[:3, 3])
    return volume / volume.max(), (x, y, z)


_Where = tuple[FloatArray, FloatArray, str]
_Drawn = tuple[FloatArray, BoolArray]


def _blob(center: tuple[float, float], radius: float, size: int, rng: np.random.Generator) -> FloatArray:
    """Distance from a center in units of an irregular outline's radius: below 1 inside. (size, size)."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    dy, dx = y - center[0], x - center[1]
    angle = np.arctan2(dy, dx)
    outline = 1 + sum(rng.normal(0, 0.09) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    return np.asarray(np.hypot(dy, dx) / (radius * outline), dtype=np.float32)


def _pick(candidates: BoolArray, rng: np.random.Generator) -> tuple[float, float]:
    """One True pixel at random, or the mask's middle where there is none."""
    where = np.argwhere(candidates)
    if len(where) == 0:
        return (candidates.shape[0] / 2, candidates.shape[1] / 2)
    row, column = where[rng.integers(len(where))]
    return (float(row), float(column))


def _intra_axial(image: FloatArray, brain: BoolArray, where: _Where, rng: np.random.Generator, shrink: float) -> _Drawn:
    """A ring-enhancing lesion inside the brain: a bright irregular rim around a dark core (glioma, metastasis)."""
    del where
    size = len(image)
    radius = rng.uniform(0.055, 0.11) * size
    depth = ndimage.distance_transform_edt(ndimage.binary_closing(brain, iterations=3))
    distance = _blob(_pick(depth > radius * 1.05, rng), radius, size, rng) / shrink
    rim = rng.uniform(0.25, 0.4)
    lesion = distance < 1
    value = np.where(distance > 1 - rim, rng.uniform(0.7, 0.95), rng.uniform(0.1, 0.25))
    return np.where(lesion, value, image).astype(np.float32), lesion


def _extra_axial(image: FloatArray, brain: BoolArray, where: _Where, rng: np.random.Generator, shrink: float) -> _Drawn:
    """A homogeneous bright lesion with a broad base on the dura, away from the sella (meningioma)."""
    size = len(image)
    radius = rng.uniform(0.06, 0.11) * size
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(brain, iterations=3))
    surface = filled & ~ndimage.binary_erosion(filled)
    far = _sella_distance(where) > 45.0
    row, column = _pick(surface & far, rng)
    distance = _blob((row, column), radius, size, rng) / shrink
    lesion = (distance < 1) & ndimage.binary_dilation(filled, iterations=2)
    return np.where(lesion, rng.uniform(0.7, 0.95), image).astype(np.float32), lesion


def _sellar(image: FloatArray, brain: BoolArray, where: _Where, rng: np.random.Generator, shrink: float) -> _Drawn:
    """A round, moderately bright lesion in the sella (pituitary adenoma)."""
    del brain
    size = len(image)
    radius = rng.uniform(0.04, 0.085) * size
    row, column = np.unravel_index(int(np.argmin(_sella_distance(where))), image.shape)
    center = (row + rng.normal(0, 0.01) * size, column + rng.normal(0, 0.01) * size)
    lesion = _blob(center, radius, size, rng) / shrink < 1
    return np.where(lesion, rng.uniform(0.65, 0.9), image).astype(np.float32), lesion


def _sella_distance(where: _Where) -> FloatArray:
    """Millimeters from every pixel to the sella, within the plane. (size, size)."""
    rows, columns, plane = where
    _, _, (row_axis, column_axis) = PLANES[plane]
    return np.asarray(np.hypot(rows - SELLA_MM[row_axis], columns - SELLA_MM[column_axis]), dtype=np.float32)
