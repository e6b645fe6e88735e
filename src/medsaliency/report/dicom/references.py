"""How new objects lie beside their originals: what highdicom is given in the originals' place, and what it becomes.

highdicom gets stand-ins that hold no identifier of a patient, so that none can end in an error or a log, and that lie
somewhere even where the original says no place. When an object is made, references to stand-ins become references to
the originals and their frames, and the patient and the study are copied from the original.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ParametricMapStorage, SegmentationStorage

from medsaliency.data.dicom.file import named
from medsaliency.report.dicom.identity import MAKER, Identity, unique
from medsaliency.report.dicom.originals import Frame, Originals

PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence"),
    *("PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientIDsSequence", "OtherPatientNames"),
    *("EthnicGroup", "PatientComments", "PatientSpeciesDescription", "PatientSpeciesCodeSequence"),
    *("PatientBreedDescription", "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
)
STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "PhysiciansOfRecord", "ProcedureCodeSequence"),
    *("NameOfPhysiciansReadingStudy", "PatientAge", "PatientSize", "PatientWeight", "AdmissionID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "ClinicalTrialCoordinatingCenterName"),
)
"""What of the Patient, Study and Clinical Trial modules is copied, where the original has it (PS3.3 C.7.1 to C.7.2)."""
NEEDED_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes of type 2: present even where nothing is known."""

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""What was lost before, and is lost in what is made of it."""

_STUDY, _SERIES, _PLACE = "2.25.1", "2.25.2", "2.25.3"
_FIRST_FRAME, _FIRST_FILE = 1_000, 1_000_000


def equipment(weights: str, software: str) -> dict[str, Any]:
    """The maker of an object: this software, of its version, with the model's weights as its serial number."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": software or version(MAKER),
        "device_serial_number": weights[:16] or "unknown",
    }


def stand_ins(originals: Originals) -> list[Dataset]:
    """For highdicom, a single-frame image for each slice: its grid and its place, real or made up, and nothing else."""
    stand_in = []
    for number, frame in enumerate(originals.frames):
        image = _nobody(f"2.25.{_FIRST_FRAME + number}")
        image.Rows, image.Columns = int(frame.header.Rows), int(frame.header.Columns)
        image.FrameOfReferenceUID = _PLACE
        image.ImagePositionPatient = [0.0, 0.0, -float(number)]  # highdicom sorts frames so that these stay in order
        image.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        image.PixelSpacing = list(frame.spacing or (1.0, 1.0))
        image.SliceThickness = frame.thickness
        if originals.in_patient:
            image.ImagePositionPatient = list(frame.position or ())
            image.ImageOrientationPatient = list(originals.frames[0].orientation or ())
        _copy(frame.header, image, LOSSY)
        stand_in.append(image)
    return stand_in


def files(originals: Originals) -> list[tuple[Dataset, list[int] | None]]:
    """For highdicom, a stand-in for each file, and which of its frames are meant; None for all that it has."""
    found = []
    for number, (_, frames) in enumerate(_by_file(originals)):
        found.append((_nobody(f"2.25.{_FIRST_FILE + number}"), _frame_numbers(frames)))
    return found


def evidence(made: Dataset) -> Dataset:
    """For highdicom, a stand-in for an object that was written to the same study."""
    written = _nobody(str(made.SOPInstanceUID))
    written.SOPClassUID, written.SeriesInstanceUID = made.SOPClassUID, made.SeriesInstanceUID
    return written


def restore(made: Dataset, originals: Originals, identity: Identity) -> None:
    """Put the originals where their stand-ins are, and the patient and study of the original into a new object.

    Args:
        made: Changed.
        originals: Its source images.
        identity: Of the object.
    """
    with named(originals.sample), disable_value_validation():  # its warnings quote the values that it finds wrong
        _refer(made, originals, identity)
        _belong(made, originals.header)
    made.SeriesDescription = identity.description[:64]


