from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from medsaliency.data.dataset import Record
from medsaliency.data.formats import FORMATS, format_of, is_image, planes_of, read_record
from medsaliency.data.manifest import manifest
from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError

VALUES = np.random.default_rng(0).random((12, 10, 6)).astype(np.float32)
MASK = np.zeros((12, 10, 6), np.uint8)
MASK[4:6, 5, 2:4] = 1


def kind(name: str) -> str:
    return next(key for key, known in FORMATS.items() if format_of(Path(name)) is known)


@pytest.fixture
def files(tmp_path):
    """A volume with a mask, a picture with a mask, and a manifest of the volume twice over."""
    nibabel.save(nibabel.Nifti1Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(VALUES[::-1], np.eye(4)), tmp_path / "b.nii.gz")
    nibabel.save(nibabel.Nifti1Image(MASK, np.eye(4)), tmp_path / "mask.nii.gz")
    Image.fromarray(np.full((4, 6), 51, np.uint8)).save(tmp_path / "p.png")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(tmp_path / "pm.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("a.PNG", "picture"), ("a.tiff", "picture"), ("a.nii", "nifti"), ("a.NII.GZ", "nifti"), ("a.mha", "itk")),
        *(("a.nhdr", "itk"), ("a.dcm", "dicom"), ("IM0001", "picture"), ("a.txt", "picture")),
    ],
)
def test_a_format_is_known_by_its_suffix(name, expected):
    assert kind(name) == expected


def test_a_dicom_file_without_a_suffix_is_known_by_its_content(write_dicom, tmp_path):
    path = write_dicom(tmp_path / "1.2.3", np.zeros((4, 4), np.uint8))
    assert format_of(path) is FORMATS["dicom"]
    assert is_image(path)
    (tmp_path / "notes").write_text("nothing")
    assert not is_image(tmp_path / "notes")


def test_a_picture_is_read_with_its_mask_or_boxes(files):
    record = Record("p", 0, "p", None, files / "p.png", files / "pm.png")
    raw = read_record(record, Reading())
    np.testing.assert_allclose(raw.pixels, np.full((1, 4, 6), 0.2), rtol=1e-6)
    np.testing.assert_array_equal(raw.lesion, np.eye(4, 6, dtype=bool))
    boxed = read_record(Record("p", 0, "p", None, files / "p.png", boxes=((1, 0, 2, 3),)), Reading())
    assert boxed.lesion.sum() == 6
    assert boxed.lesion[0:3, 1:3].all()


@pytest.mark.parametrize(
    ("more", "reading", "message"),
    [
        ({"plane": 1}, Reading(), "^p: expected no plane for a picture, got 1"),
        ({}, Reading(volume=True), "^p: expected a file of a volume, got a picture"),
        ({"boxes": ((5, 0, 2, 3),)}, Reading(), "^p: expected boxes inside the image of 6 x 4 pixels"),
    ],
)
def test_what_a_picture_cannot_be_is_refused(files, more, reading, message):
    with pytest.raises(MedsaliencyError, match=message):
        read_record(Record("p", 0, "p", None, files / "p.png", **more), reading)


def test_boxes_are_for_images(files):
    record = Record("a", 0, "a", None, files / "a.nii.gz", boxes=((1, 0, 2, 3),))
    with pytest.raises(MedsaliencyError, match=r"^a: expected boxes for an image, got a volume"):
        read_record(record, Reading(volume=True))


def test_planes_of_a_volume_are_chosen_by_rule(files):
    record = Record("a", 0, "a", None, files / "a.nii.gz", files / "mask.nii.gz")
    assert planes_of(record, Reading(planes="all")) == [0, 1, 2, 3, 4, 5]
    assert planes_of(record, Reading(planes="middle")) == [3]
    assert planes_of(record, Reading(planes="lesion")) == [2, 3]
    assert planes_of(record, Reading(planes="lesion", view="sagittal")) == [4, 5]
    assert planes_of(record, Reading(planes="lesion", view="coronal")) == [5]
    assert planes_of(record, Reading(volume=True)) == [None]
    assert planes_of(Record("p", 0, "p", None, files / "p.png"), Reading(planes="all")) == [None]
    with pytest.raises(MedsaliencyError, match=r"^a: expected one image, got a file of 6 slices or frames; say which"):
        planes_of(record, Reading())
    with pytest.raises(MedsaliencyError, match=r"^a: expected a mask, whose planes are asked for, got none"):
        planes_of(Record("a", 0, "a", None, files / "a.nii.gz"), Reading(planes="lesion"))


def test_a_manifest_numbers_planes_or_leaves_them_to_a_rule(files):
    (files / "manifest.csv").write_text("image,label,mask,plane\na.nii.gz,x,mask.nii.gz,2\nb.nii.gz,x,,0\n")
    numbered = manifest(files)
    assert [record.id for record in numbered.records] == ["a.nii.gz#2", "b.nii.gz#0"]
    raw = numbered.read(numbered.records[0])
    low, high = VALUES.min(), VALUES.max()
    np.testing.assert_allclose(raw.pixels[0], (VALUES[:, :, 2] - low) / (high - low), atol=1e-6)
    np.testing.assert_array_equal(raw.lesion, MASK[:, :, 2] > 0)

    (files / "manifest.csv").write_text("image,label,mask\na.nii.gz,x,mask.nii.gz\nb.nii.gz,x,mask.nii.gz\n")
    ruled = manifest(files, planes="lesion")
    assert [record.id for record in ruled.records] == [f"{name}.nii.gz#{i}" for name in "ab" for i in (2, 3)]
    assert [record.patient for record in ruled.records] == ["a.nii.gz", "a.nii.gz", "b.nii.gz", "b.nii.gz"]
    whole = manifest(files, volume=True)
    assert [record.id for record in whole.records] == ["a.nii.gz", "b.nii.gz"]
    assert whole.read(whole.records[0]).pixels.shape == (1, 12, 10, 6)
    with pytest.raises(MedsaliencyError, match=r"^a\.nii\.gz: expected one image, got a file of 6"):
        manifest(files)
    (files / "manifest.csv").write_text("image,label,plane\na.nii.gz,x,two\n")
    with pytest.raises(MedsaliencyError, match="row 2: expected plane as a whole number from 0, got 'two'"):
        manifest(files)


def test_one_image_in_four_formats_has_the_same_pixels(files):
    flat = (VALUES[:, :, 0] * 255).astype(np.uint8)
    Image.fromarray(flat).save(files / "one.png")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(flat), str(files / "one.mha"))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(flat), str(files / "one.nrrd"))
    nibabel.save(nibabel.Nifti1Image(flat, np.eye(4)), files / "one.nii")
    expected = (flat - flat.min()) / np.float32(flat.max() - flat.min())
    for name in ("one.mha", "one.nrrd", "one.nii"):
        raw = read_record(Record(name, 0, name, None, files / name), Reading())
        np.testing.assert_allclose(raw.pixels[0], expected, atol=1e-6, err_msg=name)
    raw = read_record(Record("one", 0, "one", None, files / "one.png"), Reading())
    np.testing.assert_allclose(raw.pixels[0], flat / 255, atol=1e-6)
