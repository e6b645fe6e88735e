"""What a DICOM header says that a study can stumble over: for a check of the data, without reading pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsaliency.data.dicom.file import opened
from medsaliency.data.dicom.geometry import spacing_of
from medsaliency.data.dicom.header import class_name, raw_text, syntax_name, text

if TYPE_CHECKING:
    from pydicom import Dataset

IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientTelecomInformation",
    "PatientInsurancePlanCodeSequence",
    "MilitaryRank",
    "MedicalRecordLocator",
    "ResponsiblePerson",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord",
    "RequestingPhysician",
    "OperatorsName",
    "InstitutionName",
    "InstitutionAddress",
    "AccessionNumber",
    "AdmissionID",
    "StudyID",
    "StudyDate",
    "DeviceSerialNumber",
)
"""Elements that name a patient, a person, a place or a visit (after the basic profile of PS3.15 E.1)."""

SEVERAL = "several"
"""What stands for values that differ from slice to slice."""


@dataclass(frozen=True)
class DicomFacts:
    """What a header says. Codes are as in the file, ``""`` where it does not say.

    Args:
        kind: Name of the SOP class.
        modality: CT, MR, DX, ...
        photometric: Photometric interpretation.
        spacing_known: Whether the distance of pixels is known in millimeters.
        burned_in: BurnedInAnnotation: YES, NO, or ``""``.
        overlays: Whether there are overlays (which are not drawn).
        manufacturer: Of the device.
        model: Of the device.
        transfer_syntax: Its name.
        identifiers: Keywords, and never values, of the elements that identify someone and are not empty.
        deidentified: PatientIdentityRemoved: YES, NO, or ``""``.
    """

    kind: str
    modality: str
    photometric: str
    spacing_known: bool
    burned_in: str
    overlays: bool
    manufacturer: str
    model: str
    transfer_syntax: str
    identifiers: tuple[str, ...]
    deidentified: str


def dicom_facts(path: Path, name: str) -> DicomFacts:
    """Read the header of a file.

    Args:
        path: Of the file.
        name: For errors.

    Raises:
        MedsaliencyError: If it is no DICOM file, or a damaged one.
    """
    with opened(path, name) as file:
        header = file.header
        spacing, known = spacing_of(header)
        return DicomFacts(
            kind=class_name(header),
            modality=text(header, "Modality"),
            photometric=text(header, "PhotometricInterpretation"),
            spacing_known=spacing is not None and known,
            burned_in=text(header, "BurnedInAnnotation"),
            overlays=any(tag.group & 0xFF01 == 0x6000 for tag in header.keys()),  # noqa: SIM118  # pydicom's own
            manufacturer=text(header, "Manufacturer"),
            model=text(header, "ManufacturerModelName"),
            transfer_syntax=syntax_name(file.syntax),
            identifiers=tuple(keyword for keyword in IDENTIFIERS if _given(header, keyword)),
            deidentified=text(header, "PatientIdentityRemoved"),
        )


def merged(facts: Sequence[DicomFacts]) -> DicomFacts:
    """What the headers of a volume's slices say together.

    Names and codes that differ become ``SEVERAL``. The worst counts of the rest: one slice with annotations burnt in,
    not de-identified, with overlays or without a spacing makes the volume such a one, and every identifier is listed.

    Args:
        facts: Of one slice or more.
    """
    identifiers = {keyword for each in facts for keyword in each.identifiers}
    return DicomFacts(
        kind=_one({each.kind for each in facts}),
        modality=_one({each.modality for each in facts}),
        photometric=_one({each.photometric for each in facts}),
        spacing_known=all(each.spacing_known for each in facts),
        burned_in=_answer({each.burned_in for each in facts}, "YES", "NO"),
        overlays=any(each.overlays for each in facts),
        manufacturer=_one({each.manufacturer for each in facts}),
        model=_one({each.model for each in facts}),
        transfer_syntax=_one({each.transfer_syntax for each in facts}),
        identifiers=tuple(keyword for keyword in IDENTIFIERS if keyword in identifiers),
        deidentified=_answer({each.deidentified for each in facts}, "NO", "YES"),
    )


def _one(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else SEVERAL


def _answer(answers: set[str], worst: str, best: str) -> str:
    """``worst`` where any slice says it, ``best`` where all say it, else ``""``."""
    return worst if worst in answers else best if answers == {best} else ""


def _given(header: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, without its value being looked at any further."""
    if keyword not in header:
        return False
    return bool(raw_text(header, keyword)) if not keyword.endswith("Sequence") else bool(header[keyword].value)