def _refer(made: Dataset, originals: Originals, identity: Identity) -> None:
    """Put the originals, their series, study and frame of reference where their stand-ins are."""
    header = originals.header
    if "PerFrameFunctionalGroupsSequence" in made and not originals.in_patient:
        _without_place(made, originals)
    referenced: dict[str, tuple[Dataset, list[int] | None]] = {
        f"2.25.{_FIRST_FRAME + number}": (frame.header, None if frame.number is None else [frame.number])
        for number, frame in enumerate(originals.frames)
    }
    for number, (file, frames) in enumerate(_by_file(originals)):
        referenced[f"2.25.{_FIRST_FILE + number}"] = (file, _frame_numbers(frames))
    if "ReferencedSeriesSequence" in made:  # highdicom puts the same items into two sequences
        made.ReferencedSeriesSequence = copy.deepcopy(made.ReferencedSeriesSequence)
    organization = unique("dimensions", identity.instance)
    uids = {_STUDY: header.StudyInstanceUID, _SERIES: header.SeriesInstanceUID, _PLACE: frame_of_reference(originals)}
    for item, path in _walk(made):
        if str(item.get("ReferencedSOPInstanceUID", "")) in referenced:
            original, numbers = referenced[str(item.ReferencedSOPInstanceUID)]
            _put(item, "ReferencedSOPClassUID", str(original.SOPClassUID))
            _put(item, "ReferencedSOPInstanceUID", str(original.SOPInstanceUID))
            if numbers is not None and _counts_frames(path):
                item.ReferencedFrameNumber = numbers
        for element in item:
            if element.VR == "UI" and str(element.value) in uids:
                _put(item, element.keyword, str(uids[str(element.value)]))
            elif element.keyword == "DimensionOrganizationUID":
                element.value = organization
    for item, _ in _walk(made):
        for keyword in ("SourceImageSequence", "ReferencedInstanceSequence", "ReferencedSOPSequence"):
            if len(item.get(keyword, ())) > 1:
                item[keyword].value = Items(_joined(item[keyword].value))


def _belong(made: Dataset, header: Dataset) -> None:
    """Copy the patient and the study of an original."""
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*PATIENT, *STUDY):
        made.pop(keyword, None)
    _copy(header, made, (*PATIENT, *STUDY))
    for keyword in NEEDED_EMPTY:
        if keyword not in made:
            setattr(made, keyword, None)
    if made.get("PatientIdentityRemoved") == "YES" and not any(
        made.get(keyword) for keyword in ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    ):
        made.DeidentificationMethod = "Not stated by the source image"  # the standard asks for one
    if made.SOPClassUID != SegmentationStorage and made.Modality != "SR":
        side = header.get("Laterality") or header.get("ImageLaterality")
        made.Laterality = side if side in ("L", "R") else None  # an image can be of both sides, a series not


def frame_of_reference(originals: Originals) -> str:
    """The original's frame of reference, or one made for it.

    Images that say where they lie, but not in which frame, share one in their series. An image that does not say where
    it lies is put at the origin of a frame by itself, which is not the original's even where that names one.
    """
    header = originals.header
    if not originals.in_patient:
        return unique("frame of reference", str(header.SOPInstanceUID))
    return str(header.get("FrameOfReferenceUID") or unique("frame of reference", str(header.SeriesInstanceUID)))


