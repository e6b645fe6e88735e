"""A folder per class, or a folder per split with a folder per class."""

from __future__ import annotations

from pathlib import Path

from medsaliency.data.dataset import Dataset
from medsaliency.data.formats import SUFFIXES, is_image
from medsaliency.data.manifest import SPLIT_NAMES, Row, assemble, inside, split_name
from medsaliency.data.reading import Planes, Reading, View, Window
from medsaliency.types import MedsaliencyError


def folder(
    root: Path,
    *,
    window: Window | None = None,
    view: View = "axial",
    planes: Planes | None = None,
    volume: bool = False,
) -> Dataset:
    """Open ``root/<class>/<image>``, or ``root/<split>/<class>/<image>`` with training, validation, evaluation.

    Hidden files and files that are no images are passed over; the records come sorted by path. Patients are unknown,
    so every image stands alone: use a manifest with ``patient_id`` where several images share a patient.

    Args:
        root: The folder.
        window: As of :class:`~medsaliency.data.reading.Reading`, for medical formats; so are the next.
        view: Likewise.
        planes: Likewise.
        volume: Likewise.

    Raises:
        MedsaliencyError: If there are no class folders, some of the folders are splits and some are not, a class
            folder holds folders or masks, a file or folder is a link that leads out of ``root``, a name has control or
            invisible characters, or a class has a single image.
    """
    top = _own_folders(root, root)
    if not top:
        raise MedsaliencyError(f"{root}: expected a folder per class (or per split), got no folder; check the path")
    named = [child.name for child in top if child.name.lower() in SPLIT_NAMES]
    if named and len(named) < len(top):
        other = next(child.name for child in top if child.name not in named)
        raise MedsaliencyError(
            f"{root}: expected either splits or classes as folders, got split {named[0]!r} beside {other!r}; "
            "move every class into a split"
        )
    if not named:
        rows = [row for child in top for row in _class(root, child, None)]
    else:
        rows = [
            row
            for split in top
            for child in _own_folders(root, split)
            for row in _class(root, child, split_name(split.name, str(split)))
        ]
    return assemble(root.resolve().name, rows, str(root), Reading(window, view, planes, volume))


def subfolders(root: Path) -> list[Path]:
    """The folders in ``root``, sorted, without hidden ones.

    Raises:
        MedsaliencyError: If ``root`` is no folder.
    """
    if not root.is_dir():
        raise MedsaliencyError(f"{root}: expected a folder, got {'a file' if root.exists() else 'nothing there'}")
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def image_files(parent: Path) -> list[Path]:
    """The image files in ``parent``, sorted, without hidden ones."""
    return sorted(
        file for file in parent.iterdir() if not file.name.startswith(".") and not file.is_dir() and is_image(file)
    )


def _own_folders(root: Path, parent: Path) -> list[Path]:
    """The folders in ``parent``, none of which leads out of ``root``: nothing is read of one before that is seen."""
    found = subfolders(parent)
    resolved = root.resolve()
    for child in found:
        inside(resolved, child.relative_to(root).as_posix(), str(child))
    return found


def _class(root: Path, parent: Path, split: str | None) -> list[Row]:
    """The rows of one class folder."""
    if nested := subfolders(parent):
        raise MedsaliencyError(f"{parent}: expected images in a class folder, got the folder {nested[0].name!r}")
    files = image_files(parent)
    if not files:
        raise MedsaliencyError(f"{parent}: expected images ({', '.join(SUFFIXES)}), got none; add some, or remove it")
    stems = {file.stem for file in files}
    for file in files:
        # Some sets keep `x_mask.png` beside `x.png`; taken for images they would teach the outline of the lesion.
        image, mark, _ = file.stem.rpartition("_mask")
        if mark and image in stems:
            raise MedsaliencyError(
                f"{file}: looks like the mask of {image!r}; write a manifest.csv with the columns image,label,mask"
            )
    resolved = root.resolve()
    rows = []
    for file in files:
        name, image_file = inside(resolved, file.relative_to(root).as_posix(), str(file))
        rows.append(Row(id=name, label=parent.name, where=str(file), image=image_file, split=split))
    return rows
