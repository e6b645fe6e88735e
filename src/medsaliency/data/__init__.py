"""Everything becomes a :class:`~medsaliency.data.dataset.Dataset` here, whatever it was on disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError, validate_call

from medsaliency.data.dataset import Dataset
from medsaliency.data.dicom.source import dicom as dicom_source
from medsaliency.data.dicom.source import is_dicom_source
from medsaliency.data.folder import folder, image_files, subfolders
from medsaliency.data.manifest import SPLIT_NAMES, manifest
from medsaliency.data.matlab import figshare
from medsaliency.data.medmnist import medmnist
from medsaliency.data.radiography import radiography
from medsaliency.data.sandbox import sandbox
from medsaliency.data.sandbox_volumes import sandbox_volumes
from medsaliency.types import MedsaliencyError, nearest

SOURCES: dict[str, Callable[..., Dataset]] = {
    "manifest": manifest,
    "folder": folder,
    "dicom": dicom_source,
    "medmnist": medmnist,
    "figshare": figshare,
    "radiography": radiography,
    "sandbox": sandbox,
    "sandbox_volumes": sandbox_volumes,
}
"""Every kind of source. All but those of :data:`MADE` take the place on disk first."""
MADE = frozenset({"sandbox", "sandbox_volumes"})
"""Sources that are made and not read."""


def open_source(root: Path | None = None, kind: str | None = None, **options: Any) -> Dataset:
    """Open a dataset.

    Args:
        root: A file or folder; None for a sandbox.
        kind: A key of ``SOURCES``, or None to find it out: a CSV or a folder with ``manifest.csv`` is a manifest,
            ``.npz`` MedMNIST's, ``.mat`` files anywhere below are figshare's, class folders with ``images/`` the
            radiography database, DICOM files or a DICOMDIR are DICOM, and folders of images (or of splits) a folder.
        options: Passed to the source.

    Raises:
        MedsaliencyError: If the kind is unknown or cannot be found out, an option is not the source's, or the source
            cannot be opened.
    """
    if kind is None:
        if root is None:
            raise MedsaliencyError("data: expected a file or folder, or kind='sandbox', got neither")
        kind = kind_of(root)
    if kind not in SOURCES:
        raise MedsaliencyError(f"data: expected a kind of source, got {kind!r}{nearest(kind, SOURCES)}")
    places = () if kind in MADE else (root,)
    if kind in MADE and root is not None:
        raise MedsaliencyError(f"data: the {kind} is made and reads no files, got {root}; leave the path out")
    if places == (None,):
        raise MedsaliencyError(f"data: expected a file or folder for a source of kind {kind!r}, got none")
    known = list(inspect.signature(SOURCES[kind]).parameters)[len(places) :]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "; it has none"
            raise MedsaliencyError(f"data: expected an option of {kind!r}, got {option!r}{hint}")
    try:
        return validate_call(SOURCES[kind])(*places, **options)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise MedsaliencyError(f"data: option {where}: {fault['msg']}, got {fault['input']!r}") from error


def kind_of(root: Path) -> str:
    """The kind of source at a place on disk.

    Raises:
        MedsaliencyError: If there is nothing, or nothing that is known.
    """
    if not root.exists():
        raise MedsaliencyError(f"{root}: no such file or folder; check the path")
    if root.suffix.lower() == ".csv" or (root / "manifest.csv").is_file():
        return "manifest"
    if root.suffix.lower() == ".npz":
        return "medmnist"
    if root.is_file() and is_dicom_source(root):
        return "dicom"
    if root.is_dir():
        if any(root.rglob("*.mat")):
            return "figshare"
        top = subfolders(root)
        if any((child / "images").is_dir() for child in top):
            return "radiography"
        if is_dicom_source(root):
            return "dicom"
        if any(child.name.lower() in SPLIT_NAMES or image_files(child) for child in top):
            return "folder"
    raise MedsaliencyError(
        f"{root}: expected a CSV, an .npz or DICOM file, or a folder with a manifest.csv, .mat files, class folders "
        "with images/, DICOM files, or class folders of images, got none of them; check the path, or name the kind of "
        "source"
    )
