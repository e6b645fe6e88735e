from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medsaliency.data.dicom.source import dicom, is_dicom_source
from medsaliency.types import MedsaliencyError

DICOMDIR = Path(get_testdata_file("DICOMDIR", download=False))
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
SLICE = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1], "SeriesInstanceUID": "1.2.3"}


def reference(uid, keyword="ReferencedSOPInstanceUID"):
    item, outer = pydicom.Dataset(), pydicom.Dataset()
    setattr(item, keyword, uid)
    outer.ReferencedInstanceSequence = [item]
    return [outer]


@pytest.fixture
def classes(tmp_path, write_dicom):
    """Two classes of two images, of which the first of each are one patient's."""
    for label in ("sick", "well"):
        for number in (1, 2):
            write_dicom(
                tmp_path / label / "study" / f"{number}",
                PIXELS + number,
                PatientID=f"patient {number}",
                SOPInstanceUID=f"1.2.3.{number}{len(label)}{label == 'well':d}",
            )
    return tmp_path


def test_first_folders_are_classes_and_patients_have_no_name(classes):
    dataset = dicom(classes)
    assert dataset.classes == ("sick", "well")
    assert [(r.id, dataset.classes[r.label], r.patient) for r in dataset.records] == [
        ("sick/study/1", "sick", "sick/study/1"),
        ("sick/study/2", "sick", "sick/study/2"),
        ("well/study/1", "well", "sick/study/1"),
        ("well/study/2", "well", "sick/study/2"),
    ]
    assert "patient" not in "".join(map(repr, dataset.records)).replace("patient=", "")
    np.testing.assert_allclose(dataset.read(dataset.records[0]).pixels, [PIXELS / 11], rtol=1e-6)


def test_folders_of_splits_hold_classes(tmp_path, write_dicom):
    for split in ("Train", "test"):
        for label in "ab":
            write_dicom(tmp_path / split / label / "1.dcm", PIXELS)
    dataset = dicom(tmp_path)
    assert {(r.id, r.split) for r in dataset.records} == {
        (f"{split}/{label}/1.dcm", name)
        for split, name in (("Train", "training"), ("test", "evaluation"))
        for label in "ab"
    }
    assert dataset.classes == ("a", "b")


def test_without_classes_there_is_one_and_a_single_image_is_enough(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "one" / "a", PIXELS)
    for root in (file, tmp_path, tmp_path / "one"):
        dataset = dicom(root)
        assert dataset.classes == ("unlabeled",)
        assert len(dataset.records) == 1
        assert dataset.read(dataset.records[0]).pixels.shape == (1, 3, 4)


def test_a_dicomdir_is_a_source_of_all_it_lists():
    dataset = dicom(DICOMDIR)
    assert (len(dataset.records), dataset.classes) == (31, ("unlabeled",))
    assert len({r.patient for r in dataset.records}) == 2  # as its own records say
    assert all(dataset.read(record).pixels.shape == (1, 16, 16) for record in dataset.records)


def test_series_of_a_dicomdir_are_volumes():
    dataset = dicom(DICOMDIR, volume=True)
    shapes = {record.id: dataset.read(record).pixels.shape for record in dataset.records if "CT5N" in record.id}
    assert list(shapes.values()) == [(1, 5, 16, 16)]
    record = next(record for record in dataset.records if "CT5N" in record.id)
    heights = [float(pydicom.dcmread(part).ImagePositionPatient[2]) for part in record.parts]
    assert heights == sorted(heights)
    assert record.image == record.parts[0]


def test_frames_become_images_as_asked(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "film.dcm", np.stack([PIXELS] * 5), PatientID="7")
    with pytest.raises(MedsaliencyError, match=r"film\.dcm: expected one image, got a file of 5"):
        dicom(file)
    assert [r.id for r in dicom(file, planes="middle").records] == ["film.dcm#2"]
    records = dicom(file, planes="all").records
    assert [(r.plane, r.patient) for r in records] == [(i, "film.dcm") for i in range(5)]


