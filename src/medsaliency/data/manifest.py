"""A CSV that lists images, and what every source of image files shares: safe paths, split names, records."""

from __future__ import annotations

import difflib
import errno
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PureWindowsPath

from medsaliency.data.csv_rows import csv_rows
from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Box, Dataset, Raw, Record
from medsaliency.data.formats import planes_of, read_record
from medsaliency.data.reading import Planes, Reading, View, Window
from medsaliency.data.untrusted import require_name, visible
from medsaliency.types import MedsaliencyError, nearest

REQUIRED = ("image", "label")
OPTIONAL = ("patient_id", "mask", "boxes", "split", "plane")

LONGEST_PATH = 1_024
"""Characters of a path in a manifest, or below a folder."""
LONGEST_NAME = 255
"""Characters of a label or of a patient's identifier."""
MOST_PIXELS_OF_A_BOX = 1_000_000
"""Of a box's place and sides; no picture is so wide."""

SPLIT_NAMES = {
    **dict.fromkeys(("training", "train"), TRAINING),
    **dict.fromkeys(("validation", "valid", "val"), VALIDATION),
    **dict.fromkeys(("evaluation", "eval", "test"), EVALUATION),
}
"""What sources call the three splits, in lower case."""


def manifest(
    path: Path,
    *,
    window: Window | None = None,
    view: View = "axial",
    planes: Planes | None = None,
    volume: bool = False,
) -> Dataset:
    """Open a CSV with ``image,label`` and optionally ``patient_id``, ``mask``, ``boxes``, ``split`` and ``plane``.

    Args:
        path: The CSV, or the folder that holds a ``manifest.csv``. Its image and mask paths are relative to its own
            folder and must stay inside. An empty ``mask`` means no mask, an empty ``patient_id`` an unknown patient
            (the image then stands alone), an empty ``split`` one still to be made. ``boxes`` stand for a mask: ``x y
            width height`` in pixels of the image, several separated by semicolons. ``plane`` numbers a slice or frame
            of the file from 0. Other columns are ignored. It is UTF-8, with or without a byte order mark, and has at
            most :data:`~medsaliency.data.csv_rows.MOST_ROWS` rows; no name in it has control or invisible characters.
        window: As of :class:`~medsaliency.data.reading.Reading`, for medical formats; so are the next.
        view: Likewise.
        planes: Likewise; a file whose row has a ``plane`` keeps to that.
        volume: Likewise.

    Returns:
        A dataset with classes in alphabetical order. A record's id is the image's relative path, and ``#`` and the
        number where it is a plane; planes of one file are one patient unless ``patient_id`` says otherwise.

    Raises:
        MedsaliencyError: If the file or a column is missing, the file is too large, a cell is not what it should be,
            an image is listed twice, or a label has a single image. Whether the image files exist shows when they are
            read.
    """
    file = path / "manifest.csv" if path.is_dir() else path
    if not file.is_file():
        raise MedsaliencyError(f"{file}: no such manifest; expected a CSV with the columns {','.join(REQUIRED)}")
    rows = _rows(csv_rows(file), file)
    return assemble(file.parent.resolve().name, rows, str(file), Reading(window, view, planes, volume))


@dataclass(frozen=True)
class Row:
    """A record before the classes are known: ``label`` is still a name, ``where`` says where the row stands."""

    id: str
    label: str
    where: str
    image: Path
    mask: Path | None = None
    patient: str | None = None
    split: str | None = None
    boxes: tuple[Box, ...] = ()
    plane: int | None = None
    parts: tuple[Path, ...] = ()


