import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from medsaliency.report.dicom import objects
from medsaliency.report.dicom.deidentify import EDITION, Deidentifier, refuse_identifying_pixels
from medsaliency.report.dicom.originals import read_originals
from medsaliency.types import MedsaliencyError

MARK, DATE, TIME = "ZYZZYVA", "19470321", "112233.44"
TABLE = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")["ALL_TAGS"]
UID_ROOT = "1.2.3.4.5.6.7.777777"
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}


def _mark(dataset: Dataset) -> int:
    """Give every attribute of the standard's table that holds text, a UID or a time a value found nowhere else."""
    count = 0
    for tag in TABLE:
        keyword = keyword_for_tag(tag) if len(tag) == 2 else ""
        if not keyword or keyword in ("SOPInstanceUID", "SpecificCharacterSet") or tag[0] < 8:
            continue
        vr = dictionary_VR(keyword)
        if vr in TEXTS:
            value: object = f"{MARK}{count}"
        elif vr in ("DA", "TM", "DT", "AS"):
            value = {"DA": DATE, "TM": TIME, "DT": DATE + TIME, "AS": "077Y"}[vr]
        elif vr == "UI" and dictionary_VM(keyword) == "1":
            value = f"{UID_ROOT}.{count}"
        else:
            continue
        setattr(dataset, keyword, value)
        count += 1
    return count


def _original(path: Path, kind: Any) -> tuple[Path, Dataset]:
    image = pydicom.dcmread(kind.files[0])
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{UID_ROOT}.99999"
    assert _mark(image) > 300
    other = Dataset()
    _mark(other)
    image.OtherPatientIDsSequence = [other]
    image.PatientSex = "F"
    image.BurnedInAnnotation = "NO"
    image.private_block(0x0099, MARK, create=True).add_new(1, "LO", f"{MARK} private")
    image.save_as(path)
    return path, image


