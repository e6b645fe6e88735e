import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement

from medsaliency.data.dicom.file import opened
from medsaliency.data.dicom.header import DicomFault, class_name, group, numbers, raw_text, syntax_name, whole


@pytest.fixture
def header(tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm",
        np.zeros((2, 3), np.uint8),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        PatientID=" 0815 ",
        PixelSpacing=[0.5, 0.25],
        WindowCenter="",
        SliceThickness="nan",
        NumberOfFrames=1,
        SeriesNumber="",
        SmallestImagePixelValue=DataElement(0x00280106, "US", None),
    )
    with opened(path, "x") as file:
        yield file.header


def test_text_is_what_is_written_without_padding(header):
    assert raw_text(header, "PatientID") == "0815"
    assert raw_text(header, "PatientName") == ""
    assert class_name(header) == "CT Image Storage"


def test_kinds_that_the_standard_does_not_know_are_not_called_by_their_bytes(header):
    header.SOPClassUID = "1.2.3.4"
    assert class_name(header) == "an unknown kind of object"
    assert syntax_name("1.2.3.4") == "an unknown one"
    assert syntax_name("1.2.840.10008.1.2.5") == "RLE Lossless"


def test_numbers_are_numbers_or_faults_that_do_not_say_the_value(header):
    assert numbers(header, "PixelSpacing", 2) == (0.5, 0.25)
    assert numbers(header, "WindowCenter") is None
    assert numbers(header, "WindowWidth") is None
    assert (whole(header, "Rows"), whole(header, "NumberOfFrames"), whole(header, "BitsStored", 1)) == (2, 1, 8)
    assert whole(header, "PixelPaddingValue", 7) == 7
    assert (whole(header, "SeriesNumber", 7), whole(header, "SmallestImagePixelValue", 7)) == (7, 7)  # empty
    for ask in (
        lambda: numbers(header, "PixelSpacing", 3),
        lambda: numbers(header, "SliceThickness"),
        lambda: whole(header, "PixelPaddingValue"),
        lambda: whole(header, "SeriesNumber"),
        lambda: whole(header, "SliceThickness", 7),
        lambda: numbers(header, "PatientID", 2),
    ):
        with pytest.raises(DicomFault, match="export it again") as caught:
            ask()
        assert "0815" not in str(caught.value)


def test_a_frames_own_group_goes_before_the_shared_one():
    def groups(value):
        measures, holder = Dataset(), Dataset()
        measures.SliceThickness = value
        holder.PixelMeasuresSequence = [measures]
        return holder

    header = Dataset()
    assert group(header, "PixelMeasuresSequence", 0) is None
    header.SharedFunctionalGroupsSequence = [groups(1)]
    header.PerFrameFunctionalGroupsSequence = [groups(2), Dataset()]
    assert [group(header, "PixelMeasuresSequence", index).SliceThickness for index in (0, 1)] == [2, 1]
    assert group(header, "FrameVOILUTSequence", 0) is None
