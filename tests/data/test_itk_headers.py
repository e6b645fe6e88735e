import gzip
import zlib
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from pydicom.data import get_testdata_file

from medsaliency.data.itk_headers import Header, check_packed, read_header
from medsaliency.types import MedsaliencyError

META = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 3 2\nElementSpacing = 1 2 3\n"
    b"ElementType = MET_SHORT\nElementDataFile = a.raw\n"
)
NRRD = (
    b"NRRD0004\n# a note\ntype: short\ndimension: 3\nsizes: 4 3 2\nspacings: 1 2 3\nencoding: raw\nendian: little\n"
    b"data file: a.raw\n\n"
)


@pytest.fixture
def place(tmp_path):
    """A folder with the voxels of both headers, and another beside it with the same."""
    for folder in (tmp_path / "in", tmp_path / "out"):
        folder.mkdir()
        (folder / "a.raw").write_bytes(bytes(48))
    return tmp_path / "in"


def header(place, text, suffix=".mhd"):
    (place / f"a{suffix}").write_bytes(text)
    return read_header(place / f"a{suffix}", "a")


def fault(place, text, message, suffix=".mhd"):
    with pytest.raises(MedsaliencyError, match=message) as caught:
        header(place, text, suffix)
    assert "\n" not in str(caught.value)


def test_both_headers_are_understood(place):
    expected = Header((1, 4, 3, 2), 48, place / "a.raw", 0, 48, packed=False, spaced=True, placed=False)
    assert header(place, META) == ("MetaImageIO", expected)
    assert header(place, META.replace(b"\n", b"\r\n")) == ("MetaImageIO", expected)
    assert header(place, NRRD) == ("NrrdImageIO", replace(expected, sizes=(4, 3, 2)))
    assert header(place, NRRD.replace(b"data file", b"DataFile").rstrip()) == header(place, NRRD)
    for text in (META, NRRD):
        path = place / ("a.mhd" if text is META else "a.nhdr")
        path.write_bytes(text)
        assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).shape == (2, 3, 4)


def test_voxels_in_the_same_file_start_after_the_header(place):
    local = META.replace(b"a.raw", b"LOCAL")
    own = NRRD.replace(b"data file: a.raw\n", b"")
    for text in (local, own, local.replace(b"\n", b"\r\n")):
        found = header(place, text + bytes(48))[1]
        assert (found.data, found.start, found.length) == (place / "a.mhd", len(text), 48)
    found = header(place, local.replace(b"NDims", b"HeaderSize = 200\nNDims") + bytes(248))[1]
    assert (found.start, found.length) == (200, len(local) + 17 + 248 - 200)


@pytest.mark.parametrize("form", ["zlib", "gzip"])
def test_compressed_voxels_must_be_sound_and_as_many_as_the_header_says(place, form):
    voxels = np.random.default_rng(0).integers(0, 9, 24).astype("<i2").tobytes()
    packed = zlib.compress(voxels) if form == "zlib" else gzip.compress(voxels)
    text = META.replace(b"ElementType", b"CompressedData = True\nCompressedDataSize = 999\nElementType")

    def check(data):
        (place / "a.raw").write_bytes(data)
        check_packed(header(place, text)[1], "a")

    check(packed)
    check(packed + b"what follows is not read")
    for position in range(2 if form == "zlib" else 10, len(packed)):
        damaged = bytearray(packed)
        damaged[position] ^= 16
        with pytest.raises(MedsaliencyError, match=r"^a: expected .* voxels, got "):
            check(damaged)
        with pytest.raises(MedsaliencyError, match=r"^a: expected .* voxels, got "):
            check(packed[:position])
    for wrong in (voxels[:-2], voxels + voxels, bytes(10**7)):
        with pytest.raises(MedsaliencyError, match=r"^a: expected 48 bytes of compressed voxels, got (46|more)"):
            check(zlib.compress(wrong) if form == "zlib" else gzip.compress(wrong))


@pytest.mark.parametrize(
    "name",
    [
        "../out/a.raw",
        "..\\out\\a.raw",
        "./../out/a.raw",
        "sub/a.raw",
        "{out}/a.raw",
        "/dev/zero",
        "C:\\a.raw",
        "file:///etc/passwd",
        "http://127.0.0.1/a.raw",
        "link.raw",
        "..",
        ".",
    ],
)
def test_voxels_elsewhere_than_beside_the_header_are_refused(place, name):
    (place / "link.raw").symlink_to(place.parent / "out" / "a.raw")
    given = name.format(out=place.parent / "out").encode()
    message = r"^a: expected voxels in (a|the) file beside it"
    fault(place, META.replace(b"a.raw", given), message)
    fault(place, NRRD.replace(b"a.raw", given), message, ".nhdr")