def _items(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _items(item)


def _bytes(made: Dataset) -> bytes:
    content = io.BytesIO()
    made.save_as(content, enforce_file_format=True)
    return content.getvalue()


def test_no_identifier_of_the_original_is_left_in_any_byte(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path, errors_of: Callable[..., Any]
) -> None:
    path, image = _original(tmp_path / "original.dcm", kinds["mr"])
    assert MARK.encode() in path.read_bytes()
    originals = read_originals("sample", [path], None, (64, 64))
    made = list(objects(explained((64, 64)), originals, 0.1))
    before = b"".join(_bytes(one) for _, one in made)
    for value in (MARK, DATE, UID_ROOT):
        assert value.encode() in before, "what is searched for is there until it is removed"
    clean = Deidentifier()
    for name, one in made:
        clean(one)
        content = _bytes(one)
        for value in (MARK, DATE, TIME, UID_ROOT, "077Y", str(image.PatientName)):
            assert value.encode() not in content, (name, value)
        (tmp_path / "made.dcm").write_bytes(content)
        assert errors_of(tmp_path / "made.dcm") == [], name


def test_identifiers_inside_sequences_are_treated_as_those_at_the_top(tmp_path: Path) -> None:
    inner, outer = Dataset(), Dataset()
    assert _mark(inner) > 300
    step = Dataset()
    step.ReferencedSOPInstanceUID, step.ContentSequence = f"{UID_ROOT}.1", [inner]
    outer.SOPInstanceUID, outer.ContentSequence = f"{UID_ROOT}.1", [step]
    Deidentifier()(outer)
    outer.file_meta = pydicom.dataset.FileMetaDataset()
    outer.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    outer.SOPClassUID = pydicom.uid.ComprehensiveSRStorage
    content = _bytes(outer)
    for value in (MARK, DATE, UID_ROOT):
        assert value.encode() not in content
    assert outer.ContentSequence[0].ReferencedSOPInstanceUID == outer.SOPInstanceUID


def test_references_among_the_objects_of_one_export_still_meet(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    clean = Deidentifier()
    made = dict(objects(explained((5, 128, 128)), kinds["series"].read(), 0.1))
    old = {
        str(element.value) for one in made.values() for item in _items(one) for element in item if _replaced(element)
    }
    for one in made.values():
        clean(one)
    new = {
        str(element.value) for one in made.values() for item in _items(one) for element in item if _replaced(element)
    }
    assert not old & new
    assert len(old) == len(new)
    assert len({one.StudyInstanceUID for one in made.values()}) == 1
    floats, segment, capture = (made[f"grad_cam.{k}"] for k in ("parametric-map", "segmentation", "secondary-capture"))
    assert floats.FrameOfReferenceUID == segment.FrameOfReferenceUID
    sources = [item.ReferencedSOPInstanceUID for item in floats.SourceImageSequence]
    assert len(set(sources)) == 5
    assert sources == [item.ReferencedSOPInstanceUID for item in capture.SourceImageSequence]
    groups = floats.PerFrameFunctionalGroupsSequence
    assert {g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for g in groups} == set(
        sources
    )
    made["report"].save_as(tmp_path / "report.dcm", enforce_file_format=True)
    report = highdicom.sr.srread(tmp_path / "report.dcm")
    uids = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for i in report.content.get_image_measurement_groups()[1].source_images
    ]
    assert uids == [*sources, floats.SOPInstanceUID, segment.SOPInstanceUID]
    assert {str(uid) for _, _, uid, _ in report.get_evidence()} == set(uids)
    for one in made.values():
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def _replaced(element: Any) -> bool:
    return element.VR == "UI" and element.VM == 1 and not element.keyword.endswith("ClassUID")


def test_values_masks_pixels_and_numbers_stay(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    explanation, clean = explained((64, 64)), Deidentifier()
    made = dict(objects(explanation, kinds["mr"].read(), 0.1))
    before = {name: one.pixel_array.copy() for name, one in made.items() if name != "report"}
    for name, one in made.items():
        clean(one)
        one.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    for name, values in before.items():
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / f"{name}.dcm").pixel_array, values)
    groups = highdicom.sr.srread(tmp_path / "report.dcm").content.get_image_measurement_groups()
    assert [m.value for m in groups[0].get_measurements()] == list(explanation.probabilities)
    assert groups[1].get_measurements()[0].value == explanation.scores["grad_cam"]["evidence"][0]


def test_it_says_that_and_how_it_was_done(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    for _, made in objects(explained((64, 64)), kinds["mr"].read(), 0.1):
        Deidentifier()(made)
        assert made.PatientIdentityRemoved == "YES"
        assert made.DeidentificationMethod[0] == f"PS3.15 {EDITION} Basic Application Level Confidentiality Profile"
        assert all(len(value) <= 64 for value in made.DeidentificationMethod)
        assert [code.CodeValue for code in made.DeidentificationMethodCodeSequence] == ["113100", "113104"]
        assert made.LongitudinalTemporalInformationModified == "REMOVED"
        assert not made.PatientName
        assert not made.PatientBirthDate
        assert not made.StudyDate


def test_new_identifiers_are_others_in_another_export(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    found = []
    for _ in range(2):
        made = dict(objects(explained((64, 64)), kinds["mr"].read(), 0.1))["report"]
        Deidentifier()(made)
        found.append(made.SOPInstanceUID)
    assert found[0] != found[1], "a hash could be told by who knows the original"


def test_an_image_that_shows_its_patient_is_refused(kinds: dict[str, Any]) -> None:
    shown = kinds["series"].read()
    refuse_identifying_pixels(shown)
    for frame in shown.frames:
        frame.header.BurnedInAnnotation = "NO"
    refuse_identifying_pixels(shown)
    shown.frames[1].header.BurnedInAnnotation = "YES"
    with pytest.raises(MedsaliencyError, match=r"^sample: expected an image without burned-in annotation"):
        refuse_identifying_pixels(shown)
