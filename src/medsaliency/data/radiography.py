"""The COVID-19 Radiography Database: class folders that each hold ``images/`` and ``masks/`` of the lungs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.folder import image_files, subfolders
from medsaliency.data.images import read_image, read_mask
from medsaliency.data.manifest import Row, assemble, inside
from medsaliency.data.reading import Reading
from medsaliency.types import BoolArray, MedsaliencyError

MASKS = ("ignore", "lung")


def radiography(root: Path, masks: Literal["ignore", "lung"] = "ignore") -> Dataset:
    """Open ``root/<class>/images/*`` (COVID, Lung_Opacity, Normal, Viral Pneumonia, or any other classes).

    The database's masks outline the lungs, of the sick and of the healthy alike, not the disease. By default they are
    left out, so that no measure takes a lung for a lesion. With ``masks="lung"`` they stand in the lesion's place, and
    every localization measure then says how much of a map lies in the lungs; the dataset's name records that.

    Args:
        root: Folder of the class folders.
        masks: ``"ignore"``, or ``"lung"`` to read ``<class>/masks/<same file name>``. The masks are 256 x 256 drawings
            of the whole 299 x 299 film, so they are brought to the film's grid, each pixel taking the nearest value.

    Raises:
        MedsaliencyError: If ``masks`` is neither, no class folder has ``images/``, one has no image, or a class has a
            single image. A missing mask, or one of other proportions than its film's, shows when it is read.
    """
    if masks not in MASKS:
        raise MedsaliencyError(f"radiography: expected masks to be one of {', '.join(MASKS)}, got {masks!r}")
    classes = [child for child in subfolders(root) if (child / "images").is_dir()]
    if not classes:
        raise MedsaliencyError(f"{root}: expected class folders that hold images/, got none; check the path")
    rows = [row for child in classes for row in _class(root, child, masks == "lung")]
    name = root.resolve().name + (" (masks: lungs)" if masks == "lung" else "")
    return assemble(name, rows, str(root), Reading(), read_film)


def read_film(record: Record) -> Raw:
    """Read a film, and its lung mask on the film's grid where the record has one.

    Raises:
        MedsaliencyError: If a file cannot be read, or the mask has other proportions than the film.
    """
    assert record.image is not None  # noqa: S101  # set for every record of this source
    pixels = read_image(record.image, source=record.id)
    if record.mask is None:
        return Raw(pixels)
    name = f"{record.id}: mask {record.mask.name}"
    return Raw(pixels, _onto(read_mask(record.mask, source=name), (pixels.shape[1], pixels.shape[2]), name))


def _class(root: Path, parent: Path, with_masks: bool) -> list[Row]:
    """The rows of one class folder."""
    files = image_files(parent / "images")
    if not files:
        raise MedsaliencyError(f"{parent / 'images'}: expected images, got none; add some, or remove the folder")
    resolved = root.resolve()
    rows = []
    for file in files:
        name, image = inside(resolved, file.relative_to(root).as_posix(), str(file))
        mask = None
        if with_masks:
            mask = inside(resolved, (parent / "masks" / file.name).relative_to(root).as_posix(), str(file))[1]
        rows.append(Row(id=name, label=parent.name, where=str(file), image=image, mask=mask))
    return rows


def _onto(mask: BoolArray, shape: tuple[int, int], name: str) -> BoolArray:
    """Bring an (H, W) mask to another grid of the same proportions, each pixel taking the nearest value."""
    if mask.shape == shape:
        return mask
    down, across = shape[0] / mask.shape[0], shape[1] / mask.shape[1]
    if abs(down / across - 1) > 0.02:
        raise MedsaliencyError(
            f"{name}: expected the proportions of the film {shape} (height, width), got {mask.shape}; redraw it"
        )
    resized = Image.fromarray(mask.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=np.bool_)
