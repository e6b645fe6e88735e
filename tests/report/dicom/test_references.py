import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medsaliency.report.dicom import objects
from medsaliency.report.dicom.originals import read_originals
from medsaliency.report.dicom.parametric_map import parametric_map
from medsaliency.report.dicom.references import PATIENT, STUDY, frame_of_reference, stand_ins
from medsaliency.report.dicom.secondary_capture import secondary_capture
from medsaliency.report.dicom.segmentation import segmentation

MARK = "Zyzzyva"


def _marked(path: Path, kind: Any) -> Path:
    """The original with a name that is found nowhere else, in an encoding of its own."""
    image = pydicom.dcmread(kind.files[0])
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientName, image.PatientID, image.AccessionNumber = f"{MARK}^Jérôme", f"{MARK}1", f"{MARK}2"
    image.StudyDescription, image.ReferringPhysicianName = f"{MARK}3", f"{MARK}^4"
    image.save_as(path)
    return path


def _items(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _items(item)


@pytest.mark.parametrize("kind", ["series", "enhanced"])
def test_every_frame_lies_where_the_slice_lies_that_it_references(
    kind: str, kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    explanation, originals = explained((5, 128, 128)), kinds[kind].read()
    made = parametric_map(explanation, "grad_cam", originals)
    shared = made.SharedFunctionalGroupsSequence[0]
    header = pydicom.dcmread(kinds["series"].files[0])
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == list(header.PixelSpacing)
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert orientation == pytest.approx(list(header.ImageOrientationPatient))
    assert made.FrameOfReferenceUID == header.FrameOfReferenceUID
    stored = made.pixel_array
    seen = set()
    for place, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        if kind == "series":
            uids = [str(frame.header.SOPInstanceUID) for frame in originals.frames]
            number = uids.index(str(source.ReferencedSOPInstanceUID))
            assert "ReferencedFrameNumber" not in source
        else:
            number = int(source.ReferencedFrameNumber) - 1
            assert source.ReferencedSOPInstanceUID == originals.header.SOPInstanceUID
        assert source.ReferencedSOPClassUID == originals.header.SOPClassUID
        assert source.SpatialLocationsPreserved == "YES"
        position = group.PlanePositionSequence[0].ImagePositionPatient
        assert tuple(position) == pytest.approx(originals.frames[number].position)
        np.testing.assert_array_equal(stored[place], explanation.maps["grad_cam"][number])
        seen.add(number)
    assert seen == set(range(5))


def test_frames_without_a_place_keep_their_order_and_name_their_frame(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    explanation, originals = explained((30, 240, 320)), kinds["film"].read()
    for made in (
        parametric_map(explanation, "grad_cam", originals),
        segmentation(explanation, "grad_cam", originals, 0.1),
    ):
        groups = made.PerFrameFunctionalGroupsSequence
        numbers = [int(g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber) for g in groups]
        assert numbers == list(range(1, 31))
        assert [int(g.FrameContentSequence[0].InStackPositionNumber) for g in groups] == numbers
        (whole,) = made.SourceImageSequence
        assert list(whole.ReferencedFrameNumber) == numbers, "one reference, to the file, for all of its frames"
        (listed,) = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert "ReferencedFrameNumber" not in listed


def test_an_image_outside_of_the_patient_gets_a_frame_of_its_own_for_its_map_and_none_for_its_segment(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    explanation, originals = explained((40, 30)), kinds["dx"].read()
    header = pydicom.dcmread(kinds["dx"].files[0])
    assert "FrameOfReferenceUID" not in header
    made = parametric_map(explanation, "grad_cam", originals)
    assert made.FrameOfReferenceUID == frame_of_reference(originals)
    shared, (frame,) = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [0, 0, 0]
    # PatientOrientation L\F: rows run to the patient's left, columns to the feet.
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.2, 0.2]
    segment = segmentation(explanation, "grad_cam", originals, 0.1)
    assert "FrameOfReferenceUID" not in segment
    assert list(segment.PatientOrientation) == ["L", "F"]
    assert "PlanePositionSequence" not in segment.PerFrameFunctionalGroupsSequence[0]
    assert "PlaneOrientationSequence" not in segment.SharedFunctionalGroupsSequence[0]
    assert made.Laterality == "R"


@pytest.mark.parametrize("directions", [None, ["L", "R"], ["L"], ["X", "F"], ["", ""]])
def test_directions_that_make_no_plane_are_not_taken(
    directions: list[str] | None, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    image = pydicom.dcmread(kinds["dx"].files[0])
    image.PatientOrientation = directions
    image.save_as(tmp_path / "image.dcm")
    originals = read_originals("sample", [tmp_path / "image.dcm"], None, (40, 30))
    made = parametric_map(explained((40, 30)), "grad_cam", originals)
    plane = made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    assert list(plane.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(("side", "kept"), [("L", "L"), ("R", "R"), ("U", None), ("B", None)])
def test_a_side_is_taken_from_the_image_where_a_series_can_have_it(
    kinds: dict[str, Any], explained: Callable[..., Any], side: str, kept: str | None
) -> None:
    originals = kinds["ct"].read()
    originals.header.ImageLaterality = side
    assert secondary_capture(explained(kinds["ct"].size), "grad_cam", originals).Laterality == kept


def test_images_of_a_series_that_names_no_frame_of_reference_share_one(kinds: dict[str, Any]) -> None:
    originals = kinds["ct without a frame of reference"].read()
    assert originals.in_patient
    assert frame_of_reference(originals) == frame_of_reference(kinds["ct without a frame of reference"].read())
    assert frame_of_reference(kinds["ct"].read()) == pydicom.dcmread(kinds["ct"].files[0]).FrameOfReferenceUID


def test_the_patients_name_keeps_its_letters_in_another_character_set(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    path = _marked(tmp_path / "marked.dcm", kinds["mr"])
    originals = read_originals("sample", [path], None, (64, 64))
    for name, made in objects(explained((64, 64)), originals, 0.1):
        made.save_as(tmp_path / "made.dcm", enforce_file_format=True)
        read = pydicom.dcmread(tmp_path / "made.dcm")
        assert read.SpecificCharacterSet == "ISO_IR 192", name
        assert read.PatientName == f"{MARK}^Jérôme"
        assert f"{MARK}^Jérôme".encode() in (tmp_path / "made.dcm").read_bytes()
        assert (read.PatientID, read.AccessionNumber) == (f"{MARK}1", f"{MARK}2")
        assert (read.StudyDescription, read.ReferringPhysicianName) == (f"{MARK}3", f"{MARK}^4")


def test_what_highdicom_gets_is_no_ones_image(kinds: dict[str, Any], tmp_path: Path) -> None:
    originals = read_originals("sample", [_marked(tmp_path / "marked.dcm", kinds["ct"])], None, (128, 128))
    (stand_in,) = stand_ins(originals)
    assert MARK not in str(stand_in)
    for keyword in (*PATIENT, *STUDY, "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        value = originals.header.get(keyword)
        assert not value or stand_in.get(keyword) != value, keyword


def test_no_identifier_is_logged_or_warned_of(
    kinds: dict[str, Any],
    explained: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = _marked(tmp_path / "marked.dcm", kinds["mr"])
    image = pydicom.dcmread(path)
    image.PatientName = f"{MARK} without a family name"  # which highdicom would warn of, quoting it
    image.FrameOfReferenceUID, image.StudyInstanceUID = "1.2.0777.1", "1.2.0777.2"  # a zero in front is no number
    image.save_as(path)
    recwarn.clear()
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        list(objects(explained((64, 64)), read_originals("sample", [path], None, (64, 64)), 0.1))
    said = caplog.text + str([str(warning.message) for warning in recwarn]) + "".join(capsys.readouterr())
    for value in (MARK, image.SOPInstanceUID, "0777", image.SeriesInstanceUID):
        assert str(value) not in said


def test_a_value_that_its_original_has_wrong_is_copied_as_it_is_and_quoted_nowhere(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    content = kinds["mr"].files[0].read_bytes()
    start = content.index(b"\x10\x00\x30\x10DS\x08\x00") + 8  # PatientWeight, of 8 bytes
    (tmp_path / "spoiled.dcm").write_bytes(content[:start] + MARK.encode().ljust(8) + content[start + 8 :])
    originals = read_originals("sample", [tmp_path / "spoiled.dcm"], None, (64, 64))
    parametric_map(explained((64, 64)), "grad_cam", originals).save_as(tmp_path / "made.dcm", enforce_file_format=True)
    assert MARK not in str([str(warning.message) for warning in recwarn])
    assert b"\x10\x00\x30\x10DS\x08\x00" + MARK.encode() in (tmp_path / "made.dcm").read_bytes()


def test_lossy_compression_of_the_original_is_passed_on(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    header = pydicom.dcmread(kinds["film"].files[0], stop_before_pixels=True)
    assert header.LossyImageCompression == "01"
    made = dict(objects(explained((240, 320)), kinds["frame of a film"].read(), 0.1))
    for name, one in made.items():
        assert one.get("LossyImageCompression") == (None if name == "report" else "01"), name


def test_an_original_without_a_patient_still_gives_attributes_that_may_not_be_absent(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    image = pydicom.dcmread(kinds["mr"].files[0])
    for keyword in ("PatientName", "PatientBirthDate", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        if keyword in image:
            del image[keyword]
    image.PatientIdentityRemoved = "YES"
    image.save_as(tmp_path / "image.dcm")
    made = parametric_map(
        explained((64, 64)), "grad_cam", read_originals("sample", [tmp_path / "image.dcm"], None, (64, 64))
    )
    assert all(keyword in made for keyword in ("PatientName", "PatientBirthDate", "StudyID", "AccessionNumber"))
    assert made.PatientIdentityRemoved == "YES"
    assert made.DeidentificationMethod


def test_no_stand_in_is_left_in_any_object(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    for kind in ("series", "enhanced", "frame of a film"):
        for _, made in objects(explained(kinds[kind].size), kinds[kind].read(), 0.1):
            for item in _items(made):
                uids = [str(element.value) for element in item if element.VR == "UI"]
                assert not [uid for uid in uids if uid.startswith("2.25.")]
