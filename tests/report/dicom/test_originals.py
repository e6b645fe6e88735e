from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medsaliency.report.dicom.originals import read_originals
from medsaliency.types import MedsaliencyError


def test_a_single_image_lies_where_its_header_says(kinds: dict[str, Any]) -> None:
    header, found = pydicom.dcmread(kinds["ct"].files[0]), kinds["ct"].read()
    (frame,) = found.frames
    assert frame.number is None
    assert frame.position == tuple(header.ImagePositionPatient)
    assert frame.orientation == tuple(header.ImageOrientationPatient)
    assert frame.spacing == tuple(header.PixelSpacing)
    assert frame.thickness == header.SliceThickness
    assert found.in_patient


def test_frames_of_an_enhanced_file_lie_where_the_slices_do_that_it_was_made_of(kinds: dict[str, Any]) -> None:
    frames, slices = kinds["enhanced"].read().frames, kinds["series"].read().frames
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]
    by_place = {frame.position: frame for frame in frames}
    for one in slices:
        assert by_place[one.position].orientation == pytest.approx(one.orientation)
        assert by_place[one.position].spacing == one.spacing
    assert kinds["enhanced"].read().in_patient


def test_one_frame_of_a_file_and_one_slice_of_a_series_can_be_meant(kinds: dict[str, Any]) -> None:
    (frame,) = kinds["frame of an enhanced file"].read().frames
    assert frame.number == 4
    (one,) = kinds["slice of a series"].read().frames
    assert one.number is None
    assert one.header.SOPInstanceUID == pydicom.dcmread(kinds["series"].files[3]).SOPInstanceUID


def test_an_image_that_does_not_say_where_it_lies_has_no_place(kinds: dict[str, Any]) -> None:
    for kind in ("cr", "dx", "us", "film"):
        assert not kinds[kind].read().in_patient
        assert kinds[kind].read().frames[0].position is None
    assert kinds["dx"].read().frames[0].spacing == (0.2, 0.2), "the detector's, where that is all there is"


def _single(image: pydicom.Dataset, path: Path) -> Any:
    image.save_as(path)
    return read_originals("sample", [path], None, (128, 128))


def test_frames_at_one_place_have_no_place_to_be_told_apart_by(kinds: dict[str, Any], tmp_path: Path) -> None:
    film = pydicom.dcmread(kinds["enhanced"].files[0])
    groups = film.PerFrameFunctionalGroupsSequence
    groups[3].PlanePositionSequence = groups[1].PlanePositionSequence
    film.save_as(tmp_path / "film.dcm")
    found = read_originals("sample", [tmp_path / "film.dcm"], None, (5, 128, 128))
    assert not found.in_patient
    assert read_originals("sample", [tmp_path / "film.dcm"], 3, (128, 128)).in_patient, "one frame by itself"


def test_spacing_is_the_readers(kinds: dict[str, Any], tmp_path: Path) -> None:
    image = pydicom.dcmread(kinds["ct"].files[0])
    del image.PixelSpacing
    image.PixelAspectRatio = [3, 2]
    found = _single(image, tmp_path / "ratio.dcm")
    assert (found.frames[0].spacing, found.frames[0].scaled, found.in_patient) == ((3.0, 2.0), False, False)
    region = pydicom.Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    image.SequenceOfUltrasoundRegions = [region]
    assert _single(image, tmp_path / "regions.dcm").frames[0].spacing == pytest.approx((0.3, 0.2))
    image.ImagerPixelSpacing, image.EstimatedRadiographicMagnificationFactor = [0.2, 0.4], 1.6
    found = _single(image, tmp_path / "magnified.dcm")
    assert (found.frames[0].spacing, found.frames[0].scaled) == (pytest.approx((0.125, 0.25)), True)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (("NO", "NO", "NO", "NO", "NO"), "NO"),
        (("NO", "YES", "NO", "NO", "NO"), "YES"),
        (("NO", None, "NO", "NO", "NO"), ""),
        ((None, None, None, None, "YES"), "YES"),
        ((None,) * 5, ""),
    ],
)
def test_every_slice_is_asked_whether_its_pixels_tell_the_patient(
    said: tuple[str | None, ...], answer: str, kinds: dict[str, Any]
) -> None:
    found = kinds["series"].read()
    for frame, value in zip(found.frames, said, strict=True):
        if value is not None:
            frame.header.BurnedInAnnotation = value
    assert found.burned_in == answer


def test_slices_that_are_turned_against_each_other_have_no_common_place(kinds: dict[str, Any], tmp_path: Path) -> None:
    files = list(kinds["series"].files)
    turned = pydicom.dcmread(files[1])
    turned.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    turned.save_as(tmp_path / "turned.dcm")
    files[1] = tmp_path / "turned.dcm"
    assert not read_originals("sample", files, None, (5, 128, 128)).in_patient


@pytest.mark.parametrize(
    ("kind", "frame", "size", "words"),
    [
        ("ct", None, (128, 127), "expected 1 slices of 128 x 127 pixels in its original, got 1 of 128 x 128"),
        ("series", None, (4, 128, 128), "expected 4 slices of 128 x 128 pixels in its original, got 5 of"),
        ("film", None, (240, 320), "expected the number of the frame that was explained, of 30"),
        ("film", 30, (240, 320), "expected an original with a frame 30, got one of 30 frames"),
    ],
)
def test_originals_that_do_not_fit_the_map_are_refused(
    kind: str, frame: int | None, size: tuple[int, ...], words: str, kinds: dict[str, Any]
) -> None:
    with pytest.raises(MedsaliencyError, match=f"^sample: {words}"):
        read_originals("sample", kinds[kind].files, frame, size)


def test_a_file_that_is_not_dicom_is_refused_with_what_can_be_written_instead(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(MedsaliencyError, match=r"^sample: expected a DICOM file as its original.*write --nifti$"):
        read_originals("sample", [path], None, (4, 4))


def test_a_missing_file_is_refused_by_the_name_of_its_sample_alone(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"^sample: no such file") as caught:
        read_originals("sample", [tmp_path / "Doe^Jane.dcm"], None, (4, 4))
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_original_without_what_a_reference_needs_is_refused(
    keyword: str, kinds: dict[str, Any], tmp_path: Path
) -> None:
    image = pydicom.dcmread(kinds["ct"].files[0])
    setattr(image, keyword, "")
    image.save_as(tmp_path / "image.dcm")
    with pytest.raises(MedsaliencyError, match=f"^sample: .*without {keyword}") as caught:
        read_originals("sample", [tmp_path / "image.dcm"], None, (128, 128))
    assert str(image.PatientName) not in str(caught.value)


def test_files_of_several_series_are_refused(kinds: dict[str, Any]) -> None:
    files = [kinds["ct"].files[0], kinds["series"].files[1], kinds["mr"].files[0]]
    with pytest.raises(MedsaliencyError, match=r"^sample: expected files of one series"):
        read_originals("sample", files, None, (3, 128, 128))


def test_numbers_that_are_none_are_as_good_as_absent(kinds: dict[str, Any], tmp_path: Path) -> None:
    image = pydicom.dcmread(kinds["ct"].files[0])
    image.SliceThickness = None
    image.PixelSpacing = [0.5, float(np.float32(0.25))]
    del image.ImagePositionPatient
    image.save_as(tmp_path / "image.dcm")
    (frame,) = read_originals("sample", [tmp_path / "image.dcm"], None, (128, 128)).frames
    assert (frame.thickness, frame.position, frame.spacing) == (None, None, (0.5, 0.25))