def test_a_csv_names_labels_patients_masks_and_splits(classes, write_dicom):
    mask = write_dicom(classes / "masks" / "m.dcm", PIXELS, SOPClassUID=SEGMENTATION)
    labels = classes.parent / f"{classes.name}.csv"
    labels.write_text(
        "image,label,patient_id,mask,split\n"
        "sick/study/1,a,p,masks/m.dcm,train\n"
        "sick\\study\\2,b,,,test\n"
        "well/study/1,a,,,\n"
        "\n"
        "well/study/2,b,,,\n"
    )
    dataset = dicom(classes, labels=labels)
    assert dataset.classes == ("a", "b")
    first, second, third, _ = dataset.records
    assert (first.patient, first.mask, first.split) == ("p", mask, "training")
    assert (second.patient, second.mask, second.split) == ("sick/study/2", None, "evaluation")
    assert third.patient == "sick/study/1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\na\n", "row 1: expected the columns image,label"),
        ("image,label,patient\na,b,c\n", "row 1: expected the columns image,label and perhaps patient_id"),
        ("image,label\n", "expected at least one image"),
        ("image,label\nsick/study/1\n", "row 2: expected 2 cells, got 1"),
        ("image,label\nsick/study/1,\n", "row 2: expected an image and a label"),
        ("image,label\nsick/study/9,a\n", "row 2: expected an image .* got 'sick/study/9'"),
        ("image,label\nsick/study/1,a\nsick/./study/1,b\n", "row 3: image 'sick/study/1' is listed already"),
        ("image,label\n../x,a\n", "leads out of"),
        ("image,label,mask\nsick/study/1,a,../x\n", "leads out of"),
        ("image,label\nsick/study/1,a\n", "label 'a' has 1 image"),
    ],
)
def test_a_fault_of_the_csv_is_named_in_one_line(classes, text, message):
    labels = classes.parent / f"{classes.name}.csv"
    labels.write_text(text)
    with pytest.raises(MedsaliencyError, match=message) as caught:
        dicom(classes, labels=labels)
    assert "\n" not in str(caught.value)


def test_a_mask_that_refers_to_an_image_is_its_mask_and_two_are_an_error(classes, write_dicom):
    mask = write_dicom(
        classes / "seg.dcm", PIXELS, SOPClassUID=SEGMENTATION, ReferencedSeriesSequence=reference("1.2.3.140")
    )
    by_id = {record.id: record.mask for record in dicom(classes).records}
    assert by_id == {"sick/study/1": mask, "sick/study/2": None, "well/study/1": None, "well/study/2": None}
    write_dicom(
        classes / "other.dcm",
        None,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        ReferencedStudySequence=reference("1.2.3.140"),
    )
    with pytest.raises(MedsaliencyError, match=r"^sick/study/1: expected one mask .* 'other.dcm' and 'seg.dcm'"):
        dicom(classes)


def test_a_mask_of_a_series_is_that_of_its_volume_and_a_csv_may_name_its_folder(tmp_path, write_dicom):
    for label, series in (("a", "1.2.3"), ("b", "1.2.4")):
        for z in range(3):
            place = {**SLICE, "SeriesInstanceUID": series, "ImagePositionPatient": [0, 0, z]}
            write_dicom(tmp_path / label / f"{z}", PIXELS, **place)
    mask = write_dicom(
        tmp_path / "seg",
        PIXELS,
        SOPClassUID=SEGMENTATION,
        ReferencedSeriesSequence=reference("1.2.4", "SeriesInstanceUID"),
    )
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\na,x\nb/2,x\n")
    dataset = dicom(tmp_path, labels=labels, volume=True)
    assert [(r.id, r.mask) for r in dataset.records] == [("a/0", None), ("b/0", mask)]
    assert dataset.read(dataset.records[0]).pixels.shape == (1, 3, 3, 4)
    assert all(record.mask is None for record in dicom(tmp_path).records)  # it names no single image


def test_a_place_without_a_series_is_refused(tmp_path, write_dicom):
    write_dicom(tmp_path / "a", PIXELS)
    with pytest.raises(MedsaliencyError, match="expected a series of 3 or more parallel slices"):
        dicom(tmp_path, volume=True)
    with pytest.raises(MedsaliencyError, match="no such file or folder"):
        dicom(tmp_path / "none")


def test_a_source_of_dicom_is_known(tmp_path, write_dicom):
    assert not is_dicom_source(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("no")
    assert not is_dicom_source(tmp_path)
    file = write_dicom(tmp_path / "deep" / "b", PIXELS)
    assert is_dicom_source(tmp_path)
    assert is_dicom_source(file)
    assert is_dicom_source(DICOMDIR)
    assert not is_dicom_source(tmp_path / "deep" / "a.txt")
