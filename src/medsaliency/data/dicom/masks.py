"""Lesions that are kept in DICOM: segmentations (SEG), contours (RTSTRUCT), and masks that are plain images.

A mask is put on the image's own stored pixels. Nothing of what names a patient, a study or an object is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsaliency.data import volumes
from medsaliency.data.dataset import Raw, Record
from medsaliency.data.dicom.contours import cost, inside
from medsaliency.data.dicom.file import MASKS, frame_count, is_dicom, opened
from medsaliency.data.dicom.geometry import Plane, image_affine, planes_of
from medsaliency.data.dicom.header import DicomFault, class_name, raw_text, text, whole
from medsaliency.data.dicom.pixels import frames
from medsaliency.data.reading import Reading
from medsaliency.types import BoolArray, MedsaliencyError

if TYPE_CHECKING:
    from pydicom import Dataset

    from medsaliency.data.dicom.file import DicomFile

LABEL_MAP = MASKS[1]
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
"""RT Structure Set Storage."""
MAX_COST, MAX_SLICE_COST = 100_000_000, 4_000_000
"""Most crossings of contours and rows of pixels: of all contours, and of those of one region on one slice."""
SLACK = 1e-3
"""Of half the distance of slices: what rounding of positions may move a contour that lies right between two."""


@dataclass(frozen=True)
class Place:
    """A slice or frame of the image.

    Args:
        instance: SOP instance UID of its file.
        frame: Number in it, from 1.
        plane: Where it lies, or None where the file does not say.
        reference: UID of the frame of reference of ``plane``.
    """

    instance: str
    frame: int
    plane: Plane | None
    reference: str


def lesion(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    """The mask of a record, on the image's stored pixels: all segments, or all closed contours, together.

    Args:
        record: Of a DICOM image. Its ``mask`` is a SEG (binary; fractional, from 0.5 on; a label map without its
            background), an RTSTRUCT (CLOSED_PLANAR contours on the slice they lie on, within half the distance of
            slices; a contour within another of the same region is a hole), or an image, of which every value above zero
            is lesion.
        raw: The image as read.
        reading: Not needed.

    Returns:
        (H, W), or (D, H, W) for a volume. False everywhere where the mask is of this image but marks nothing on it.

    Raises:
        MedsaliencyError: If the mask is another file, damaged, of another image, or drawn on other pixels.
    """
    del reading
    assert record.mask is not None  # noqa: S101  # the caller has seen it
    assert record.image is not None  # noqa: S101  # every source of files sets it
    name = f"{record.id}: mask {record.mask.name}"
    if not is_dicom(record.image):
        raise MedsaliencyError(f"{name}: expected a DICOM image for a DICOM mask, got another; convert the mask")
    places = _places(record, raw)
    size = (raw.pixels.shape[-2], raw.pixels.shape[-1])
    with opened(record.mask, name) as file:
        kind = text(file.header, "SOPClassUID")
        if kind in MASKS:
            found = _segments(file, record, name, places, size)
        elif kind == STRUCTURES:
            found = _structures(file.header, places, size)
        else:
            found = _drawn(file, record, raw, places, size)
    return found if raw.pixels.ndim == 4 else found[0]


def _places(record: Record, raw: Raw) -> list[Place]:
    """The slices of the image that was read."""
    assert record.image is not None  # noqa: S101  # every source of files sets it
    places = []
    files = record.parts if record.parts and record.plane is None else (record.image,)
    for path in files:
        with opened(path, record.id) as file:
            count = frame_count(file)
            planes = _planes(file.header, count)
            instance, reference = (raw_text(file.header, key) for key in ("SOPInstanceUID", "FrameOfReferenceUID"))
        chosen = range(count) if raw.slice is None else [raw.slice.index]
        places += [Place(instance, index + 1, planes[index], reference) for index in chosen]
    return places


def _planes(header: Dataset, count: int) -> Sequence[Plane | None]:
    return planes_of(header, count) or (None,) * count


# --- segmentations ---


def _segments(file: DicomFile, record: Record, name: str, places: Sequence[Place], size: tuple[int, int]) -> BoolArray:
    header = file.header
    groups = header.get("PerFrameFunctionalGroupsSequence") or ()
    count = whole(header, "NumberOfFrames", 1)
    if not groups or len(groups) != count:
        raise DicomFault(
            f"expected a segmentation that tells of each of its {count} frames where it belongs, got one that tells it "
            f"of {len(groups)}; export it again, or convert it"
        )
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    planes = _planes(header, count)
    references = [_references(group) for group in groups]
    ours = {place.instance for place in places}
    known = {instance for found in references for instance, _ in found} | set(_series(header))
    if known and not known & ours:
        raise DicomFault("expected a segmentation of this image, got one of others; give each image its own")
    same = raw_text(header, "FrameOfReferenceUID") in {place.reference for place in places} - {""}
    if not known and not same:
        raise DicomFault("expected a segmentation that refers to this image, got one that refers to none; convert it")
    if sorted((rows, columns)) != sorted(size):
        raise DicomFault(f"expected frames of the image's {size} (rows, columns), got {(rows, columns)}; resample it")
    wanted = [
        (index, target)
        for index, (found, plane) in enumerate(zip(references, planes, strict=True))
        if (target := _target(found, plane, places)) is not None
    ]
    mask = np.zeros((len(places), *size), np.bool_)
    for index, target, marked in _marked(file, record, count * rows * columns, wanted):
        here, there = planes[index], places[target].plane
        if here is None or there is None:
            if (rows, columns) != size:
                raise DicomFault(f"expected frames of the image's {size} (rows, columns), got {(rows, columns)}")
            mask[target] |= marked
        else:
            mask[target] |= _onto(marked, here, there, record, name, size)
    return mask


def _onto(marked: BoolArray, here: Plane, there: Plane, record: Record, name: str, size: tuple[int, int]) -> BoolArray:
    """A frame of a segmentation on the pixels of a slice, in whatever direction its rows and columns run."""
    affine = image_affine(here)
    frame = volumes.Stored(
        name=name,
        shape=marked.shape,
        affine=affine,
        assumed=affine,
        spacing=None,
        color=False,
        columns_first=False,
        size=marked.size,
        length=marked.size,
        packed=False,
        load=lambda _axis, _index: marked,
        units=lambda numbers: numbers,
    )
    slice_ = Raw(np.broadcast_to(np.float32(0), (1, *size)), affine=image_affine(there))
    return volumes.mask(frame, record, slice_)


def _references(group: Dataset) -> list[tuple[str, tuple[int, ...]]]:
    """The images that a frame was derived from: instance, and numbers of frames where it names them."""
    found = []
    for derivation in group.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            numbers = source.get("ReferencedFrameNumber")
            listed = () if numbers is None else np.atleast_1d(np.asarray(numbers, np.int64)).tolist()
            found.append((raw_text(source, "ReferencedSOPInstanceUID"), tuple(listed)))
    return found


def _series(header: Dataset) -> Iterator[str]:
    """The images of the series that a segmentation refers to."""
    for series in header.get("ReferencedSeriesSequence") or ():
        for instance in series.get("ReferencedInstanceSequence") or ():
            yield raw_text(instance, "ReferencedSOPInstanceUID")


def _target(
    references: Sequence[tuple[str, tuple[int, ...]]], plane: Plane | None, places: Sequence[Place]
) -> int | None:
    """The slice that a frame of a segmentation is of; None where it is of one that is not among them."""
    hits = [
        index
        for index, place in enumerate(places)
        if not references
        or any(instance == place.instance and (not n or place.frame in n) for instance, n in references)
    ]
    if len(hits) == 1 and references:
        return hits[0]
    if not hits:
        return None
    if plane is None or any(places[hit].plane is None for hit in hits):
        raise DicomFault("expected a segmentation that says which slice each frame is of, got none; export it again")
    target = min(hits, key=lambda hit: abs(_distance(plane, places[hit])))
    return target if abs(_distance(plane, places[target])) < _half(places) else None


def _distance(plane: Plane, place: Place) -> float:
    assert place.plane is not None  # noqa: S101  # the callers have seen it
    return float((np.asarray(plane.position) - place.plane.position) @ place.plane.normal)


def _half(places: Sequence[Place]) -> float:
    """Half the distance of slices: measured where there are several, else as the file says, in millimeters."""
    planes = [place.plane for place in places if place.plane is not None]
    if len(planes) < 2:
        return planes[0].thickness / 2
    along = np.sort([np.dot(plane.position, planes[0].normal) for plane in planes])
    gaps = np.diff(along)
    return float(np.median(gaps[gaps > 1e-3])) / 2 if (gaps > 1e-3).any() else planes[0].thickness / 2


def _marked(
    file: DicomFile, record: Record, values: int, wanted: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int, BoolArray]]:
    """Where the wanted frames mark something, decoded one after another."""
    from highdicom.seg import segread
    from pydicom.uid import UID

    header, pixels = file.header, file.pixels
    needed = math.ceil(values * whole(header, "BitsAllocated") / 8)
    if pixels is None or (not UID(file.syntax).is_encapsulated and min(pixels.length, pixels.there) < needed):
        raise DicomFault(f"expected {needed:,} bytes of pixel data, got fewer; it was cut off: export it again")
    label_map = text(header, "SOPClassUID") == LABEL_MAP
    lowest = whole(header, "MaximumFractionalValue") / 2 if text(header, "SegmentationType") == "FRACTIONAL" else 1
    background = whole(header, "PixelPaddingValue", 0)
    assert record.mask is not None  # noqa: S101  # the caller has seen it
    segmentation = segread(record.mask, lazy_frame_retrieval=True) if wanted else None
    for index, target in wanted:
        assert segmentation is not None  # noqa: S101  # something is wanted
        numbers = segmentation.get_stored_frame(index + 1)
        yield index, target, np.asarray(numbers != background if label_map else numbers >= lowest, np.bool_)


# --- contours ---


def _structures(header: Dataset, places: Sequence[Place], size: tuple[int, int]) -> BoolArray:
    if any(place.plane is None for place in places):
        raise DicomFault("expected an image that says where in the patient it lies, for contours, got none; use a mask")
    reference = {place.reference for place in places} - {""}
    frames_of = {
        whole(region, "ROINumber"): raw_text(region, "ReferencedFrameOfReferenceUID")
        for region in header.get("StructureSetROISequence") or ()
    }
    instances = set(_planned(header))
    ours = instances & {place.instance for place in places}
    mask = np.zeros((len(places), *size), np.bool_)
    closed, fits, total = False, False, 0
    for region in header.get("ROIContourSequence") or ():
        if not ours and frames_of.get(whole(region, "ReferencedROINumber", -1)) not in reference:
            continue
        fits = True
        on: dict[int, list[NDArray[np.float64]]] = {}
        for contour in region.get("ContourSequence") or ():
            if raw_text(contour, "ContourGeometricType") not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
                continue
            closed = True
            points = _points(contour)
            target = _slice_of(points, set(_images(contour)) if ours else set(), places)
            if target is not None:
                on.setdefault(target, []).append(_pixels(points, places[target].plane))
        for target, contours in on.items():
            spent = sum(cost(points, size[0]) for points in contours)
            total += spent
            if spent > MAX_SLICE_COST or total > MAX_COST:
                raise DicomFault(
                    f"expected contours that cross at most {MAX_COST:,} rows of pixels, got more; thin them"
                )
            mask[target] |= inside(contours, size)
    if not fits:
        raise DicomFault("expected contours in the image's frame of reference, got those of another image")
    if not closed:
        raise DicomFault("expected closed contours (CLOSED_PLANAR), got none; export the structures again")
    return mask


def _planned(header: Dataset) -> Iterator[str]:
    """Every image that a structure set refers to."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield from _images(series)
    for region in header.get("ROIContourSequence") or ():
        for contour in region.get("ContourSequence") or ():
            yield from _images(contour)


