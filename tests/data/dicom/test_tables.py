import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from medsaliency.data.dicom.header import DicomFault
from medsaliency.data.dicom.tables import Table, palette_colors, table_of

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
COLORS = ("Red", "Green", "Blue")


def lut(descriptor, data):
    item = pydicom.Dataset()
    item.LUTDescriptor = descriptor
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item


def palette(descriptor, data, segmented=False):
    header = pydicom.Dataset()
    for color in COLORS:
        setattr(header, f"{color}PaletteColorLookupTableDescriptor", descriptor)
        setattr(header, f"{'Segmented' * segmented}{color}PaletteColorLookupTableData", data)
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = LITTLE
    return header


def test_a_table_of_more_entries_than_eight_bits_count_does_not_wrap_around():
    entries = (np.arange(1024) // 4).astype("<u2")
    found = Table(-100, entries.tobytes(), 8)(np.array([-5000, -100, -97, -96, 923, 5000]))
    assert found.tolist() == [0, 0, 0, 1, 255, 255]


def test_a_value_between_two_entries_takes_the_nearest():
    assert Table(0, np.array([5, 9], "<u2").tobytes(), 8)(np.array([0.4, 0.6])).tolist() == [5, 9]


@pytest.mark.parametrize("data", [b"\1\2\3\4", b"\1\0\2\0\3\0\4\0", [1, 2, 3, 4]])
def test_entries_are_written_in_one_byte_in_two_or_as_numbers(data):
    assert table_of(lut([4, 10, 8], data), LITTLE)(np.arange(9, 16)).tolist() == [1, 1, 2, 3, 4, 4, 4]


def test_entries_of_big_endian_files_are_big_endian():
    assert table_of(lut([2, 0, 16], b"\1\2\3\4"), BIG)(np.arange(2)).tolist() == [0x0102, 0x0304]


def test_real_tables_are_what_pydicom_makes_of_them():
    modality = pydicom.dcmread(get_testdata_file("mlut_18.dcm", download=False))
    ours = table_of(modality.ModalityLUTSequence[0], LITTLE)(modality.pixel_array)
    np.testing.assert_array_equal(ours, apply_modality_lut(modality.pixel_array, modality))
    voi = pydicom.dcmread(get_testdata_file("vlut_04.dcm", download=False))
    ours = table_of(voi.VOILUTSequence[0], LITTLE)(voi.pixel_array)
    np.testing.assert_array_equal(ours, apply_voi_lut(voi.pixel_array, voi))


def test_a_palette_is_read_in_both_orders_of_bytes_and_from_its_first_value():
    stored = np.array([[0, 10], [11, 12]], np.uint8)
    entries = np.array([0, 0x8000, 0xFFFF], np.uint16)
    expected = np.repeat((np.array([[0, 0], [0x8000, 0xFFFF]]) / 65535)[..., None], 3, axis=2)
    for syntax, order in ((LITTLE, "<"), (BIG, ">")):
        header = palette([3, 10, 16], entries.astype(f"{order}u2").tobytes())
        np.testing.assert_allclose(palette_colors(stored, header, syntax), expected)
    eight = palette_colors(stored, palette([3, 10, 8], b"\0\x80\xff\0"), LITTLE)
    np.testing.assert_allclose(eight[..., 0], np.array([[0, 0], [128, 255]]) / 255)


def test_a_segmented_palette_is_what_pydicom_expands():
    # Discrete 7; linear to 107 in 5 steps; both once more by an indirect segment; linear to 0.
    segments = [0, 1, 7, 1, 5, 107, 2, 2, 0, 0, 1, 4, 0]
    header = palette([16, 0, 16], np.array(segments, "<u2").tobytes(), segmented=True)
    stored = np.arange(16, dtype=np.uint8).reshape(4, 4)
    ours = palette_colors(stored, header, LITTLE)
    np.testing.assert_allclose(ours, apply_color_lut(stored, header) / 65535)
    np.testing.assert_allclose(ours[..., 0].ravel()[:7] * 65535, [7, 27, 47, 67, 87, 107, 7])


@pytest.mark.parametrize(
    "segments",
    [
        [0, 1, 7, *[1, 65535, 9] * 5000],  # would be a third of a billion entries
        [0, 1, 7, *[2, 60000, 0, 0] * 5000],  # repeats itself, and what repeats
        [0, 1, 7, *[0, 0] * 20000, *[2, 60000, 3, 0] * 5000],  # empty segments, again and again
    ],
)
def test_a_segmented_palette_that_would_fill_the_memory_is_refused(segments):
    header = palette([0, 0, 16], np.array(segments, "<u2").tobytes(), segmented=True)
    with pytest.raises(DicomFault, match="expands to at most 65,536 entries"):
        palette_colors(np.zeros((2, 2), np.uint8), header, LITTLE)


def test_tables_that_are_shorter_than_they_say_are_refused():
    with pytest.raises(DicomFault, match="a lookup table of 5 entries, got 4"):
        table_of(lut([5, 0, 8], [1, 2, 3, 4]), LITTLE)
    with pytest.raises(DicomFault, match="palettes of 5 entries, got fewer"):
        palette_colors(np.zeros((2, 2), np.uint8), palette([5, 0, 8], b"\0\1\2\3"), LITTLE)
    with pytest.raises(DicomFault, match="segmented palette of 16 bits, got 8"):
        palette_colors(np.zeros((2, 2), np.uint8), palette([4, 0, 8], b"\0\1\2\3", segmented=True), LITTLE)
