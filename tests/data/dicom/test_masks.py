from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentationTypeValues as Kind
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from skimage.draw import polygon2mask

from medsaliency.data.dataset import Record
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.dicom.masks import lesion
from medsaliency.data.nifti import NIFTI
from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError

CT5N = sorted((Path(get_testdata_file("DICOMDIR")).parent / "98892001" / "CT5N").iterdir())
"""Five real CT slices of one series, 2.5 mm apart, cut to 16 x 16 pixels."""
ENHANCED = Path(get_testdata_file("eCT_Supplemental.dcm"))
"""A real enhanced CT file of two frames of 512 x 512 pixels."""
ROWS = 12
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The slices from the feet up, cut to twelve rows, so that rows and columns differ."""
    folder = tmp_path_factory.mktemp("series")
    slices = [pydicom.dcmread(path) for path in CT5N]
    for image in slices:
        image.PixelData = image.pixel_array[:ROWS].tobytes()
        image.Rows = ROWS
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slices.sort(key=lambda image: image.ImagePositionPatient[2])
    paths = tuple(folder / f"{number}.dcm" for number in range(len(slices)))
    for image, path in zip(slices, paths, strict=True):
        image.save_as(path, enforce_file_format=True)
    return paths


def segmentation(path, sources, masks, kind=Kind.BINARY, segments=1, **options):
    """Write a segmentation with highdicom."""
    images = [pydicom.dcmread(source) for source in sources]
    described = [
        hd.seg.SegmentDescription(
            segment_number=number + 1,
            segment_label=f"finding {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(segments)
    ]
    hd.seg.Segmentation(
        source_images=images,
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **options,
    ).save_as(path)
    return path


def volume_of(series, mask):
    record = Record("a", 0, "a", image=series[0], parts=series, mask=mask)
    return lesion(record, DICOM.read(record, Reading(volume=True)), Reading(volume=True))


def slice_of(image, mask, plane=None):
    record = Record("a", 0, "a", image=image, mask=mask, plane=plane)
    return lesion(record, DICOM.read(record, Reading()), Reading())


@pytest.fixture
def drawn():
    masks = RNG.random((5, ROWS, 16)) > 0.7
    masks[3] = False
    return masks


@pytest.mark.parametrize("empty", [True, False])
def test_a_segmentation_is_found_slice_by_slice_and_as_a_volume(tmp_path, series, drawn, empty):
    path = segmentation(tmp_path / "m.dcm", series, drawn.astype(np.uint8), omit_empty_frames=empty)
    np.testing.assert_array_equal(volume_of(series, path), drawn)
    np.testing.assert_array_equal(volume_of(series[::-1], path), drawn[::-1])
    for image, expected in zip(series, drawn, strict=True):
        np.testing.assert_array_equal(slice_of(image, path), expected)


def test_all_segments_are_taken_together(tmp_path, series):
    masks = (RNG.random((5, ROWS, 16, 3)) > 0.8).astype(np.uint8)
    path = segmentation(tmp_path / "m.dcm", series, masks, segments=3)
    np.testing.assert_array_equal(volume_of(series, path), masks.any(axis=-1))


def test_fractions_count_from_one_half(tmp_path, series):
    fractions = np.broadcast_to(np.linspace(0, 1, 16), (5, ROWS, 16)).astype(np.float32)
    for most in (255, 100):
        path = segmentation(
            tmp_path / "m.dcm",
            series,
            fractions,
            Kind.FRACTIONAL,
            fractional_type=hd.seg.SegmentationFractionalTypeValues.PROBABILITY,
            max_fractional_value=most,
        )
        np.testing.assert_array_equal(volume_of(series, path), np.round(fractions * most) >= most / 2)


def test_a_label_map_is_everything_but_its_background(tmp_path, series):
    labels = RNG.integers(0, 4, (5, ROWS, 16)).astype(np.uint8)
    path = segmentation(tmp_path / "m.dcm", series, labels, Kind.LABELMAP, segments=3)
    assert pydicom.dcmread(path).SegmentationType == "LABELMAP"
    np.testing.assert_array_equal(volume_of(series, path), labels > 0)
    np.testing.assert_array_equal(slice_of(series[2], path), labels[2] > 0)


def test_frames_of_an_enhanced_file_go_by_their_numbers(tmp_path):
    masks = RNG.random((2, 512, 512)) > 0.7
    path = segmentation(tmp_path / "m.dcm", [ENHANCED], masks.astype(np.uint8))
    for plane in (0, 1):
        np.testing.assert_array_equal(slice_of(ENHANCED, path, plane), masks[plane])
    record = Record("a", 0, "a", image=ENHANCED, mask=path)
    raw = DICOM.read(record, Reading(volume=True))
    np.testing.assert_array_equal(lesion(record, raw, Reading(volume=True)), masks)


def change(path, edit):
    dataset = pydicom.dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


def without_derivation(dataset):
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence


def test_frames_that_name_no_image_go_by_their_place(tmp_path, series, drawn):
    path = segmentation(tmp_path / "m.dcm", series, drawn.astype(np.uint8))
    change(path, without_derivation)
    np.testing.assert_array_equal(volume_of(series, path), drawn)
    np.testing.assert_array_equal(slice_of(series[1], path), drawn[1])
    np.testing.assert_array_equal(slice_of(series[3], path), drawn[3])
    change(path, lambda dataset: dataset.pop("ReferencedSeriesSequence"))
    np.testing.assert_array_equal(slice_of(series[1], path), drawn[1])
    change(path, lambda dataset: setattr(dataset, "FrameOfReferenceUID", generate_uid()))
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.dcm: expected a segmentation that refers to this image"):
        slice_of(series[1], path)


def test_frames_whose_rows_run_the_other_way_are_turned_to_the_image(tmp_path, series, drawn):
    path = segmentation(tmp_path / "m.dcm", series, drawn[:, ::-1].astype(np.uint8))

    def turn(dataset):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            place = frame.PlanePositionSequence[0]
            end = np.array(place.ImagePositionPatient) + np.array(cosines[3:]) * spacing[0] * (ROWS - 1)
            place.ImagePositionPatient = [f"{value:.6f}" for value in end]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [*cosines[:3], *(-c for c in cosines[3:])]

    change(path, turn)
    np.testing.assert_array_equal(volume_of(series, path), drawn)
    np.testing.assert_array_equal(slice_of(series[0], path), drawn[0])


def move(dataset):
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[0] += 1


def test_frames_off_the_images_pixels_are_refused(tmp_path, series, drawn):
    path = change(segmentation(tmp_path / "m.dcm", series, drawn.astype(np.uint8)), move)
    with pytest.raises(
        MedsaliencyError, match=r"^a: mask m.dcm: expected the image's place in the patient, got voxels"
    ):
        volume_of(series, path)


def test_a_segmentation_of_another_image_is_refused_and_names_none(tmp_path, series, drawn):
    path = segmentation(tmp_path / "m.dcm", series[:2], drawn[:2].astype(np.uint8))
    message = r"^a: mask m.dcm: expected a segmentation of this image, got one of others; give each image its own$"
    with pytest.raises(MedsaliencyError, match=message):
        slice_of(series[4], path)
    with pytest.raises(MedsaliencyError, match=message):
        slice_of(Path(get_testdata_file("CT_small.dcm")), path)
    np.testing.assert_array_equal(volume_of(series, path), [*drawn[:2], *np.zeros((3, ROWS, 16), bool)])


def one_line(image, path):
    with pytest.raises(MedsaliencyError, match=r"^a: mask m\.dcm: ") as caught:
        slice_of(image, path)
    assert "\n" not in str(caught.value)
    assert pydicom.dcmread(image).PatientID not in str(caught.value)
    assert pydicom.dcmread(image).SOPInstanceUID not in str(caught.value)
    return str(caught.value)


def test_damaged_masks_are_refused_in_one_line(tmp_path, series, drawn):
    path = segmentation(tmp_path / "m.dcm", series, drawn.astype(np.uint8))
    whole = path.read_bytes()
    for length in (0, 100, 200, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        one_line(series[0], path)
    for edit, said in (
        (lambda dataset: dataset.pop("PerFrameFunctionalGroupsSequence"), "where it belongs"),
        (lambda dataset: setattr(dataset, "NumberOfFrames", 7), "where it belongs"),
        (lambda dataset: setattr(dataset, "Rows", 60000), "rows, columns"),
        (lambda dataset: setattr(dataset, "BitsAllocated", 8), "cut off"),
    ):
        path.write_bytes(whole)
        assert said in one_line(series[0], change(path, edit))
    path.unlink()
    assert "no such file" in one_line(series[0], path)


# --- contours ---


def structures(path, series, regions, *, images=True, reference=None):
    """Write a structure set: regions of contours, each (slice, points (row, column) of the image, and maybe a kind)."""
    slices = [pydicom.dcmread(source) for source in series]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "RTSTRUCT"
    reference = reference or slices[0].FrameOfReferenceUID
    dataset.StructureSetROISequence = Sequence()
    dataset.ROIContourSequence = Sequence()
    for number, contours in enumerate(regions, 1):
        named, found = Dataset(), Dataset()
        named.ROINumber, named.ROIName, named.ReferencedFrameOfReferenceUID = number, "x", reference
        found.ReferencedROINumber, found.ContourSequence = number, Sequence()
        for place, points, *kind in contours:
            contour = Dataset()
            image = slices[int(place)]
            contour.ContourGeometricType = kind[0] if kind else "CLOSED_PLANAR"
            if images:
                source = Dataset()
                source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
                contour.ContourImageSequence = Sequence([source])
            cosines = np.array(image.ImageOrientationPatient, float)
            rows, columns = np.array(points, float).T
            millimeters = (
                np.array(image.ImagePositionPatient, float)
                + rows[:, None] * cosines[3:] * image.PixelSpacing[0]
                + columns[:, None] * cosines[:3] * image.PixelSpacing[1]
                + np.cross(cosines[:3], cosines[3:]) * (place - int(place)) * 2.5
            )
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{value:.5f}" for value in millimeters.ravel()]
            found.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(named)
        dataset.ROIContourSequence.append(found)
    dataset.save_as(path, enforce_file_format=True)
    return path


TRIANGLE = [(1.3, 2.2), (9.7, 4.1), (3.2, 13.4)]
BOX = [(1.5, 1.5), (1.5, 11.5), (9.5, 11.5), (9.5, 1.5)]
HOLE = [(3.5, 3.5), (3.5, 6.5), (6.5, 6.5), (6.5, 3.5)]


def filled(points):
    return polygon2mask((ROWS, 16), points)


@pytest.mark.parametrize("images", [True, False])
def test_contours_lie_on_their_slices(tmp_path, series, images):
    path = structures(tmp_path / "m.dcm", series, [[(1, TRIANGLE), (3, BOX)], [(1, HOLE)]], images=images)
    expected = np.zeros((5, ROWS, 16), bool)
    expected[1], expected[3] = filled(TRIANGLE) | filled(HOLE), filled(BOX)
    assert 20 < filled(TRIANGLE).sum() < 60
    np.testing.assert_array_equal(volume_of(series, path), expected)
    np.testing.assert_array_equal(volume_of(series[::-1], path), expected[::-1])
    for image, mask in zip(series, expected, strict=True):
        np.testing.assert_array_equal(slice_of(image, path), mask)


def test_a_contour_within_another_and_a_keyhole_are_holes(tmp_path, series):
    keyhole = [*BOX[:2], BOX[2], (9.5, 4.2), HOLE[3], *HOLE[:3], HOLE[3], (9.5, 4.2), BOX[3]]
    expected = filled(BOX) & ~filled(HOLE)
    for contours in ([(0, BOX), (0, HOLE)], [(0, keyhole)]):
        path = structures(tmp_path / "m.dcm", series, [contours])
        np.testing.assert_array_equal(slice_of(series[0], path), expected)
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX)], [(0, HOLE)]])
    np.testing.assert_array_equal(slice_of(series[0], path), filled(BOX))


def test_contours_between_slices_go_to_the_nearest_and_to_one_only(tmp_path, series):
    for off, target in ((0.4, 2), (-0.4, 2), (0.6, 3), (0.5, None)):
        path = structures(tmp_path / "m.dcm", series, [[(2 + off, BOX)]], images=False)
        found = volume_of(series, path)
        assert found.any(axis=(1, 2)).sum() == 1
        if target is not None:
            np.testing.assert_array_equal(found[target], filled(BOX))
        np.testing.assert_array_equal([slice_of(image, path) for image in series], found)


def test_points_and_open_lines_mark_nothing(tmp_path, series):
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX), (0, TRIANGLE, "OPEN_PLANAR"), (0, [(1, 1)], "POINT")]])
    np.testing.assert_array_equal(slice_of(series[0], path), filled(BOX))
    path = structures(tmp_path / "m.dcm", series, [[(0, TRIANGLE, "OPEN_PLANAR")]])
    assert "expected closed contours" in one_line(series[0], path)


def test_contours_of_another_frame_of_reference_are_refused(tmp_path, series):
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX)]], images=False, reference=generate_uid())
    assert "got those of another image" in one_line(series[0], path)


def test_contours_that_make_no_sense_are_refused(tmp_path, series):
    def across(dataset):
        data = dataset.ROIContourSequence[0].ContourSequence[0].ContourData
        data[2] = float(data[2]) + 9

    def words(text):
        def edit(dataset):
            contour = dataset.ROIContourSequence[0].ContourSequence[0]
            contour.add_new("ContourData", "LT", text)

        return edit

    for edit, said in (
        (across, "some across them"),
        (words("1\\2\\3\\4"), "points x"),
        (words("1\\2\\nan"), "points x"),
        (words("1\\2\\x"), "contours of numbers"),
    ):
        path = change(structures(tmp_path / "m.dcm", series, [[(0, BOX)]]), edit)
        assert said in one_line(series[0], path)
    path = structures(tmp_path / "m.dcm", series, [[(0.9, BOX)]])
    assert "on the slices they refer to" in one_line(series[0], path)


def test_contours_that_cost_too_much_are_refused(tmp_path, series, monkeypatch):
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX)]])
    monkeypatch.setattr("medsaliency.data.dicom.masks.MAX_COST", 10)
    assert "at most 10 rows" in one_line(series[0], path)


def test_contours_need_an_image_that_lies_in_the_patient(tmp_path, series):
    image = pydicom.dcmread(series[0])
    del image.ImagePositionPatient
    image.save_as(tmp_path / "a.dcm")
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX)]])
    assert "expected an image that says where in the patient it lies" in one_line(tmp_path / "a.dcm", path)


# --- images ---


def test_an_ordinary_image_is_a_mask_of_the_same_pixels(tmp_path, series, drawn):
    image = pydicom.dcmread(series[0])
    image.RescaleIntercept = 0
    image.PixelData = (drawn[0] * 1000).astype(np.uint16).tobytes()
    image.save_as(tmp_path / "m.dcm")
    np.testing.assert_array_equal(slice_of(series[2], tmp_path / "m.dcm"), drawn[0])
    assert "got 1 x 12 x 16; the mask" in one_line(Path(get_testdata_file("CT_small.dcm")), tmp_path / "m.dcm")


def test_other_objects_and_other_images_are_refused(tmp_path, series, drawn):
    path = structures(tmp_path / "m.dcm", series, [[(0, BOX)]])
    change(path, lambda dataset: setattr(dataset, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.33"))
    assert "got Comprehensive SR Storage" in one_line(series[0], path)
    record = Record("a", 0, "a", image=tmp_path / "a.nii", mask=path)
    record.image.write_bytes(bytes(400))
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.dcm: expected a DICOM image for a DICOM mask"):
        lesion(record, DICOM.read(replace(record, image=series[0]), Reading()), Reading())


def test_a_nifti_mask_fits_the_series_it_was_drawn_on(tmp_path, series, drawn):
    import nibabel as nib

    record = Record("a", 0, "a", image=series[0], parts=series, mask=tmp_path / "m.nii.gz")
    raw = DICOM.read(record, Reading(volume=True))
    affine = np.array(raw.affine)[:, [2, 1, 0, 3]]
    image = nib.as_closest_canonical(nib.Nifti1Image(drawn.transpose(2, 1, 0).astype(np.uint8), affine))
    nib.save(image, record.mask)
    np.testing.assert_array_equal(NIFTI.lesion(record, raw, Reading(volume=True)), drawn)
    single = replace(record, image=series[1], parts=())
    np.testing.assert_array_equal(NIFTI.lesion(single, DICOM.read(single, Reading()), Reading()), drawn[1])