def _images(dataset: Dataset) -> Iterator[str]:
    for image in dataset.get("ContourImageSequence") or ():
        yield raw_text(image, "ReferencedSOPInstanceUID")


def _points(contour: Dataset) -> NDArray[np.float64]:
    """(P, 3) in LPS+ millimeters."""
    try:
        values = np.array(raw_text(contour, "ContourData").split("\\"), np.float64)
    except ValueError as error:
        raise DicomFault("expected contours of numbers, got something else; export the structures again") from error
    if len(values) % 3 or not np.isfinite(values).all():
        raise DicomFault("expected contours of points x\\y\\z, got others; export the structures again")
    return values.reshape(-1, 3)


def _slice_of(points: NDArray[np.float64], instances: set[str], places: Sequence[Place]) -> int | None:
    """The slice that a contour lies on: the nearest within half the distance of slices, among its own if it has any."""
    hits = [index for index, place in enumerate(places) if not instances or place.instance in instances]
    half = _half(places)
    depths = []
    for hit in hits:
        plane = places[hit].plane
        assert plane is not None  # noqa: S101  # the caller has seen it
        depths.append((points - plane.position) @ plane.normal)
    if not depths:
        return None
    # Half open, so that a contour right between two slices is on one of them, and on the same when both are read alone.
    middles = [float(np.median(depth)) + SLACK * half for depth in depths]
    nearest = int(np.argmin(np.abs(middles)))
    if not -half <= middles[nearest] < half:
        if instances:
            raise DicomFault(
                "expected contours on the slices they refer to, got some elsewhere; draw them on this series"
            )
        return None
    if np.abs(depths[nearest] - np.median(depths[nearest])).max() > half:
        raise DicomFault("expected contours on the image's slices, got some across them; draw them on this series")
    return hits[nearest]


