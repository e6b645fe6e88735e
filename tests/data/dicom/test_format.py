import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom import Dataset

from medsaliency.data.dataset import Record
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.geometry import to_model
from medsaliency.data.reading import Reading, Stack
from medsaliency.types import MedsaliencyError, Slice

VOLUME = Reading(volume=True)
AXIAL = ([1, 0, 0], [0, 1, 0])
"""Directions of columns and rows in LPS: an axial slice as scanners store it."""
DIRECTIONS = {
    "axial": AXIAL,
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "prone": ([-1, 0, 0], [0, -1, 0]),
    "oblique": ([0.96, 0.28, 0], [-0.28, 0.96, 0]),
}
SIZE = (4, 5, 6)


def record(path, plane=None, parts=()):
    return Record("x", 0, "x", image=path, plane=plane, parts=tuple(parts))


@pytest.fixture
def write_series(tmp_path, write_dicom):
    """Writes a series with distinct values, one slice a file: ``write_series(columns, rows, ...)``."""

    def write(columns, rows, places=(0, 1, 2, 3), gap=3.0, reverse=False, **attributes):
        normal = np.cross(columns, rows) * (-1 if reverse else 1)
        paths = []
        for i in places:
            pixels = (100 * i + np.arange(30).reshape(5, 6)).astype(np.int16)
            paths.append(
                write_dicom(
                    tmp_path / f"{len(paths)}.dcm",
                    pixels,
                    SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                    ImagePositionPatient=[round(float(v), 6) for v in np.array([-10.0, 20.0, 5.0]) + i * gap * normal],
                    ImageOrientationPatient=[float(v) for v in (*columns, *rows)],
                    PixelSpacing=[0.5, 0.75],
                    FrameOfReferenceUID="1.2.3",
                    SeriesInstanceUID="1.2.4",
                    **attributes,
                )
            )
        return paths

    return write


@pytest.fixture
def enhanced(tmp_path, write_dicom):
    """Writes a file of four frames, each with its own plane: ``enhanced(places)``."""

    def write(places=(0, 1, 2, 3), **attributes):
        groups = []
        for place in places:
            position, orientation, measures, own = Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [-10.0, 20.0, 5.0 + 3.0 * place]
            orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 2
            own.PlanePositionSequence, own.PlaneOrientationSequence = [position], [orientation]
            own.PixelMeasuresSequence = [measures]
            groups.append(own)
        pixels = np.arange(len(places) * 30, dtype=np.uint16).reshape(-1, 5, 6)
        attributes = {"PerFrameFunctionalGroupsSequence": groups, **attributes}
        return write_dicom(tmp_path / "enhanced.dcm", pixels, **attributes)

    return write


def test_one_image_is_no_stack_and_frames_are(enhanced, write_dicom, tmp_path):
    assert DICOM.stack(write_dicom(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8)), "x", Reading()) is None
    assert DICOM.stack(enhanced(), "x", Reading()) == Stack(0, 4)
    assert DICOM.stack(enhanced(), "x", VOLUME) is None


def test_an_image_has_spacing_and_the_affine_of_row_and_column(write_series):
    raw = DICOM.read(record(write_series(*AXIAL)[2]), Reading())
    assert raw.pixels.shape == (1, 5, 6)
    assert (raw.spacing, raw.spacing_known, raw.slice, raw.turn) == ((0.5, 0.75), True, None, None)
    # LPS (-10 + 0.75 column, 20 + 0.5 row, 11) with both first axes turned round.
    np.testing.assert_allclose(np.array(raw.affine) @ [2, 4, 0, 1], [10 - 3, -20 - 1, 11, 1])


def test_a_frame_of_even_ones_has_the_affine_of_all(enhanced):
    raw = DICOM.read(record(enhanced(), 2), Reading())
    assert raw.slice == Slice(0, 2, (4, 5, 6))
    for frame in range(4):
        np.testing.assert_allclose(np.array(raw.affine) @ [frame, 0, 0, 1], [10, -20, 5 + 3 * frame, 1])
    np.testing.assert_allclose(raw.pixels[0], np.arange(30).reshape(5, 6) / 29, atol=1e-6)


def test_a_frame_of_uneven_ones_has_an_affine_that_is_right_for_it(enhanced):
    for frame, place in enumerate(places := (0, 1, 5, 2)):
        raw = DICOM.read(record(enhanced(places), frame), Reading())
        np.testing.assert_allclose(np.array(raw.affine) @ [frame, 0, 0, 1], [10, -20, 5 + 3 * place, 1])


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_series_is_the_volume_that_simpleitk_reads_and_turned_for_viewing(write_series, name, reverse):
    paths = write_series(*DIRECTIONS[name], reverse=reverse)
    raw = DICOM.read(record(paths[0], parts=paths), VOLUME)
    assert raw.pixels.shape == (1, *SIZE)
    assert raw.spacing == pytest.approx((3.0, 0.5, 0.75))
    values = np.stack([pydicom.dcmread(path).pixel_array for path in paths]).astype(float)
    np.testing.assert_allclose(raw.pixels[0], values / values.max(), atol=1e-6)
    # Where SimpleITK puts a voxel, which sorts slices along their normal by itself.
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(paths[0].parent))
    image = SimpleITK.ReadImage(names)
    theirs = SimpleITK.GetArrayFromImage(image)
    for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        at = np.array(np.unravel_index(np.argmin(np.abs(theirs - values[index])), SIZE)[::-1])
        point = np.array(image.TransformIndexToPhysicalPoint(at.tolist())) * [-1, -1, 1]
        np.testing.assert_allclose((np.array(raw.affine) @ [*index, 1])[:3], point, atol=1e-4)
    # From feet to head, from front to back, from right to left: nibabel's S, P and L.
    affine = np.array(raw.affine)
    turned = nibabel.Nifti1Image(raw.pixels[0], affine)
    oriented = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt("SPL")
    )
    expected = np.asarray(turned.as_reoriented(oriented).dataobj)
    np.testing.assert_array_equal(to_model(raw.pixels, [raw.turn])[0], expected)


