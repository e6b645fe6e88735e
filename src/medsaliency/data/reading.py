"""How files of medical images are read: what a user decides of it, the same for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from medsaliency.data.dataset import Raw, Record
from medsaliency.types import BoolArray, MedsaliencyError, nearest

View = Literal["axial", "coronal", "sagittal"]
Planes = Literal["all", "middle", "lesion"]
Window = tuple[float, float]


@dataclass(frozen=True)
class Reading:
    """How a file becomes an image, or a volume.

    Args:
        window: (center, width) in the file's units (Hounsfield units of a CT) that becomes [0, 1]; None takes the
            file's own window, or the image's own range where it has none.
        view: The plane in which volumes are cut into slices. A DICOM file's slices and frames are taken as they are.
        planes: Which slices or frames of a file become images: "all", the "middle" one, or those with a "lesion" in
            their mask. None refuses a file of several, unless a manifest numbers them.
        volume: Take a file (or a series) whole, as one volume.

    Raises:
        MedsaliencyError: If a value cannot be.
    """

    window: Window | None = None
    view: View = "axial"
    planes: Planes | None = None
    volume: bool = False

    def __post_init__(self) -> None:
        if self.window is not None and not self.window[1] > 0:
            raise MedsaliencyError(f"data: expected a window as center and width above 0, got {self.window}")
        if self.view not in get_args(View):
            raise MedsaliencyError(f"data: expected a view, got {self.view!r}{nearest(self.view, get_args(View))}")
        if self.planes is not None and self.planes not in get_args(Planes):
            raise MedsaliencyError(
                f"data: expected planes all, middle or lesion, got {self.planes!r}"
                f"{nearest(self.planes, get_args(Planes))}"
            )
        if self.volume and self.planes is not None:
            raise MedsaliencyError(f"data: expected planes or a volume, got both (planes {self.planes!r}); name one")


@dataclass(frozen=True)
class Stack:
    """Of a file that holds several images: along which axis of the stored array they lie, and how many there are."""

    axis: int
    count: int


@dataclass(frozen=True)
class Format:
    """A kind of file that holds images, or masks of them.

    Every function raises MedsaliencyError that begins with the record's id where a file cannot be read as it should.

    Args:
        suffixes: In lower case, with the dot.
        stack: From a path, its name for errors and a reading: how a file of several images is stacked; None where it
            is one image, or the reading takes it whole.
        read: The image of a record, of its ``plane`` where it has one (its ``parts`` together where it has these).
        lesion: From a record whose ``mask`` is such a file, what was read of its image, and a reading: the mask on
            the image's pixels.
    """

    suffixes: tuple[str, ...]
    stack: Callable[[Path, str, Reading], Stack | None]
    read: Callable[[Record, Reading], Raw]
    lesion: Callable[[Record, Raw, Reading], BoolArray]
