import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medsaliency.data.dicom.codestream import checked
from medsaliency.data.dicom.header import DicomFault


def frame(kind, color=False, **options):
    """A frame of 5 x 7 pixels."""
    shape = (5, 7, 3) if color else (5, 7)
    stream = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


JPEG = frame("JPEG")
J2K = frame("JPEG2000", no_jp2=True)


@pytest.mark.parametrize(
    ("encoded", "syntax", "samples"),
    [
        (JPEG, JPEGBaseline8Bit, 1),
        (frame("JPEG", color=True), JPEGBaseline8Bit, 3),
        (J2K, JPEG2000Lossless, 1),
        (frame("JPEG2000", color=True, no_jp2=True), JPEG2000Lossless, 3),
    ],
)
def test_a_frame_of_the_size_that_the_header_says_is_passed_on_and_no_other(encoded, syntax, samples):
    assert checked(encoded, syntax, 5, 7, samples, 8) == encoded
    for rows, columns, of in ((7, 5, samples), (5, 8, samples), (5, 7, 4 - samples)):
        with pytest.raises(DicomFault, match=r"as the header says, got 7 x 5 of"):
            checked(encoded, syntax, rows, columns, of, 8)


def test_the_boxes_around_jpeg_2000_are_taken_away():
    boxed = frame("JPEG2000")
    assert boxed[4:8] == b"jP  "
    bare = checked(boxed, JPEG2000Lossless, 5, 7, 1, 8)
    assert bare[:4] == b"\xff\x4f\xff\x51"
    assert Image.open(io.BytesIO(bare)).size == (7, 5)


def test_a_box_of_no_length_ends_the_search():
    boxed = bytearray(frame("JPEG2000"))
    boxed[12:16] = b"\0\0\0\0"
    with pytest.raises(DicomFault, match="damaged"):
        checked(bytes(boxed), JPEG2000Lossless, 5, 7, 1, 8)


def test_a_frame_that_claims_millions_of_tiles_is_refused_before_a_decoder_makes_room_for_them():
    claimed = bytearray(J2K)
    struct.pack_into(">II", claimed, 8 + 16, 1, 1)  # tiles of one pixel
    assert checked(bytes(claimed), JPEG2000Lossless, 5, 7, 1, 8)
    struct.pack_into(">II", claimed, 8, 60_000, 60_000)
    with pytest.raises(DicomFault, match="of at most 16,384 tiles"):
        checked(bytes(claimed), JPEG2000Lossless, 60_000, 60_000, 1, 8)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff\xd8",
        JPEG[:30],
        b"\xff\xd8\0" + JPEG[2:],  # something between segments
        JPEG.replace(b"JFIF\0\x01", b"JFIF\0\x09"),  # a version that no one knows
        JPEG.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x21"),  # 33 bits
        JPEG.replace(b"\xff\xc0", b"\xff\xc3"),  # lossless, where baseline is promised
        JPEG.replace(b"\xff\xda", b"\xff\xd9"),  # no scan
    ],
)
def test_a_jpeg_that_a_decoder_could_stumble_over_is_refused(encoded):
    with pytest.raises(DicomFault, match="export it again"):
        checked(encoded, JPEGBaseline8Bit, 5, 7, 1, 8)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_a_frame_of_another_transfer_syntax_is_refused(syntax):
    with pytest.raises(DicomFault, match="export it again"):
        checked(JPEG, syntax, 5, 7, 1, 8)


@pytest.mark.parametrize("syntax", [RLELossless, ExplicitVRLittleEndian])
def test_what_carries_no_size_is_passed_on(syntax):
    assert checked(b"anything", syntax, 5, 7, 1, 8) == b"anything"
