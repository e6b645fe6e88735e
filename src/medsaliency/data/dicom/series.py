"""The DICOM files of a folder or a DICOMDIR: found by their content, known by their headers, gathered into series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medsaliency.data.dicom.file import DIRECTORY, MASKS, DicomFile, is_dicom, opened
from medsaliency.data.dicom.geometry import Plane, along_normal, parallel, planes_of
from medsaliency.data.dicom.header import raw_text, text, whole
from medsaliency.data.manifest import inside
from medsaliency.types import MedsaliencyError

if TYPE_CHECKING:
    from pydicom import Dataset

FEWEST = 3
"""Slices of a volume."""
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
"""RT Structure Set Storage."""
RESULTS = ("1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481.2")
"""Parametric Map and RT Dose Storage: they have pixels and can be read, but beside images they are made from them."""
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage; those of several frames begin like it."""


@dataclass(frozen=True)
class Found:
    """A DICOM file. What identifies the patient stays in here: it goes into no record, table or message.

    Args:
        id: Path relative to the root.
        path: Of the file.
        kind: "image", "mask" (a segmentation or structure set), or "other" (a report, a directory, a result).
        patient: Identifier and its issuer; ``""`` where unknown.
        uid: Of the instance.
        series: UID of its series.
        frames: How many.
        plane: Where a single frame lies, if it says so.
        size: Rows and columns.
        references: UIDs of instances and of series that a mask, a capture or a result refers to.
        fault: Why the header cannot be read, in which case nothing else is known.
    """

    id: str
    path: Path
    kind: str
    patient: str = field(default="", repr=False)
    uid: str = field(default="", repr=False)
    series: str = field(default="", repr=False)
    frames: int = 1
    plane: Plane | None = None
    size: tuple[int, int] = (0, 0)
    references: frozenset[str] = field(default=frozenset(), repr=False)
    fault: str = ""


def find(root: Path) -> tuple[Found, ...]:
    """Every DICOM file of a source, sorted by path.

    Args:
        root: A file; a folder, in which files are looked for at any depth, hidden ones passed over and files that do
            not begin as DICOM does; or a DICOMDIR, whose list counts.

    Raises:
        MedsaliencyError: If there is none, a file or a link leads out of the root, or a DICOMDIR cannot be read or
            lists what is not there.
    """
    if root.is_file() and not is_dicom(root):
        raise MedsaliencyError(f"{root}: expected a DICOM file (DICM after 128 bytes), got another; convert it")
    if root.is_dir():
        base, listed = root, _below(root)
    elif (names := _directory(root)) is not None:
        base, listed = root.parent, names
    else:
        base, listed = root.parent, [root.name]
    resolved = base.resolve()
    places = [inside(resolved, name, f"{base / name}") for name in sorted(set(listed))]
    found = [_look(name, path) for name, path in places]
    if not any(one.kind == "image" for one in found):
        raise MedsaliencyError(f"{root}: expected DICOM images, got none; check the path")
    uids = {one.uid for one in found if one.uid}
    return tuple(_without_results(found, uids))


def patients(found: Sequence[Found]) -> dict[str, str]:
    """For each file's id, the id of the first file of the same patient. Files without a patient are left out."""
    first: dict[str, str] = {}
    for one in found:
        if one.patient:
            first.setdefault(one.patient, one.id)
    return {one.id: first[one.patient] for one in found if one.patient}


