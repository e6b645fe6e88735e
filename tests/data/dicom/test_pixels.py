import io
import sys
import tracemalloc
from functools import lru_cache
from importlib import import_module
from itertools import product
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_windowing
from pydicom.uid import JPEG2000, JPEG2000Lossless, RLELossless

from medsaliency.data.dataset import Record
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.dicom.pixels import FileWindow, windowed
from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    FILES = dict(import_module("dicom_files").files())
finally:
    sys.path.remove(str(BENCHMARKS))
TOO_SHORT = "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm"
"""Its frames are whole, but what should follow them is not, so that pydicom alone reads nothing of it."""
REFUSED = {
    "without pixel data": 81,
    "expected a DICOM file": 5,
    "expected a transfer syntax": 1,
    "got a mask (Segmentation Storage)": 4,
    "that cannot (pillow: ": 3,
    "it was cut off": 1,
    "a whole number in NumberOfFrames": 1,
    "a whole number in Rows": 1,
    "JPEG 2000 frame of at most 16,384 tiles": 1,
}
"""Files of the test sets that are refused, by what is said."""


UNSIGNED = DataElement(0x00280120, "US", 63536)
"""A pixel padding value of -2000, as some write it beside signed pixels."""


def read(path, plane=None, **reading):
    return DICOM.read(Record("x", 0, "x", image=path, plane=plane), Reading(**reading))


def pixels(path, plane=None, **reading):
    return read(path, plane, **reading).pixels


# An independent pipeline: pydicom parses the file; numpy does all else, or SimpleITK and Pillow what is compressed.


def native(ds, index):
    """Stored values of a frame, decoded by hand."""
    big = ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
    size, samples = ds.BitsAllocated // 8, ds.SamplesPerPixel
    data = ds.PixelData
    if big and size == 1 and ds["PixelData"].VR == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    kind = f"{'>' if big else '<'}{'iu'[ds.PixelRepresentation == 0]}{size}"
    shape = (ds.Rows, ds.Columns)
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        pairs = np.frombuffer(data, np.uint8).reshape(ds.Rows, ds.Columns // 2, 4)
        color = np.repeat(pairs[..., 2:], 2, axis=1)
        return np.concatenate([pairs[..., :2].reshape(*shape, 1), color], axis=2)
    count = ds.Rows * ds.Columns * samples
    values = np.frombuffer(data, kind, count, index * count * size).astype(np.int64)
    return arranged(masked(values, ds), ds, ds.get("PlanarConfiguration", 0) == 1)


def masked(values, ds):
    """Without what is in unused high bits."""
    values = values & (2**ds.BitsStored - 1)
    return (
        np.where(values >> (ds.BitsStored - 1), values - 2**ds.BitsStored, values) if ds.PixelRepresentation else values
    )


def arranged(values, ds, planar):
    if ds.SamplesPerPixel == 1:
        return values.reshape(ds.Rows, ds.Columns)
    if planar:
        return values.reshape(3, ds.Rows, ds.Columns).transpose(1, 2, 0)
    return values.reshape(ds.Rows, ds.Columns, 3)


def run_length(ds, index):
    """Stored values of an RLE frame, decoded by hand (PS3.5 annex G)."""
    frame = list(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))))[index]
    count, *offsets = np.frombuffer(frame, "<u4", 16).tolist()
    ends = [*offsets[1:count], len(frame)]
    planes = []
    for start, end in zip(offsets[:count], ends, strict=True):
        out, place = bytearray(), start
        while place < end and len(out) < ds.Rows * ds.Columns:
            head = frame[place]
            if head < 128:
                out += frame[place + 1 : place + 2 + head]
                place += 2 + head
            else:
                out += frame[place + 1 : place + 2] * (257 - head if head > 128 else 0)
                place += 2 if head > 128 else 1
        planes.append(np.frombuffer(bytes(out), np.uint8).astype(np.int64))
    size = ds.BitsAllocated // 8
    values = [sum(planes[s * size + b] << (8 * (size - 1 - b)) for b in range(size)) for s in range(ds.SamplesPerPixel)]
    return arranged(masked(np.concatenate(values), ds), ds, planar=True)


