"""What a DICOM header says that a study can stumble over: for a check of the data, without reading pixels."""

from __future__ import annotations

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


def _given(header: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, without its value being looked at any further."""
    if keyword not in header:
        return False
    return bool(raw_text(header, keyword)) if not keyword.endswith("Sequence") else bool(header[keyword].value)