def series(images: Iterable[Found]) -> list[tuple[Found, ...]]:
    """The volumes among images: files of several frames, and series of ``FEWEST`` or more parallel slices in order.

    Images that belong to none (a scout, a single film) are left out. Whether slices are evenly spaced shows when they
    are read.

    Raises:
        MedsaliencyError: If a header cannot be read, so that a slice may be missing.
    """
    volumes: list[tuple[Found, ...]] = []
    stacks: defaultdict[tuple[str, tuple[int, int]], list[list[Found]]] = defaultdict(list)
    for image in images:
        if image.fault:
            raise MedsaliencyError(image.fault)
        if image.frames > 1:
            volumes.append((image,))
        elif image.plane is not None:
            candidates = stacks[image.series, image.size]
            for stack in candidates:
                if stack[0].plane is not None and parallel(stack[0].plane, image.plane):
                    stack.append(image)
                    break
            else:
                candidates.append([image])
    for stack in (stack for candidates in stacks.values() for stack in candidates):
        planes = [image.plane for image in stack if image.plane is not None]
        if len(stack) >= FEWEST:
            volumes.append(tuple(stack[i] for i in along_normal(planes)))
    return sorted(volumes, key=lambda volume: volume[0].id)


def _below(root: Path) -> list[str]:
    """Relative paths of the DICOM files of a folder."""
    return [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not _hidden(path.relative_to(root)) and is_dicom(path)
    ]


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _directory(path: Path) -> list[str] | None:
    """The files that a DICOMDIR lists; None where the file is none.

    The list is taken as it stands. What it says of the order of records is not followed: it may go in circles.
    """
    with opened(path, path.name) as file:
        if text(file.header.file_meta, "MediaStorageSOPClassUID") != DIRECTORY:
            return None
        names = []
        for record in file.header.get("DirectoryRecordSequence") or ():
            written = raw_text(record, "ReferencedFileID")
            if written and whole(record, "RecordInUseFlag", 0xFFFF) != 0:
                names.append("/".join(part.strip() for part in written.split("\\")))
    for name in names:
        if not (path.parent / name).is_file():
            raise MedsaliencyError(f"{path.name}: expected the file {name!r} that it lists, got none; copy it, too")
    return names


def _look(name: str, path: Path) -> Found:
    """What a header says. A file whose header cannot be read counts as an image: reading it will say what is wrong."""
    try:
        with opened(path, name) as file:
            return _known(name, path, file)
    except MedsaliencyError as error:
        return Found(name, path, "image", fault=str(error))


def _known(name: str, path: Path, file: DicomFile) -> Found:
    header = file.header
    kind = text(header, "SOPClassUID")
    mask = kind in MASKS or kind == STRUCTURES
    image = file.pixels is not None and not mask
    referring = mask or kind in RESULTS or (kind == CAPTURE or kind.startswith(f"{CAPTURE}."))
    frames = whole(header, "NumberOfFrames", 1) if image else 1
    plane = planes_of(header, 1) if image and frames == 1 else None
    return Found(
        id=name,
        path=path,
        kind="mask" if mask else "image" if image else "other",
        patient="\\".join(filter(None, (raw_text(header, "PatientID"), raw_text(header, "IssuerOfPatientID")))),
        uid=raw_text(header, "SOPInstanceUID"),
        series=raw_text(header, "SeriesInstanceUID"),
        frames=frames,
        plane=plane[0] if plane else None,
        size=(whole(header, "Rows", 0), whole(header, "Columns", 0)) if image else (0, 0),
        references=frozenset(_references(header)) if referring else frozenset(),
    )


def _references(dataset: Dataset) -> set[str]:
    """UIDs of instances and series in the sequences of a dataset, at any depth."""
    found = set()
    for tag in list(dataset.keys()):
        item = dataset.get_item(tag)
        if item.VR == "SQ" or (item.VR in (None, "UN") and _is_sequence(tag)):
            for inner in dataset[tag].value:
                found |= {raw_text(inner, "ReferencedSOPInstanceUID"), raw_text(inner, "SeriesInstanceUID")}
                found |= _references(inner)
    return found - {""}


def _is_sequence(tag: int) -> bool:
    """Whether an element without a written representation is a sequence of the standard."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


def _without_results(found: Iterable[Found], uids: set[str]) -> Iterable[Found]:
    """The files, with captures and maps of images that lie beside them taken for what they are: results."""
    for one in found:
        if one.kind == "image" and one.references & uids:
            yield Found(one.id, one.path, "other", one.patient, one.uid, one.series)
        else:
            yield one