@lru_cache(maxsize=1)
def by_itk(path):
    """Values of all frames after the rescale, or RGB."""
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    return SimpleITK.GetArrayFromImage(reader.Execute())


def plain_values(ds, path, index):
    """Gray in the modality's units, or RGB or palette indices as stored."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax != RLELossless:
        if syntax in (JPEG2000, JPEG2000Lossless) and ds.PhotometricInterpretation == "MONOCHROME1":
            frame = next(generate_frames(ds.PixelData, number_of_frames=1))  # SimpleITK would invert these
            values = np.asarray(Image.open(io.BytesIO(frame)))
            return (values >> (16 - ds.BitsStored)).astype(float)
        return by_itk(path)[index].astype(float)
    values = run_length(ds, index) if syntax == RLELossless else native(ds, index)
    if "ModalityLUTSequence" in ds:
        values = table(ds.ModalityLUTSequence[0], values)
    ds = macro(ds, "PixelValueTransformationSequence", index)
    return values * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))


def macro(ds, name, index):
    """Of an enhanced file, the item of a functional group; the file itself of others."""
    for groups, place in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        if groups in ds and name in ds[groups].value[place]:
            return ds[groups].value[place][name].value[0]
    return ds


def table(item, values):
    entries, first, _ = item.LUTDescriptor
    data = item.LUTData
    data = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
    return data.astype(float)[np.clip(np.rint(values).astype(int) - first, 0, (entries or 65536) - 1)]


def plain(ds, path, index):
    """What is shown, (C, H, W)."""
    values = plain_values(ds, path, index)
    kind = ds.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        if "RedPaletteColorLookupTableData" not in ds:  # segmented: SimpleITK, of the file that is not big endian
            return (by_itk(path)[index] / 65535).transpose(2, 0, 1)
        order = ">" if ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" else "<"
        palettes = [
            np.frombuffer(ds[f"{color}PaletteColorLookupTableData"].value, f"{order}u2")
            for color in ("Red", "Green", "Blue")
        ]
        return np.stack([palette[values.astype(int)] for palette in palettes]) / 65535
    if ds.SamplesPerPixel == 3:
        if kind.startswith("YBR_FULL") and not ds.file_meta.TransferSyntaxUID.is_compressed:
            y, blue, red = (values[..., i].astype(float) - (128 if i else 0) for i in range(3))
            rgb = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
            values = np.clip(np.rint(np.stack(rgb, axis=-1)), 0, 255)
        return values.transpose(2, 0, 1) / (2**ds.BitsStored - 1)
    padding = np.zeros(values.shape, bool)
    if "PixelPaddingValue" in ds:
        stored = (values - float(ds.get("RescaleIntercept", 0))) / float(ds.get("RescaleSlope", 1))
        padding = stored == ds.PixelPaddingValue
    if "VOILUTSequence" in ds:
        item = ds.VOILUTSequence[0]
        shown = table(item, values) / (2 ** item.LUTDescriptor[2] - 1)
    elif "WindowCenter" in (voi := macro(ds, "FrameVOILUTSequence", index)):
        center, width = (np.atleast_1d(voi[f"Window{what}"].value).astype(float)[0] for what in ("Center", "Width"))
        shown = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    else:
        low, high = values[~padding].min(), values[~padding].max()
        shown = np.clip((values - low) / (high - low), 0, 1)
    shown = 1 - shown if kind == "MONOCHROME1" else shown
    return np.where(padding, 0, shown)[None]


def test_every_image_of_the_test_sets_is_what_a_plain_pipeline_makes_of_it_or_refused_for_a_known_reason():
    read_files, refusals, wrong = 0, dict.fromkeys(REFUSED, 0), []
    for name, path in FILES.items():
        try:
            stack = DICOM.stack(path, "x", Reading())
            count = stack.count if stack else 1
            for index in sorted({0, count - 1}):
                ours = pixels(path, index if stack else None)
                whole = FILES[name.replace("_too_short", "")] if name == TOO_SHORT else path
                ds = pydicom.dcmread(whole)
                expected = plain(ds, whole, index)
                chroma = ds.PhotometricInterpretation.startswith("YBR")
                # A lossy JPEG's chroma is brought to all pixels in more than one way.
                allowed = 2.001 / 255 if chroma else 1e-5
                if ours.dtype != np.float32 or ours.shape != expected.shape or np.abs(ours - expected).max() > allowed:
                    wrong.append((name, index, ours.shape, expected.shape, float(np.abs(ours - expected).max())))
        except MedsaliencyError as error:
            said = " and ".join(reason for reason in REFUSED if reason in str(error)) or str(error)
            refusals[said] = refusals.get(said, 0) + 1
        else:
            read_files += 1
    assert wrong == []
    assert refusals == REFUSED
    assert read_files == 162
    assert read_files + sum(REFUSED.values()) == len(FILES)


@pytest.mark.parametrize(
    ("function", "center", "width"),
    [
        *product(("LINEAR", "LINEAR_EXACT", "SIGMOID"), (40.0, -600.5), (400.0, 1500.25, 1.0)),
        *product(("LINEAR_EXACT", "SIGMOID"), (0.0,), (0.5,)),
    ],
)
def test_windows_are_those_of_pydicom_and_of_highdicom(function, center, width):
    values = np.linspace(-1500, 1500, 3001)
    ours = windowed(values, FileWindow(center, width, function))
    header = pydicom.Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 16, 0
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(ours, apply_windowing(values.copy(), header) / 65535, atol=1e-12)
    if width > 1:  # highdicom divides by zero there
        theirs = hd.pixels.apply_voi_window(
            values, center, width, output_range=(0.0, 1.0), voi_lut_function=function, dtype=np.float64
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_the_window_asked_for_is_in_the_units_after_the_rescale(tmp_path, write_dicom):
    stored = np.array([[0, 964], [1064, 1164]], np.uint16)
    file = write_dicom(
        tmp_path / "a.dcm", stored, RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="5", WindowWidth="2"
    )
    np.testing.assert_allclose(pixels(file, window=(40.0, 200.0)), [[[0, 0], [0.5, 1]]])


def test_monochrome1_and_an_inverse_presentation_are_inverted_once(tmp_path, write_dicom):
    stored = np.array([[0, 50], [100, 200]], np.uint8)
    for number, attributes in enumerate(
        (
            {"PhotometricInterpretation": "MONOCHROME1"},
            {"PresentationLUTShape": "INVERSE"},
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        )
    ):
        file = write_dicom(tmp_path / f"{number}.dcm", stored, **attributes)
        np.testing.assert_allclose(pixels(file), [[[1, 0.75], [0.5, 0]]])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_outside_the_range(tmp_path, write_dicom, photometric):
    stored = np.array([[-2000, 100], [200, 300]], np.int16)
    expected = np.array([[[0, 0], [0.5, 1]]])
    if photometric == "MONOCHROME1":
        expected[0, 0, 1], expected[0, 1] = 1, [0.5, 0]
    file = write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation=photometric, PixelPaddingValue=UNSIGNED)
    np.testing.assert_allclose(pixels(file), expected)  # written as unsigned, it means -2000
    stored[0, 0] = -1990
    file = write_dicom(
        tmp_path / "b.dcm",
        stored,
        PhotometricInterpretation=photometric,
        PixelPaddingValue=-2000,
        PixelPaddingRangeLimit=-1900,
    )
    np.testing.assert_allclose(pixels(file), expected)
    file = write_dicom(tmp_path / "c.dcm", np.full((2, 2), 7, np.uint8), PixelPaddingValue=7)
    np.testing.assert_array_equal(pixels(file), np.zeros((1, 2, 2)))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float_pixels_are_images_and_their_padding_may_be_no_number(tmp_path, write_dicom, kind):
    stored = np.array([[np.nan, -0.25], [0.25, 0.75]], kind)
    name = "FloatPixelPaddingValue" if kind is np.float32 else "DoubleFloatPixelPaddingValue"
    file = write_dicom(tmp_path / "a.dcm", stored, **{name: float("nan")})
    np.testing.assert_allclose(pixels(file), [[[0, 0], [0.5, 1]]])
    with pytest.raises(MedsaliencyError, match=r"^x: expected finite pixel values"):
        pixels(write_dicom(tmp_path / "b.dcm", stored))


def test_sixteen_bits_stay_apart(tmp_path, write_dicom):
    stored = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert len(np.unique(pixels(write_dicom(tmp_path / "a.dcm", stored)))) == 65536


def test_overlays_in_unused_bits_are_masked_off(tmp_path, write_dicom):
    stored = np.array([[0, 4095], [1000, 2000]], np.uint16)
    overlaid = stored | np.array([[0x1000, 0], [0x8000, 0xF000]], np.uint16)
    plain_file = write_dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11)
    file = write_dicom(tmp_path / "b.dcm", overlaid, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(pixels(file), pixels(plain_file))


def test_one_bit_a_pixel_is_black_and_white(tmp_path, write_dicom):
    marks = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]], np.uint8)
    packed = np.packbits(marks.ravel(), bitorder="little").tobytes()
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed}
    np.testing.assert_array_equal(pixels(write_dicom(tmp_path / "a.dcm", marks, **bits)), np.ones((1, 2, 8)))


def test_each_frame_has_its_own_rescale_and_a_volume_the_range_of_all(tmp_path, write_dicom):
    def frame(slope):
        values = pydicom.Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, 0, "US"
        groups = pydicom.Dataset()
        groups.PixelValueTransformationSequence = [values]
        return groups

    stored = np.array([[[0, 10]], [[0, 10]]], np.uint16)
    file = write_dicom(tmp_path / "a.dcm", stored, PerFrameFunctionalGroupsSequence=[frame(1), frame(4)])
    np.testing.assert_allclose(pixels(file, 1, window=(20.0, 40.0)), [[[0, 1]]])
    np.testing.assert_allclose(pixels(file, 0, window=(20.0, 40.0)), [[[0, 0.25]]])
    np.testing.assert_allclose(pixels(file, volume=True), [[[[0, 0.25]], [[0, 1]]]])


def test_a_window_of_no_width_counts_as_none(tmp_path, write_dicom):
    stored = np.array([[10, 20], [30, 50]], np.uint8)
    file = write_dicom(tmp_path / "a.dcm", stored, WindowCenter="30", WindowWidth="0")
    np.testing.assert_allclose(pixels(file), [[[0, 0.25], [0.5, 1]]])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"PhotometricInterpretation": "HSV"}, "got another photometric interpretation"),
        ({"PhotometricInterpretation": "RGB"}, "with their samples, got 1 a pixel"),
        ({"VOILUTFunction": "CUBIC", "WindowCenter": "1", "WindowWidth": "2"}, "got another; give a window"),
        ({"RescaleSlope": "1", "RescaleIntercept": "0", "BitsStored": 30}, "that cannot"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected RedPaletteColorLookupTableDescriptor, got none"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(tmp_path, write_dicom, attributes, message):
    file = write_dicom(tmp_path / "a.dcm", np.zeros((2, 2), np.uint16), **attributes)
    with pytest.raises(MedsaliencyError, match=rf"^x: .*{message}") as caught:
        read(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["RLE", "jpeg_2k_lossless", "jpeg_ls_lossless", "big_endian"])
def test_a_compressed_volume_is_the_plain_one(kind):
    plain_file, file = (FILES[f"pydicom-data/emri_small{end}.dcm"] for end in ("", f"_{kind}"))
    found = pixels(file, volume=True)
    assert found.shape == (1, 10, 64, 64)
    np.testing.assert_array_equal(found, pixels(plain_file, volume=True))


def test_frames_that_are_not_there_are_refused(tmp_path):
    header = pydicom.dcmread(FILES["pydicom-data/emri_small_RLE.dcm"])
    header.NumberOfFrames = 11
    header.save_as(tmp_path / "a.dcm")
    for plane, reading in ((10, {}), (None, {"volume": True})):
        with pytest.raises(MedsaliencyError, match=r"^x: "):
            pixels(tmp_path / "a.dcm", plane, **reading)


def test_a_transfer_syntax_without_a_decoder_is_named(tmp_path):
    header = pydicom.dcmread(FILES["test_files/MR_small_RLE.dcm"])
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    header.save_as(tmp_path / "a.dcm")
    with pytest.raises(MedsaliencyError, match=r"^x: expected pixels that pydicom decodes, got MPEG2 Main Profile"):
        read(tmp_path / "a.dcm")


def test_signed_color_is_refused(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", np.zeros((2, 2, 3), np.int8), SamplesPerPixel=3)
    with pytest.raises(MedsaliencyError, match=r"^x: expected unsigned color"):
        read(file)


def test_an_empty_number_of_frames_is_one(tmp_path):
    header = pydicom.dcmread(FILES["test_files/CT_small.dcm"])
    header.NumberOfFrames = ""
    header.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(pixels(tmp_path / "a.dcm"), pixels(FILES["test_files/CT_small.dcm"]))


def black(path, side, copies=1):
    """A file of black JPEG 2000 frames, each of a few hundred bytes."""
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint16)).save(encoded, "JPEG2000", no_jp2=True)
    header = pydicom.dcmread(FILES["test_files/MR_small_jp2klossless.dcm"])
    header.Rows = header.Columns = side
    header.BitsStored, header.HighBit, header.PixelRepresentation, header.NumberOfFrames = 16, 15, 0, copies
    header.PixelData = encapsulate([encoded.getvalue()] * copies)
    header.save_as(path)
    return path


def test_a_few_bytes_that_become_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    message = r"^x: expected compressed pixels that grow at most 100-fold, got [\d,]+ bytes for "
    assert pixels(black(tmp_path / "a.dcm", 1000)).shape == (1, 1000, 1000)  # a black image is none
    file = black(tmp_path / "b.dcm", 5800)
    tracemalloc.start()
    with pytest.raises(MedsaliencyError, match=message + "33,640,000 values"):
        read(file)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    file = black(tmp_path / "c.dcm", 1000, 40)
    assert pixels(file, 39).shape == (1, 1000, 1000)
    with pytest.raises(MedsaliencyError, match=message + "40,000,000 values"):
        read(file, volume=True)


def test_an_image_is_held_in_few_bytes_a_pixel_and_a_volume_too(tmp_path, write_dicom):
    stored = np.random.default_rng(0).integers(0, 65536, (16, 512, 512), dtype=np.uint16)
    single = write_dicom(tmp_path / "a.dcm", stored.reshape(2048, 2048), RescaleSlope="2", RescaleIntercept="-9")
    volume = write_dicom(tmp_path / "b.dcm", stored, RescaleSlope="2", RescaleIntercept="-9")
    for path, reading in ((single, {}), (volume, {"volume": True})):
        pixels(path, **reading)  # what is imported on the way does not count
        tracemalloc.start()
        found = pixels(path, **reading)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.size == stored.size
        # Stored 2 bytes, shown 4, and a block of a million values in a few forms of 8 bytes.
        assert peak < 8 * stored.size + 32 * 2**20


def test_rows_are_shown_the_same_in_one_part_and_in_many(tmp_path, write_dicom, monkeypatch):
    stored = np.random.default_rng(0).integers(-500, 500, (30, 7)).astype(np.int16)
    attributes = {"PixelPaddingValue": -500, "RescaleSlope": "0.5", "RescaleIntercept": "3"}
    file = write_dicom(tmp_path / "a.dcm", stored, **attributes)
    palette = FILES["test_files/examples_palette.dcm"]
    expected = [pixels(file), pixels(palette)]
    monkeypatch.setattr("medsaliency.data.dicom.tables.BLOCK", 20)
    np.testing.assert_array_equal(pixels(file), expected[0])
    monkeypatch.setattr("medsaliency.data.dicom.tables.BLOCK", 5000)
    np.testing.assert_array_equal(pixels(palette), expected[1])


@pytest.mark.parametrize("stored", [1, 7])
def test_a_lossless_frame_of_more_bits_than_are_stored_is_refused_before_it_ends_the_process(tmp_path, stored):
    header = pydicom.dcmread(FILES["pydicom-data/JPGLosslessP14SV1_1s_1f_8b.dcm"])
    header.BitsStored = stored
    header.save_as(tmp_path / "a.dcm")
    with pytest.raises(MedsaliencyError, match=r"^a: expected a JPEG frame of its transfer syntax"):
        DICOM.read(Record("a", 0, "a", image=tmp_path / "a.dcm"), Reading())