def _nobody(instance: str) -> Dataset:
    """An image of no one."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, instance
    image.StudyInstanceUID, image.SeriesInstanceUID = _STUDY, _SERIES
    image.Modality = "OT"
    for keyword in NEEDED_EMPTY:
        setattr(image, keyword, None)
    return image


def _by_file(originals: Originals) -> list[tuple[Dataset, list[Frame]]]:
    """The frames of each file, in order."""
    found: dict[str, tuple[Dataset, list[Frame]]] = {}
    for frame in originals.frames:
        found.setdefault(str(frame.header.SOPInstanceUID), (frame.header, []))[1].append(frame)
    return list(found.values())


def _frame_numbers(frames: Sequence[Frame]) -> list[int] | None:
    numbers = [frame.number for frame in frames if frame.number is not None]
    return numbers or None


def _without_place(made: Dataset, originals: Originals) -> None:
    """Take the made-up place of the stand-ins away: frames are then told apart by their number in a stack."""
    for number, group in enumerate(made.PerFrameFunctionalGroupsSequence, 1):
        group.FrameContentSequence[0].StackID = "1"
        group.FrameContentSequence[0].InStackPositionNumber = number
    for index in made.DimensionIndexSequence:
        if index.DimensionIndexPointer == tag_for_keyword("ImagePositionPatient"):
            index.DimensionIndexPointer = tag_for_keyword("InStackPositionNumber")
            index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
            index.DimensionDescriptionLabel = "In-Stack Position Number"
    made.pop("DimensionOrganizationType", None)
    shared, header = made.SharedFunctionalGroupsSequence[0], originals.header
    shared.PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)
    if made.SOPClassUID == ParametricMapStorage:
        # Its IOD has no map outside of a frame of reference (PS3.3 table A.75-2): it gets one of its own, at whose
        # origin each of its frames lies, turned as the original says or else along the axes.
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = _turned(header.get("PatientOrientation"))
        for group in made.PerFrameFunctionalGroupsSequence:
            group.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, 0.0]
        return
    made.pop("FrameOfReferenceUID", None)
    made.pop("PositionReferenceIndicator", None)
    made.PatientOrientation = header.get("PatientOrientation")
    shared.pop("PlaneOrientationSequence", None)
    for group in made.PerFrameFunctionalGroupsSequence:
        group.pop("PlanePositionSequence", None)
    if originals.frames[0].spacing is None:
        shared.pop("PixelMeasuresSequence", None)


def _turned(directions: object) -> list[float]:
    """Direction cosines of rows and columns that run where letters say: "A" to the front, "LF" between two sides."""
    axes = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}
    cosines = []
    for letters in directions if isinstance(directions, Sequence) and len(directions) == 2 else ():
        # The first letter is the side that the axis runs to most; those after it say how oblique it is, not how far.
        axis, sign = axes.get(str(letters)[:1], (0, 0))
        cosines.append([float(sign) if place == axis else 0.0 for place in range(3)])
    known = len(cosines) == 2 and all(map(any, cosines)) and not any(a and b for a, b in zip(*cosines, strict=True))
    return [*cosines[0], *cosines[1]] if known else [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def _walk(dataset: Dataset, path: tuple[str, ...] = ()) -> Iterator[tuple[Dataset, tuple[str, ...]]]:
    """A dataset and all those in its sequences, with the names of the sequences that lead there."""
    yield dataset, path
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _walk(item, (*path, element.keyword))


def _counts_frames(path: Sequence[str]) -> bool:
    """Whether a reference at this place may name frames: that of a source or of content; no list of instances."""
    return path[-1:] == ("SourceImageSequence",) or (
        path[-1:] == ("ReferencedSOPSequence",) and "ReferencedSeriesSequence" not in path
    )


def _joined(items: Sequence[Dataset]) -> list[Dataset]:
    """References to several frames of one file, as one reference."""
    joined: dict[str, Dataset] = {}
    for item in items:
        first = joined.setdefault(str(item.ReferencedSOPInstanceUID), item)
        if first is not item and "ReferencedFrameNumber" in item:
            first.ReferencedFrameNumber = [*_list(first.ReferencedFrameNumber), *_list(item.ReferencedFrameNumber)]
    return list(joined.values())


def _list(value: object) -> list[int]:
    return [int(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else [int(str(value))]


def _put(dataset: Dataset, keyword: str, uid: str) -> None:
    """Give an attribute a UID in a new element: one that is there would judge it, and warn of what it finds wrong."""
    tag = tag_for_keyword(keyword)
    assert tag is not None  # noqa: S101  # it is a keyword of the standard
    dataset[tag] = DataElement(tag, "UI", uid)


def _copy(header: Dataset, made: Dataset, keywords: Sequence[str]) -> None:
    """Copy attributes as they are, their text decoded from the original's character set."""
    chosen = Dataset()
    for keyword in keywords:
        if keyword in header:
            chosen.add(copy.deepcopy(header[keyword]))
    if "SpecificCharacterSet" in header:
        chosen.SpecificCharacterSet = header.SpecificCharacterSet
    chosen.decode()
    for element in chosen:
        if element.keyword != "SpecificCharacterSet":
            made.add(element)