def _pixels(points: NDArray[np.float64], plane: Plane | None) -> NDArray[np.float64]:
    """(P, 2) of (row, column)."""
    assert plane is not None  # noqa: S101  # the caller has seen it
    off = points - plane.position
    return np.column_stack([off @ plane.rows / plane.spacing[0], off @ plane.columns / plane.spacing[1]])


# --- images ---


def _drawn(file: DicomFile, record: Record, raw: Raw, places: Sequence[Place], size: tuple[int, int]) -> BoolArray:
    """A mask that is an ordinary image: one frame for the image, or as many as its file has."""
    if file.pixels is None:
        raise DicomFault(
            f"expected a segmentation (SEG), structures (RTSTRUCT) or an image as mask, got {class_name(file.header)}"
        )
    count = frame_count(file)
    found = whole(file.header, "Rows"), whole(file.header, "Columns")
    stored = raw.slice.shape[0] if raw.slice is not None else len(places)
    if found != size or count != stored or record.parts:
        raise DicomFault(
            f"expected a mask of the image's {stored} x {size[0]} x {size[1]} pixels (frames, rows, columns), got "
            f"{count} x {found[0]} x {found[1]}; the mask must be drawn on the image's own pixels"
        )
    indices = [place.frame - 1 for place in places]
    return np.stack([frame.marked() for frame in frames(file, indices, count)])
