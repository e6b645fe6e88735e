import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medsaliency.data.dicom import file as dicom_file
from medsaliency.data.dicom.file import frame_count, is_dicom, named, opened
from medsaliency.data.dicom.header import DicomFault
from medsaliency.types import MedsaliencyError

PIXELS = np.zeros((4, 6), np.uint16)


def count(path):
    with opened(path, "x") as file:
        return frame_count(file)


def test_a_header_is_read_as_far_as_the_pixels(tmp_path, write_dicom):
    with opened(write_dicom(tmp_path / "a.dcm", PIXELS, Modality="CT"), "x") as file:
        assert file.header.Modality == "CT"
        assert "PixelData" not in file.header
        assert (file.pixels.keyword, file.pixels.vr, file.pixels.length, file.pixels.there) == (
            "PixelData",
            "OW",
            48,
            48,
        )
        assert frame_count(file) == 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"NumberOfFrames": 0}, "got NumberOfFrames 0"),
        ({"NumberOfFrames": -3}, "got NumberOfFrames -3"),
        ({"NumberOfFrames": 2}, "expected 96 bytes of pixel data, got 48"),
        ({"Rows": 0}, "got 6 x 0"),
        ({"Rows": 60_000, "Columns": 60_000}, "expected at most 64,000,000 pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, r"got a mask \(Segmentation Storage\)"),
        ({"PerFrameFunctionalGroupsSequence": [pydicom.Dataset()] * 2}, "groups of 1 frames, got those of 2"),
        ({"BitsAllocated": 32}, "expected 96 bytes of pixel data, got 48"),
    ],
)
def test_what_a_header_promises_wrongly_is_refused_before_pixels_are_touched(
    tmp_path, write_dicom, attributes, message
):
    with pytest.raises(MedsaliencyError, match=rf"^x: .*{message}") as caught:
        count(write_dicom(tmp_path / "a.dcm", PIXELS, **attributes))
    assert "\n" not in str(caught.value)


def test_an_object_without_pixels_is_called_by_its_name(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3")
    with pytest.raises(
        MedsaliencyError, match=r"^x: expected an image, got RT Structure Set Storage without pixel data"
    ):
        count(file)


def test_other_files_and_missing_ones_are_told_apart(tmp_path, write_dicom):
    (tmp_path / "a.dcm").write_bytes(b"something else")
    with pytest.raises(MedsaliencyError, match=r"^x: expected a DICOM file"):
        count(tmp_path / "a.dcm")
    with pytest.raises(MedsaliencyError, match=r"^x: no such file"):
        count(tmp_path / "none.dcm")
    unknown = write_dicom(tmp_path / "b.dcm", PIXELS)
    unknown.write_bytes(unknown.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    with pytest.raises(MedsaliencyError, match=r"^x: expected a transfer syntax of the standard, got another"):
        count(unknown)


def test_a_value_is_not_told_where_a_header_is_damaged(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", PIXELS, NumberOfFrames=1, PatientName="Secret^Name", PatientID="12345678")
    damaged = bytearray(file.read_bytes())
    place = damaged.index(b"IS", damaged.index(b"MONOCHROME2"))
    damaged[place + 4 : place + 6] = b"^S"  # where the number of frames was
    file.write_bytes(bytes(damaged))
    with pytest.raises(MedsaliencyError, match=r"^x: expected a whole number in NumberOfFrames, got none") as caught:
        count(file)
    assert "^S" not in str(caught.value)


def test_no_identifier_is_warned_of(tmp_path, write_dicom, recwarn, caplog):
    file = write_dicom(tmp_path / "a.dcm", PIXELS, SOPInstanceUID="1.2.3")
    # pydicom warns of such a value, and says it.
    file.write_bytes(file.read_bytes().replace(b"1.2.3\0", b"1.2.DOE"[:6]))
    from medsaliency.data.dicom.facts import dicom_facts
    from medsaliency.data.dicom.series import find

    assert len(find(file)) == 1
    dicom_facts(file, "x")
    assert not any("DOE" in str(warning.message) or "1.2.D" in str(warning.message) for warning in recwarn)
    assert "1.2.D" not in caplog.text


def test_an_element_that_claims_gigabytes_reserves_none(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", PIXELS)
    claimed = bytearray(file.read_bytes())
    place = claimed.index(b"(\0\x02\0US")
    claimed[place : place + 12] = struct.pack("<HH2sHI", 0x0027, 0x1010, b"OB", 0, 0xFFFFFFF0)
    file.write_bytes(bytes(claimed))
    tracemalloc.start()
    with pytest.raises(MedsaliencyError, match=r"^x: "):
        count(file)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_deflated_file_is_read_and_one_that_would_fill_the_memory_is_not(tmp_path, monkeypatch):
    real = pydicom.dcmread(get_testdata_file("image_dfl.dcm", download=False))
    assert real.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    path = tmp_path / "a.dcm"
    path.write_bytes(Path(real.filename).read_bytes())
    assert count(path) == 1
    head = path.read_bytes()[: 132 + 12 + real.file_meta.FileMetaInformationGroupLength]
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(head + bomb.compress(bytes(3_000_000)) + bomb.flush())
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 1_000_000)
    with pytest.raises(MedsaliencyError, match=r"^x: expected at most 1,000,000 bytes once it is inflated"):
        count(path)


def test_a_header_that_does_not_end_is_refused(tmp_path, write_dicom, monkeypatch):
    file = write_dicom(tmp_path / "a.dcm", PIXELS, ImageComments="x" * 9000)
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 8000)
    with pytest.raises(MedsaliencyError, match=r"^x: expected at most 8,000 bytes before the pixels"):
        count(file)


def test_dicom_is_known_by_its_content(tmp_path, write_dicom):
    assert is_dicom(write_dicom(tmp_path / "without-suffix", PIXELS))
    (tmp_path / "a.dcm").write_bytes(b"DICM")
    assert not is_dicom(tmp_path / "a.dcm")
    assert not is_dicom(tmp_path / "none")
    assert not is_dicom(tmp_path)


def test_every_exception_becomes_one_line_with_the_name():
    for error in (ValueError("with\nlines"), RecursionError(), MemoryError(), KeyError("x"), OSError("pydicom's own")):
        with pytest.raises(MedsaliencyError, match=r"^name: expected a sound DICOM file") as caught, named("name"):
            raise error
        assert "lines" not in str(caught.value)
    with pytest.raises(MedsaliencyError, match=r"^name: a fault$"), named("name"):
        raise DicomFault("a fault")
    with pytest.raises(MedsaliencyError, match=r"^name: cannot be read \(Permission denied\)"), named("name"):
        raise PermissionError(13, "Permission denied")
