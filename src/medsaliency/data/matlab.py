"""The figshare brain tumor set (Cheng et al., 1512427): one MATLAB v7.3 file an image, and folds by patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsaliency.data.dataset import EVALUATION, TRAINING, Dataset, Raw, Record
from medsaliency.data.images import MAX_PIXELS, scale
from medsaliency.data.manifest import inside
from medsaliency.types import MedsaliencyError

if TYPE_CHECKING:
    import h5py

CLASSES = ("meningioma", "glioma", "pituitary")
"""In the order of the files' own labels 1, 2, 3."""

FOLDS = "cvind.mat"


def figshare(root: Path, fold: int = 1) -> Dataset:
    """Open the ``.mat`` files anywhere below ``root``, in the order of their numbers.

    Each holds ``cjdata`` with ``label`` (1 meningioma, 2 glioma, 3 pituitary), ``PID``, ``image`` and ``tumorMask``;
    only label and PID are read here. A ``cvind.mat`` gives the published folds, which keep patients together.

    Args:
        root: Folder of the files, which may lie in folders of their own.
        fold: The fold that becomes the evaluation split, the others being training. Without ``cvind.mat`` every
            split is None.

    Raises:
        MedsaliencyError: If there are no files, one is not of this format, or the folds do not fit the files.
    """
    root = root.resolve()
    files = sorted((f for f in root.rglob("*.mat") if f.name != FOLDS and not f.name.startswith(".")), key=_number)
    if not files:
        raise MedsaliencyError(f"{root}: expected figshare's .mat files, got none; unpack the archives there")
    folds = _folds(root, fold)
    records = []
    for file in files:
        name, path = inside(root, file.relative_to(root).as_posix(), str(file))
        label, patient = _label_and_patient(path, name)
        split = None if folds is None else _split(folds, fold, file, name)
        records.append(Record(id=name, label=label, patient=patient, split=split, image=path))
    return Dataset(name=root.name, classes=CLASSES, records=tuple(records), read=read_slice)


def read_slice(record: Record) -> Raw:
    """Read the slice and its tumor mask. Intensities are scaled by the slice's own minimum and maximum to [0, 1].

    Raises:
        MedsaliencyError: If the file is missing or not of this format, the image is larger than ``MAX_PIXELS`` or
            not finite.
    """
    import h5py

    assert record.image is not None  # noqa: S101  # set for every record of this source
    try:
        with h5py.File(record.image) as file:
            data = _group(file, record.id)
            image, mask = (_plane(data, field, record.id) for field in ("image", "tumorMask"))
    except (OSError, KeyError) as error:
        raise _not_figshare(record.id, error) from error
    if not np.isfinite(image).all():
        raise MedsaliencyError(f"{record.id}: expected finite pixel values, got NaN or infinity; remove the file")
    return Raw(scale(image)[None], np.asarray(mask > 0, dtype=np.bool_))


def _number(file: Path) -> tuple[int, int, str]:
    """Sorts 2.mat before 10.mat, and files without a number after all others, by name."""
    return (0, int(file.stem), str(file)) if file.stem.isdecimal() else (1, 0, str(file))


def _label_and_patient(path: Path, name: str) -> tuple[int, str]:
    """The index of the class, and the patient's pseudonym."""
    import h5py

    try:
        with h5py.File(path) as file:
            data = _group(file, name)
            label, letters = np.asarray(data["label"]).ravel(), np.asarray(data["PID"]).ravel()
    except (OSError, KeyError) as error:
        raise _not_figshare(name, error) from error
    if label.size != 1 or label[0] not in (1, 2, 3):
        raise MedsaliencyError(f"{name}: expected a label 1, 2 or 3, got {label.tolist()}; remove the file")
    if letters.dtype.kind not in "iu" or letters.size == 0:
        raise MedsaliencyError(f"{name}: expected PID as text, got {letters.dtype} of size {letters.size}; remove it")
    return int(label[0]) - 1, "".join(map(chr, letters)).strip("\0 ") or name


def _group(file: h5py.File, name: str) -> h5py.Group:
    """The ``cjdata`` of a file."""
    import h5py

    data = file["cjdata"]
    if not isinstance(data, h5py.Group):
        raise MedsaliencyError(f"{name}: expected cjdata to be a structure, got {type(data).__name__}; remove the file")
    return data


def _plane(data: h5py.Group, field: str, name: str) -> np.ndarray:
    """A field as (H, W) numbers: MATLAB stores columns first, so h5py gives it transposed."""
    stored = data[field]
    shape = getattr(stored, "shape", None)
    if shape is None or len(shape) != 2 or not 0 < shape[0] * shape[1] <= MAX_PIXELS or stored.dtype.kind not in "biuf":
        raise MedsaliencyError(
            f"{name}: expected {field} as a plane of at most {MAX_PIXELS:,} numbers, got {shape}; remove the file"
        )
    return np.asarray(stored).T


def _folds(root: Path, fold: int) -> np.ndarray | None:
    """The fold of every file number (number 1 first), or None where the set came without ``cvind.mat``."""
    paths = sorted(root.rglob(FOLDS))
    if not paths:
        return None
    name, path = inside(root, paths[0].relative_to(root).as_posix(), str(paths[0]))
    folds = _cvind(path, name).ravel().astype(np.int64)
    if fold not in folds:
        known = ", ".join(map(str, np.unique(folds)))
        raise MedsaliencyError(f"{name}: expected fold to be one of {known}, got {fold}")
    return folds


def _cvind(path: Path, name: str) -> np.ndarray:
    """``cvind`` of a v7.3 file, or of an older one."""
    import h5py
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return np.asarray(file["cvind"])
        return np.asarray(loadmat(path, variable_names=["cvind"])["cvind"])
    except (OSError, KeyError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise MedsaliencyError(f"{name}: expected a MATLAB file with cvind ({error}); download it again") from error


def _split(folds: np.ndarray, fold: int, file: Path, name: str) -> str:
    """The split of a file: folds go by file number, so a set with files missing keeps the published ones."""
    if not file.stem.isdecimal() or not 1 <= int(file.stem) <= len(folds):
        raise MedsaliencyError(
            f"{name}: expected a file numbered 1 to {len(folds)} as {FOLDS} has them; rename it, or remove {FOLDS}"
        )
    return EVALUATION if folds[int(file.stem) - 1] == fold else TRAINING


def _not_figshare(name: str, error: Exception) -> MedsaliencyError:
    return MedsaliencyError(f"{name}: expected a MATLAB v7.3 file with cjdata ({error}); download it again")
