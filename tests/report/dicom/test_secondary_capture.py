from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, SecondaryCaptureImageStorage

from medsaliency.report.dicom.picture import draw
from medsaliency.report.dicom.secondary_capture import secondary_capture


@pytest.mark.parametrize(
    ("kind", "sop_class"),
    [
        ("mr", SecondaryCaptureImageStorage),
        ("frame of a film", SecondaryCaptureImageStorage),
        ("series", MultiFrameTrueColorSecondaryCaptureImageStorage),
    ],
)
def test_the_pixels_are_those_that_were_drawn(
    kind: str, sop_class: str, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    explanation = explained(kinds[kind].size)
    secondary_capture(explanation, "grad_cam", kinds[kind].read()).save_as(tmp_path / "capture.dcm")
    drawn = draw(explanation, "grad_cam")
    made = pydicom.dcmread(tmp_path / "capture.dcm")
    assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == sop_class
    assert (made.PhotometricInterpretation, made.SamplesPerPixel, made.BitsAllocated) == ("RGB", 3, 8)
    np.testing.assert_array_equal(made.pixel_array.reshape(drawn.shape), drawn)
    np.testing.assert_array_equal(highdicom.imread(tmp_path / "capture.dcm").get_frames(dtype=np.uint8), drawn)


def test_it_says_what_it_shows_and_of_which_frame(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    made = secondary_capture(explained((240, 320)), "grad_cam", kinds["frame of a film"].read())
    assert "BurnedInAnnotation" not in made  # the film does not say
    assert made.ImageComments == "Research use only. Not for diagnosis."
    assert made.ImageType[0] == "DERIVED"
    assert "Grad-CAM" in made.DerivationDescription
    (source,) = made.SourceImageSequence
    assert source.ReferencedFrameNumber == 7
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert made.SecondaryCaptureDeviceManufacturer == "medsaliency"


@pytest.mark.parametrize("said", ["YES", "NO"])
def test_whether_pixels_name_the_patient_is_as_the_original_says(
    kinds: dict[str, Any], explained: Callable[..., Any], said: str
) -> None:
    originals = kinds["ct"].read()
    originals.frames[0].header.BurnedInAnnotation = said
    assert secondary_capture(explained(kinds["ct"].size), "grad_cam", originals).BurnedInAnnotation == said


def test_a_series_of_which_one_slice_names_the_patient_does(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    originals = kinds["series"].read()
    for place, frame in enumerate(originals.frames):
        frame.header.BurnedInAnnotation = "YES" if place == 1 else "NO"
    assert secondary_capture(explained((5, 128, 128)), "grad_cam", originals).BurnedInAnnotation == "YES"


def test_another_picture_below_the_map_makes_another_object(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    first, originals = explained((64, 64)), kinds["mr"].read()
    changes: list[dict[str, Any]] = [{}, {"image": first.image / 2}, {"spacing": (1.0, 2.0)}]
    made = [secondary_capture(explained((64, 64), **change), "grad_cam", originals) for change in changes]
    assert len({one.SOPInstanceUID for one in made}) == 3


def test_every_slice_of_a_series_is_referenced(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    made = secondary_capture(explained((5, 128, 128)), "grad_cam", kinds["series"].read())
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in kinds["series"].files]
    assert [source.ReferencedSOPInstanceUID for source in made.SourceImageSequence] == uids
    assert made.NumberOfFrames == 5
    assert list(made.PageNumberVector) == [1, 2, 3, 4, 5]