def assemble(
    name: str, rows: Sequence[Row], where: str, reading: Reading, read: Callable[[Record], Raw] | None = None
) -> Dataset:
    """Make a dataset of rows: classes are the sorted labels, an unknown patient is the row's id.

    Labels and patients are compared, and kept, in Unicode's composed form (NFC): what looks the same is the same.

    Args:
        name: Of the dataset.
        rows: A row of a file of several slices or frames becomes one for each that ``reading`` asks for.
        where: Names the source in errors.
        reading: How files are read.
        read: Reads a record; None reads its files, whatever their format.

    Raises:
        MedsaliencyError: If there are no rows, an id occurs twice, a label has a single image, or a label or patient
            is no name (:func:`~medsaliency.data.untrusted.require_name`).
    """
    if not rows:
        raise MedsaliencyError(f"{where}: expected at least one image, got none; add images, or check the path")
    rows = [_named(row) for row in rows]
    if read is None:
        rows = [plane for row in rows for plane in _planes(row, reading)]
        read = partial(read_record, reading=reading)
    seen: dict[str, str] = {}
    for row in rows:
        # Some file systems hold one file under both forms of a name.
        composed = unicodedata.normalize("NFC", row.id)
        if composed in seen:
            raise MedsaliencyError(
                f"{row.where}: image {row.id!r} is already listed at {seen[composed]}; list every image once"
            )
        seen[composed] = row.where
    counts = Counter(row.label for row in rows)
    for label, count in sorted(counts.items()):
        if count == 1:
            raise MedsaliencyError(
                f"{where}: label {label!r} has 1 image, expected two or more; add images of it, or correct or remove it"
            )
    classes = tuple(sorted(counts))
    index = {label: i for i, label in enumerate(classes)}
    records = tuple(
        Record(
            row.id,
            index[row.label],
            row.patient or row.id,
            row.split,
            row.image,
            row.mask,
            row.boxes,
            row.plane,
            row.parts,
        )
        for row in rows
    )
    return Dataset(name=visible(name), classes=classes, records=records, read=read, reading=reading)


def _named(row: Row) -> Row:
    """The row with its label and patient in composed form."""
    for text, what in ((row.label, "a label"), (row.patient or "", "a patient's identifier")):
        require_name(text, LONGEST_NAME, what, row.where, shown=text == row.label)
    label, patient = (unicodedata.normalize("NFC", text) for text in (row.label, row.patient or ""))
    return row if (label, patient) == (row.label, row.patient or "") else replace(row, label=label, patient=patient)


def _planes(row: Row, reading: Reading) -> list[Row]:
    """A row for each slice or frame of its file that becomes an image; the row itself where its file is one."""
    if row.plane is not None:
        return [replace(row, id=f"{row.id}#{row.plane}", patient=row.patient or row.id)]
    if not row.image.is_file() or row.parts:  # said when it is read, as of any other file
        return [row]
    found = planes_of(Record(row.id, 0, row.id, None, row.image, row.mask), reading)
    return [
        row if plane is None else replace(row, id=f"{row.id}#{plane}", patient=row.patient or row.id, plane=plane)
        for plane in found
    ]


def inside(root: Path, relative: str, where: str) -> tuple[str, Path]:
    """Return a relative path in its plainest POSIX form and as a path below ``root``.

    Args:
        root: A resolved folder.
        relative: As written by the user; backslashes separate as slashes do.
        where: Names the row for errors.

    Raises:
        MedsaliencyError: If the path is absolute, leads out of ``root`` by ``..`` or through a link, or has signs that
            no name may have.
    """
    require_name(relative, LONGEST_PATH, "a path", where)
    posix = relative.replace("\\", "/")
    if posix.startswith("/") or PureWindowsPath(relative).drive:
        raise MedsaliencyError(f"{where}: expected a path relative to {root}, got the absolute {relative!r}")
    plain = posixpath.normpath(posix)
    # Text, and a Path at the end only: a manifest may have a million of them.
    within, joined = os.fspath(root), os.path.join(root, plain)  # noqa: PTH118
    target = os.path.realpath(joined)
    if target != within and not target.startswith(within.rstrip(os.sep) + os.sep):
        raise MedsaliencyError(
            f"{where}: {relative!r} leads out of {root}; put the file (not a link to it) inside that folder"
        )
    try:
        os.stat(joined)  # noqa: PTH116
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # too long a name, a loop of links
            raise MedsaliencyError(f"{where}: {relative!r} is not a usable path ({error}); correct it") from error
    return plain, root / plain