@pytest.mark.parametrize("name", ["LIST", "list", "LIST 2", "SKIPLIST", "a%d.raw 1 2 1", "a%03d.raw", "-", "a\x01.raw"])
def test_lists_patterns_and_what_is_typed_are_refused(place, name):
    (place / "-").write_bytes(bytes(48))
    for text, suffix in ((META, ".mhd"), (NRRD, ".nhdr")):
        fault(place, text.replace(b"a.raw", name.encode()), r"^a: expected voxels in one file", suffix)


def test_a_missing_file_of_voxels_is_told(place):
    fault(
        place,
        META.replace(b"a.raw", b"b.raw"),
        r"^a: expected voxels in the file beside it that its header names, got none",
    )


@pytest.mark.parametrize(
    "text",
    [
        # What MetaIO would take for the value of a field without one, or leave out, and so go on to the next line.
        META.replace(b"ElementDataFile", b"Comment =\nElementDataFile = a.raw\nElementDataFile"),
        META.replace(b"ElementDataFile", b"Comment : x = y\nElementDataFile"),
        META.replace(b"ElementDataFile", b"Comment = " + b"x" * 600 + b"\nElementDataFile"),
        META.replace(b"ElementDataFile", b"Comment = x\rElementDataFile"),
        META.replace(b"ElementDataFile", b"Comment = x\0\nElementDataFile"),
        META.replace(b"ElementDataFile", b"DimSize = 9 9 9\nElementDataFile"),
        META.replace(b"ElementDataFile", b"elementdatafile"),
        META.replace(b"ElementDataFile = a.raw\n", b""),
        b"",
        b"\xff" * 3000,
    ],
)
def test_a_metaimage_header_that_can_be_read_in_two_ways_is_refused(place, text):
    fault(place, text, r"^a: expected a MetaImage header")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NDims = 3", b"NDims = 300", r"DimSize with 2 to 4 axes"),
        (b"NDims = 3", b"NDims = -3", r"NDims with 1 whole number"),
        (b"DimSize = 4 3 2", b"DimSize = 4 3", r"DimSize with 3 whole numbers"),
        (b"DimSize = 4 3 2", b"DimSize = 4 3 -2", r"DimSize with 3 whole numbers"),
        (b"DimSize = 4 3 2", b"DimSize = 4 3 2e9", r"DimSize with 3 whole numbers"),
        (b"ElementSpacing = 1 2 3", b"ElementSpacing = 1 2", r"ElementSpacing with 3 numbers, got something else"),
        (b"ElementSpacing = 1 2 3", b"Offset = 1 2 nan", r"Offset with 3 numbers"),
        (b"ElementSpacing = 1 2 3", b"TransformMatrix = 1 2 3", r"TransformMatrix with 9 numbers"),
        (b"MET_SHORT", b"MET_STRING", r"ElementType of plain numbers in one channel"),
        (b"Image", b"Tube", r"MetaImage of an image, got another ObjectType"),
        (b"BinaryData = True", b"CompressedData = True\nCompressedDataSize = -2", r"CompressedDataSize with 1 whole"),
        (b"BinaryData = True", b"CompressedData = True", r"CompressedDataSize with 1 whole"),
        (b"BinaryData = True", b"BinaryData = False", r"binary voxels, got some written out"),
        (b"BinaryData = True", b"BinaryData = Perhaps", r"BinaryData as True or False, got something else"),
        (b"BinaryData = True", b"HeaderSize = x", r"HeaderSize with 1 whole number"),
        (b"BinaryData = True", b"ElementNumberOfChannels = 0", r"ElementType of plain numbers"),
    ],
)
def test_metaimage_fields_are_checked(place, old, new, message):
    fault(place, META.replace(old, new), r"^a: expected .*" + message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"dimension: 3", b"dimension: 300", r"sizes with 2 to 4 axes"),
        (b"sizes: 4 3 2", b"sizes: 4 3", r"sizes with 3 whole numbers"),
        (b"type: short", b"type: block", r"NRRD numbers.* got another type"),
        (b"encoding: raw", b"encoding: bzip2", r"NRRD numbers.* got another encoding"),
        (b"encoding: raw", b"encoding: gzip\nbyte skip: 3", r"without a skip"),
        (b"encoding: raw", b"type: uchar", r"NRRD header"),
        (b"endian: little", b"data file: b.raw", r"NRRD header"),
        (b"endian: little", b"datafile:=b.raw", r"NRRD header"),
        (b"endian: little", b"nothing", r"NRRD header"),
        (b"endian: little", b'space units: "mm" "mm" "s"', r"one known unit of length"),
        (b"endian: little", b'space units: "parsec"', r"one known unit of length"),
        (b"# a note", b"# " + b"x" * 20000, r"NRRD header"),
        (b"# a note", b"# x\n" * 300000, r"header of less than"),
    ],
)
def test_nrrd_fields_are_checked(place, old, new, message):
    fault(place, NRRD.replace(old, new), r"^a: expected .*" + message, ".nhdr")


