"""Folders, files and DICOMDIRs of DICOM images as a source: classes by folder or by a CSV, masks by references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from medsaliency.data.csv_rows import csv_rows
from medsaliency.data.dataset import Dataset, Record
from medsaliency.data.dicom.file import is_dicom
from medsaliency.data.dicom.series import Found, find, patients, series
from medsaliency.data.formats import planes_of, read_record
from medsaliency.data.images import IMAGE_SUFFIXES
from medsaliency.data.manifest import SPLIT_NAMES, Row, assemble, inside, split_name
from medsaliency.data.reading import Planes, Reading, Window
from medsaliency.types import MedsaliencyError

UNLABELED = "unlabeled"
"""The class of images whose source names none: enough to check and to explain them, not to train on them."""
COLUMNS = ("image", "label", "patient_id", "mask", "split")


def dicom(
    root: Path,
    *,
    labels: Path | None = None,
    window: Window | None = None,
    planes: Planes | None = None,
    volume: bool = False,
) -> Dataset:
    """Open the DICOM images of a file, of a folder at any depth, or of a DICOMDIR.

    Every image is a record, or with ``volume`` every series of 3 or more parallel slices and every file of several
    frames. Segmentations, structure sets, reports and other objects without an image are none, nor are parametric maps,
    doses and captures that refer to an image beside them.

    Classes are those of ``labels``; without it, the first folders below the root where all images lie in two or more
    (below folders of splits, if all of these are), or else the one class ``unlabeled``. A segmentation or structure set
    that refers to an image (or for a volume, to its series) is its mask where ``labels`` names none. Patients are told
    apart by PatientID, which is written nowhere: a record's patient is the id of the patient's first file.

    Args:
        root: A file, a folder, or a DICOMDIR. Links that lead out are refused.
        labels: A CSV with ``image,label`` and optionally ``patient_id``, ``mask`` and ``split``; paths in it are
            relative to the root. Images that it does not list are left out. A volume is listed by any of its files, or
            by the folder that holds them.
        window: As of :class:`~medsaliency.data.reading.Reading`.
        planes: Likewise, for files of several frames.
        volume: Likewise.

    Returns:
        A dataset; an id is the path relative to the root (of the first slice, for a series), with ``#`` and the number
        of a frame.

    Raises:
        MedsaliencyError: If there is no image (or volume), two masks refer to one image, or a label has one image; and
            for faults of the CSV.
    """
    if not root.exists():
        raise MedsaliencyError(f"{root}: no such file or folder; check the path")
    reading = Reading(window, "axial", planes, volume)
    found = find(root)
    images = [one for one in found if one.kind == "image"]
    taken = series(images) if volume else [(image,) for image in images]
    if not taken:
        raise MedsaliencyError(f"{root}: expected a series of 3 or more parallel slices, got none; leave volume out")
    name = (root if root.is_dir() else root.parent).resolve().name
    same = patients(found)
    rows = [_row(parts, same) for parts in taken]
    base = (root if root.is_dir() else root.parent).resolve()
    if labels is not None:
        rows = _listed(labels, base, rows, taken)
    elif root.is_dir():
        rows = _by_folder(rows)
    masks = [one for one in found if one.kind == "mask"]
    parts_of = {parts[0].id: parts for parts in taken}
    rows = [_with_mask(row, parts_of[row.id], masks, volume) for row in rows]
    unlabeled = all(row.label == UNLABELED for row in rows)
    dataset = _unlabeled(name, rows, reading) if unlabeled else assemble(name, rows, str(root), reading)
    return replace(dataset, names_patients=all(row.patient is not None for row in rows))


def is_dicom_source(root: Path) -> bool:
    """Whether a place on disk is a DICOM file, a DICOMDIR, or a folder with a DICOM file at any depth."""
    if root.is_file():
        return is_dicom(root)
    return any(
        is_dicom(path)
        for path in root.rglob("*")
        if path.suffix.lower() not in (*IMAGE_SUFFIXES, ".csv") and not path.name.startswith(".") and path.is_file()
    )


def _row(parts: Sequence[Found], same: dict[str, str]) -> Row:
    first = parts[0]
    return Row(
        id=first.id,
        label=UNLABELED,
        where=first.id,
        image=first.path,
        patient=same.get(first.id),
        parts=tuple(part.path for part in parts) if len(parts) > 1 else (),
    )


def _by_folder(rows: Sequence[Row]) -> list[Row]:
    """Rows with the classes (and splits) of their folders, where all of them have one and there are two or more."""
    places = [row.id.split("/")[:-1] for row in rows]
    splits = all(place and place[0].lower() in SPLIT_NAMES for place in places)
    depth = 1 if splits else 0
    if any(len(place) <= depth for place in places) or len({place[depth] for place in places}) < 2:
        return list(rows)
    return [
        replace(row, label=place[depth], split=split_name(place[0], row.where) if splits else None)
        for row, place in zip(rows, places, strict=True)
    ]


def _with_mask(row: Row, parts: Sequence[Found], masks: Sequence[Found], volume: bool) -> Row:
    """The row with the mask that refers to it, where it has none.

    Raises:
        MedsaliencyError: If two do.
    """
    if row.mask is not None:
        return row
    uids = {part.uid for part in parts} | ({parts[0].series} if volume else set())
    own = [mask for mask in masks if mask.references & (uids - {""})]
    if len(own) > 1:
        raise MedsaliencyError(
            f"{row.id}: expected one mask that refers to it, got {own[0].id!r} and {own[1].id!r}; name one in a CSV of "
            "labels with the column mask, or take one away"
        )
    return replace(row, mask=own[0].path) if own else row


def _unlabeled(name: str, rows: Sequence[Row], reading: Reading) -> Dataset:
    """A dataset of one class, of which a single image is enough."""
    records = []
    for row in rows:
        record = Record(row.id, 0, row.patient or row.id, None, row.image, row.mask, parts=row.parts)
        for plane in [None] if row.parts else planes_of(record, reading):
            records.append(record if plane is None else replace(record, id=f"{row.id}#{plane}", plane=plane))
    return Dataset(name, (UNLABELED,), tuple(records), partial(read_record, reading=reading), reading)


def _listed(labels: Path, root: Path, rows: Sequence[Row], taken: Sequence[Sequence[Found]]) -> list[Row]:
    """The rows that a CSV lists, with what it says of them."""
    if not labels.is_file():
        raise MedsaliencyError(f"{labels}: no such file; expected a CSV with the columns image,label")
    lines = csv_rows(labels)
    columns = [cell.lower() for cell in next(lines, (1, []))[1]]
    if not {"image", "label"} <= set(columns) or set(columns) - set(COLUMNS) or len(set(columns)) < len(columns):
        raise MedsaliencyError(
            f"{labels}, row 1: expected the columns image,label and perhaps {','.join(COLUMNS[2:])}, once each, got "
            f"{','.join(columns)[:200]!r}; rename or remove columns"
        )
    names = _names(rows, taken)
    found: dict[str, Row] = {}
    for number, cells in lines:
        where = f"{labels}, row {number}"
        if len(cells) != len(columns):
            raise MedsaliencyError(f"{where}: expected {len(columns)} cells, got {len(cells)}; quote text with commas")
        row = _of_line(dict(zip(columns, cells, strict=True)), root, names, where)
        if row.id in found:
            raise MedsaliencyError(
                f"{where}: image {row.id!r} is listed already at {found[row.id].where}; list it once"
            )
        found[row.id] = row
    if not found:
        raise MedsaliencyError(f"{labels}: expected at least one image, got none; add rows")
    return list(found.values())


def _of_line(cells: dict[str, str], root: Path, names: dict[str, Row], where: str) -> Row:
    if not cells["image"] or not cells["label"]:
        raise MedsaliencyError(f"{where}: expected an image and a label, got an empty cell; fill it in")
    name = inside(root, cells["image"], where)[0]
    if name not in names:
        raise MedsaliencyError(f"{where}: expected an image (or a series) of the source, got {name!r}; correct it")
    row = names[name]
    return replace(
        row,
        label=cells["label"],
        where=where,
        patient=cells.get("patient_id") or row.patient,
        mask=inside(root, cells["mask"], where)[1] if cells.get("mask") else None,
        split=split_name(cells["split"], where) if cells.get("split") else None,
    )


def _names(rows: Sequence[Row], taken: Sequence[Sequence[Found]]) -> dict[str, Row]:
    """What a row can be called: by any of its files, and a series by a folder that holds it and no other."""
    names = {part.id: row for row, parts in zip(rows, taken, strict=True) for part in parts}
    folders: dict[str, list[Row]] = {}
    for row, parts in zip(rows, taken, strict=True):
        holding = {part.id.rpartition("/")[0] for part in parts}
        if row.parts and len(holding) == 1:
            folders.setdefault(holding.pop(), []).append(row)
    return names | {folder: own[0] for folder, own in folders.items() if folder and len(own) == 1}