def split_name(text: str, where: str) -> str:
    """Return the canonical name of a split, whatever common name the source gives it.

    Raises:
        MedsaliencyError: If the name is none of ``SPLIT_NAMES``.
    """
    try:
        return SPLIT_NAMES[text.lower()]
    except KeyError:
        hint = nearest(text[:80].lower(), SPLIT_NAMES)
        raise MedsaliencyError(f"{where}: expected a split name, got {text[:80]!r}{hint}") from None


def _rows(lines: Iterator[tuple[int, list[str]]], file: Path) -> list[Row]:
    """The rows of a manifest, checked one by one."""
    columns = _columns(next(lines, (1, []))[1], file)
    root = file.parent.resolve()
    rows = []
    for number, cells in lines:
        where = f"{file}, row {number}"
        if len(cells) != len(columns):
            raise MedsaliencyError(
                f"{where}: expected {len(columns)} cells as in the header, got {len(cells)}; quote text that has commas"
            )
        rows.append(_row(dict(zip(columns, cells, strict=True)), root, where))
    return rows


def _row(cells: dict[str, str], root: Path, where: str) -> Row:
    for column in REQUIRED:
        if not cells[column]:
            raise MedsaliencyError(f"{where}: expected a value in column {column!r}, got an empty cell; fill it in")
    if cells.get("mask") and cells.get("boxes"):
        raise MedsaliencyError(f"{where}: expected a mask or boxes, got both; leave one empty")
    name, image = inside(root, cells["image"], where)
    return Row(
        id=name,
        label=cells["label"],
        where=where,
        image=image,
        mask=inside(root, cells["mask"], where)[1] if cells.get("mask") else None,
        patient=cells.get("patient_id"),
        split=split_name(cells["split"], where) if cells.get("split") else None,
        boxes=tuple(_box(text, where) for text in cells.get("boxes", "").split(";") if text.strip()),
        plane=_plane(cells["plane"], where) if cells.get("plane") else None,
    )


def _plane(text: str, where: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise MedsaliencyError(f"{where}: expected plane as a whole number from 0, got {text[:80]!r}")
    return int(text)


def _box(text: str, where: str) -> Box:
    try:
        x, y, width, height = (int(number) for number in text.split())
    except ValueError:
        x, y, width, height = -1, -1, 0, 0
    if min(x, y) < 0 or min(width, height) < 1 or max(x, y, width, height) > MOST_PIXELS_OF_A_BOX:
        raise MedsaliencyError(
            f"{where}: expected boxes as whole numbers 'x y width height' in pixels, several separated by ';', got "
            f"{text.strip()[:80]!r}"
        )
    return x, y, width, height


def _columns(header: list[str], file: Path) -> list[str]:
    """The header in lower case, with every required column and no misspelt optional one."""
    columns = [cell.lower() for cell in header]
    for column in REQUIRED:
        if columns.count(column) != 1:
            raise MedsaliencyError(
                f"{file}, row 1: expected the columns {','.join(REQUIRED)}, once each and separated by commas, got "
                f"{','.join(header)[:200]!r}; add or rename {column!r}"
            )
    missing = [column for column in OPTIONAL if column not in columns]
    for column in dict.fromkeys(column for column in columns if len(column) < 80):
        # A misspelt patient column, ignored, would let one patient into two splits.
        if column not in REQUIRED + OPTIONAL and (meant := difflib.get_close_matches(column, missing, n=1, cutoff=0.8)):
            raise MedsaliencyError(f"{file}, row 1: unknown column {column!r}; rename it to {meant[0]!r}, or remove it")
        if column in OPTIONAL and columns.count(column) > 1:
            raise MedsaliencyError(f"{file}, row 1: expected column {column!r} once; remove or rename one")
    return columns