def test_notes_of_nrrd_may_be_long_and_hold_anything(place):
    text = NRRD.replace(b"# a note", b"Segment0_Name:=lesion: left\nSegment1_Name:=" + b"y" * 5000)
    assert header(place, text, ".nhdr")[1].sizes == (4, 3, 2)


def test_sizes_of_compressed_and_written_out_numbers(place):
    packed = header(place, META.replace(b"BinaryData", b"CompressedDataSize = 9\nCompressedData"))[1]
    assert (packed.packed, packed.length) == (True, 9)
    assert header(place, NRRD.replace(b"raw\nendian", b"ascii\nendian"))[1].size == 47
    assert header(place, NRRD.replace(b"raw\nendian", b"gzip\nendian"))[1].packed
    np.testing.assert_array_equal(header(place, META.replace(b"MET_SHORT", b"MET_DOUBLE"))[1].size, 192)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_what_simpleitk_writes_of_a_dicom_file_is_read(tmp_path, suffix):
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    image = SimpleITK.ReadImage(get_testdata_file("CT_small.dcm", download=False))
    image.SetMetaData("made.by-hand", "x")
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    found = read_header(tmp_path / f"a{suffix}", "a")[1]
    assert found.sizes[-3:] == (128, 128, 1)
    assert found.size == found.length == 128 * 128 * 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NDims = 3", b"0010|0010 = Doe^Jane\nNDims = 3\nDoe^Jane"),
        (b"NDims = 3", b"0010|0010 = Doe^Jane\n0010|0010 = Doe^Jane\nNDims = 3"),
        (b"NDims = 3", b"NDims = Doe^Jane"),
        (b"DimSize = 4 3 2", b"DimSize = Doe^Jane"),
        (b"ElementSpacing = 1 2 3", b"Offset = Doe^Jane"),
        (b"ElementType = MET_SHORT", b"ElementType = Doe^Jane"),
        (b"ObjectType = Image", b"ObjectType = Doe^Jane"),
        (b"BinaryData = True", b"BinaryData = Doe^Jane"),
        (b"BinaryData = True", b"HeaderSize = Doe^Jane"),
        (b"a.raw", b"Doe^Jane"),
        (b"a.raw", b"Doe^Jane/a.raw"),
        (b"a.raw", b"Doe^Jane%d"),
        (b"# a note", b"0010|0010:=Doe^Jane\nDoe^Jane"),
        (b"# a note", b"Doe^Jane: 1\nDoe^Jane: 1"),
        (b"dimension: 3", b"dimension: Doe^Jane"),
        (b"type: short", b"type: Doe^Jane"),
        (b"encoding: raw", b"encoding: Doe^Jane"),
        (b"endian: little", b'space units: "Doe^Jane"'),
    ],
)
def test_no_value_of_a_header_is_told(place, old, new):
    text = META if old in META else NRRD
    for each in (text, NRRD) if old in NRRD else (text,):
        with pytest.raises(MedsaliencyError, match=r"^a: expected ") as caught:
            header(place, each.replace(old, new))
        assert "Jane" not in str(caught.value)


def test_a_line_that_is_not_understood_is_told_by_its_number(place):
    fault(place, META.replace(b"DimSize", b"0010/0010 = x\nDimSize"), r"got another line 4; convert")
    fault(place, NRRD.replace(b"sizes", b"nothing\nsizes"), r"got another line 5; convert", ".nhdr")
