"""The original DICOM files of what was explained: which image, or frame, each slice of a map belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from medsaliency.data.dicom.file import frame_count, named, opened
from medsaliency.data.dicom.geometry import ROUNDED, spacing_of
from medsaliency.data.formats import FORMATS, format_of
from medsaliency.types import MedsaliencyError

NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
READ = (
    *("FrameOfReferenceUID", "PatientOrientation", "Laterality", "ImageLaterality", "BurnedInAnnotation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
"""What else is read of a header, beside who and when."""
SAME_ORIENTATION = 1e-3
"""Direction cosines that differ by less are the same: files round them."""


@dataclass(frozen=True)
class Frame:
    """One slice of what was explained: a file of one image, or a frame of a file of several.

    Args:
        header: Of the file, without its pixels.
        number: Of the frame in the file, from 1; None where the file is one image.
        position: (x, y, z) of its first pixel in millimeters, as DICOM counts them (LPS+), or None where unknown.
        orientation: Direction cosines of its rows and columns, or None where unknown.
        spacing: (between rows, between columns) of pixel centers, as the reader takes it, or None where unknown.
        thickness: Of the slice in millimeters, or None where unknown.
        scaled: Whether the spacing is in millimeters; else it is a ratio alone.
    """

    header: Dataset
    number: int | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    scaled: bool = True


@dataclass(frozen=True)
class Originals:
    """The slices of one explained image or volume, of one series.

    Args:
        sample: What the image is called, for errors.
        frames: In the order of the map's slices.
    """

    sample: str
    frames: tuple[Frame, ...]

    @property
    def header(self) -> Dataset:
        """Of the first file."""
        return self.frames[0].header

    @property
    def in_patient(self) -> bool:
        """Whether every slice says where in the patient it lies, all lie the same way, and none where another does."""
        first = self.frames[0].orientation
        if first is None or any(None in (f.position, f.orientation, f.spacing) or not f.scaled for f in self.frames):
            return False
        places = {tuple(round(x / ROUNDED) for x in f.position or ()) for f in self.frames}
        if len(places) < len(self.frames):  # as those of a film of one slice
            return False
        turned = [abs(a - b) for f in self.frames for a, b in zip(f.orientation or (), first, strict=True)]
        return max(turned) < SAME_ORIENTATION

    @property
    def burned_in(self) -> str:
        """Whether the pixels tell who the patient is: YES if one slice says so, NO if all deny it, else nothing."""
        said = {str(frame.header.get("BurnedInAnnotation") or "") for frame in self.frames}
        return "YES" if "YES" in said else "NO" if said == {"NO"} else ""


def read_originals(sample: str, files: Sequence[Path], frame: int | None, size: Sequence[int]) -> Originals:
    """Read the headers of what was explained.

    Args:
        sample: What the image is called, for errors, which hold nothing of a header.
        files: The file, or those of a series in the order of the slices.
        frame: Number of the frame or slice that was explained, from 0; None for all.
        size: (H, W) or (D, H, W) of the map.

    Raises:
        MedsaliencyError: If a file is not DICOM or lacks what a reference needs, or the map is not of its size.
    """
    with named(sample), disable_value_validation():  # its warnings quote the values that it finds wrong
        headers, counts = zip(*(_read(sample, path) for path in files), strict=True)
        if len({(str(h.StudyInstanceUID), str(h.SeriesInstanceUID)) for h in headers}) > 1:
            raise MedsaliencyError(
                f"{sample}: expected files of one series, got several series; explain each by itself"
            )
        if len(headers) == 1:
            frames = _of_one(sample, headers[0], counts[0], frame, volume=len(size) == 3)
        else:
            chosen = headers if frame is None else headers[frame : frame + 1]
            frames = tuple(_frame(header, 0, single=True) for header in chosen)
    slices, grid = (size[0] if len(size) == 3 else 1), tuple(size[-2:])
    found = {(int(f.header.Rows), int(f.header.Columns)) for f in frames}
    if len(frames) != slices or found != {grid}:
        raise MedsaliencyError(
            f"{sample}: expected {slices} slices of {grid[0]} x {grid[1]} pixels in its original, got {len(frames)} of "
            f"{' and '.join(f'{rows} x {columns}' for rows, columns in sorted(found))}; explain the image again"
        )
    return Originals(sample, frames)


def _read(sample: str, path: Path) -> tuple[Dataset, int]:
    """The header of a file, and how many frames it has."""
    if path.is_file() and format_of(path) is not FORMATS["dicom"]:
        raise MedsaliencyError(
            f"{sample}: expected a DICOM file as its original, beside which DICOM objects are written, got a file of "
            "another kind; write --nifti"
        )
    with opened(path, sample) as file:
        header, count = file.header, frame_count(file)
        missing = [keyword for keyword in NEEDED if not header.get(keyword)]
        for keyword in READ:
            header.get(keyword)  # pydicom makes a value of it when it is asked for first
    if missing:
        raise MedsaliencyError(
            f"{sample}: expected a DICOM file that can be referenced, got one without {', '.join(missing)}; write "
            "--nifti"
        )
    return header, count


def _of_one(sample: str, header: Dataset, count: int, frame: int | None, *, volume: bool) -> tuple[Frame, ...]:
    """The frames of one file that were explained."""
    if frame is not None and not 0 <= frame < count:
        raise MedsaliencyError(f"{sample}: expected an original with a frame {frame}, got one of {count} frames")
    if frame is None and count > 1 and not volume:
        raise MedsaliencyError(
            f"{sample}: expected the number of the frame that was explained, of {count} in its original, got none; "
            "explain the image again"
        )
    numbers = range(count) if frame is None else [frame]
    return tuple(_frame(header, number, single=count == 1) for number in numbers)


def _frame(header: Dataset, number: int, *, single: bool) -> Frame:
    """One frame, with what the file's functional groups, or a single image's header, say of its place."""
    place = _group(header, number, "PlanePositionSequence", single)
    plane = _group(header, number, "PlaneOrientationSequence", single)
    pixels = _group(header, number, "PixelMeasuresSequence", single)
    spacing, scaled = spacing_of(header, number)
    thickness = _numbers(pixels, "SliceThickness", 1)
    return Frame(
        header=header,
        number=None if single else number + 1,
        position=_numbers(place, "ImagePositionPatient", 3),
        orientation=_numbers(plane, "ImageOrientationPatient", 6),
        spacing=spacing,
        scaled=scaled,
        thickness=None if thickness is None or thickness[0] <= 0 else thickness[0],
    )


def _group(header: Dataset, number: int, keyword: str, single: bool) -> Dataset:
    """A functional group of a frame, its own or the one that all share; the header itself for a single image."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in ([per_frame[number]] if number < len(per_frame) else []) + list(shared[:1]):
        found = groups.get(keyword)
        if found:
            group: Dataset = found[0]
            return group
    return header if single else Dataset()


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The finite numbers of an attribute; None where it has not as many."""
    try:
        value: Any = dataset.get(keyword)
        numbers = tuple(float(v) for v in (value if count > 1 else [value]))
    except (TypeError, ValueError):  # absent, empty or no number: the place is unknown, as it would be without it
        return None
    return numbers if len(numbers) == count and all(math.isfinite(n) for n in numbers) else None