def test_an_enhanced_file_is_a_volume_in_its_own_order(enhanced):
    for places in ((0, 1, 2, 3), (3, 2, 1, 0)):
        raw = DICOM.read(record(enhanced(places)), VOLUME)
        np.testing.assert_allclose(raw.pixels[0], np.arange(120).reshape(4, 5, 6) / 119, atol=1e-6)
        np.testing.assert_allclose(np.array(raw.affine) @ [1, 0, 0, 1], [10, -20, 5 + 3 * places[1], 1])
        assert raw.turn.backwards[0] is (places[0] > places[1])


def test_frames_without_places_are_a_volume_without_spacing(tmp_path, write_dicom, enhanced):
    film = write_dicom(tmp_path / "film.dcm", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    for path in (film, enhanced((1, 1, 1))):
        raw = DICOM.read(record(path), VOLUME)
        assert raw.pixels.ndim == 4
        assert (raw.spacing, raw.affine, raw.turn) == (None, None, None)


def test_a_volume_shares_the_window_that_all_slices_have_and_no_other(write_series):
    same = write_series(*AXIAL, WindowCenter="100", WindowWidth="101")
    np.testing.assert_allclose(DICOM.read(record(same[0], parts=same), VOLUME).pixels[0, 1, 0, 0], 0.505, atol=1e-3)
    header = pydicom.dcmread(same[0])
    header.WindowWidth = 7
    header.save_as(same[0])
    raw = DICOM.read(record(same[0], parts=same), VOLUME)
    np.testing.assert_allclose(raw.pixels[0, 1, 0, 0], 100 / 329, atol=1e-6)


def test_a_series_that_is_none_is_refused_with_the_reason(write_series, write_dicom, tmp_path):
    uneven = write_series(*AXIAL, places=(0, 1, 3, 4))
    with pytest.raises(
        MedsaliencyError, match=r"^x: expected evenly spaced slices, got 6 mm between slices 2 and 3 where"
    ):
        DICOM.read(record(uneven[0], parts=uneven), VOLUME)
    paths = write_series(*AXIAL)
    with pytest.raises(MedsaliencyError, match=r"^x: expected slices one behind the other"):
        DICOM.read(record(paths[0], parts=[paths[1], paths[0], *paths[2:]]), VOLUME)
    header = pydicom.dcmread(paths[1])
    header.FrameOfReferenceUID = "1.2.9"
    header.save_as(paths[1])
    with pytest.raises(MedsaliencyError, match=r"^x: expected slices of one frame of reference"):
        DICOM.read(record(paths[0], parts=paths), VOLUME)
    header.Rows, header.PixelData = 4, header.PixelData[:48]
    header.save_as(paths[1])
    with pytest.raises(MedsaliencyError, match=r"^x: expected slices of one size"):
        DICOM.read(record(paths[0], parts=paths), VOLUME)
    film = write_dicom(tmp_path / "film.dcm", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(MedsaliencyError, match=r"^x: film.dcm: expected a series of one slice a file"):
        DICOM.read(record(film, parts=[film, *paths]), VOLUME)


@pytest.mark.parametrize(
    ("plane", "reading", "message"),
    [
        (None, Reading(), "expected one image, got 4 frames"),
        (4, Reading(), "expected a plane below the number of frames 4, got 4"),
    ],
)
def test_a_frame_must_be_named_and_there(enhanced, plane, reading, message):
    with pytest.raises(MedsaliencyError, match=f"^x: {message}"):
        DICOM.read(record(enhanced(), plane), reading)


def test_a_single_image_is_no_volume(write_series):
    with pytest.raises(MedsaliencyError, match=r"^x: expected a file of several frames, or a series, for a volume"):
        DICOM.read(record(write_series(*AXIAL)[0]), VOLUME)


def test_an_aspect_ratio_is_a_ratio(tmp_path, write_dicom):
    raw = DICOM.read(
        record(write_dicom(tmp_path / "a.dcm", np.zeros((2, 3), np.uint8), PixelAspectRatio=[4, 3])), Reading()
    )
    assert (raw.spacing, raw.spacing_known, raw.affine) == ((4.0, 3.0), False, None)
