import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medsaliency.data import open_source
from medsaliency.data.manifest import inside, manifest, split_name
from medsaliency.types import MedsaliencyError

ROWS = "image,label,patient_id,mask,split\nb/1.png,sick,P1,m/1.png,train\nb/2.png,sick,P1,,VAL\na/3.png,well,,,test\n"


def write(tmp_path, text, name="manifest.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_column_is_read(tmp_path):
    dataset = manifest(write(tmp_path, ROWS + "a/4.png,well,P2,,\n"))
    assert dataset.classes == ("sick", "well")
    assert dataset.name == tmp_path.name
    assert [r.id for r in dataset.records] == ["b/1.png", "b/2.png", "a/3.png", "a/4.png"]
    assert [r.label for r in dataset.records] == [0, 0, 1, 1]
    assert [r.patient for r in dataset.records] == ["P1", "P1", "a/3.png", "P2"]
    assert [r.split for r in dataset.records] == ["training", "validation", "evaluation", None]
    assert [r.mask for r in dataset.records] == [tmp_path.resolve() / "m/1.png", None, None, None]


def test_the_folder_stands_for_its_manifest(tmp_path):
    path = write(tmp_path, "image,label\n1.png,x\n2.png,x\n")
    assert manifest(tmp_path).records == manifest(path).records


def test_what_spreadsheets_write_is_understood(tmp_path):
    path = write(tmp_path, "\ufeffImage, Label ,site\r\n./a\\1.png, x ,here\r\n\r\n,,\r\nb/../2.png,x,there\r\n")
    dataset = manifest(path)
    assert [r.id for r in dataset.records] == ["a/1.png", "2.png"]
    assert dataset.classes == ("x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,patient_id\n1.png,p\n", "row 1: expected the columns image,label.*add or rename 'label'"),
        ("image;label\n1.png;x\n", "separated by commas, got 'image;label'"),
        ("", "expected the columns"),
        ("image,label\n", "expected at least one image, got none"),
        ("image,label\n1.png,x\n2.png,x\n3.png,rare\n", "label 'rare' has 1 image"),
        ("image,label\n1.png,x\n./1.png,x\n", r"row 3: image '1.png' is already listed at .*row 2"),
        ("image,label\n1.png,x\n2.png,\n", "row 3: expected a value in column 'label'"),
        ("image,label\n1.png,x,y\n", "row 2: expected 2 cells as in the header, got 3"),
        ("image,label,split\n1.png,x,trian\n", "row 2: expected a split name, got 'trian'; did you mean 'train'"),
        ("image,label,patient\n1.png,x,p\n", "unknown column 'patient'; rename it to 'patient_id'"),
        ("image,label,mask,mask\n1.png,x,,\n", "expected column 'mask' once"),
        ("image,label\n/etc/hosts,x\n", "row 2: expected a path relative to"),
        ("image,label\nC:\\a.png,x\n", "row 2: expected a path relative to"),
        ("image,label\n../a.png,x\n", "row 2: '../a.png' leads out of"),
        ("image,label,mask\n1.png,x,a/../../m.png\n", "row 2: 'a/../../m.png' leads out of"),
        ("image,label,boxes\n1.png,x,1 2 3\n", "row 2: expected boxes as whole numbers 'x y width height'"),
        ("image,label,boxes\n1.png,x,1 2 3 4; 1 2 0 4\n", "several separated by ';', got '1 2 0 4'"),
        ("image,label,boxes\n1.png,x,-1 2 3 4\n", "got '-1 2 3 4'"),
        ("image,label,boxs\n1.png,x,1 2 3 4\n", "unknown column 'boxs'; rename it to 'boxes'"),
        ("image,label,mask,boxes\n1.png,x,m.png,1 2 3 4\n", "row 2: expected a mask or boxes, got both"),
        ("image,label\n1\0.png,x\n", r"row 2: expected a path without control.*got U\+0000 in '1\\x00.png'"),
    ],
)
def test_a_fault_is_named_in_one_line(tmp_path, text, message):
    with pytest.raises(MedsaliencyError, match=message) as caught:
        manifest(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "manifest.csv" in str(caught.value)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(MedsaliencyError, match=r"no such manifest"):
        manifest(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MedsaliencyError, match=r"CSV in UTF-8"):
        manifest(tmp_path)


def test_a_link_does_not_lead_out(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    for cell, message in (("out/1.png", "leads out of"), ("loop/1.png", "not a usable path|leads out of")):
        with pytest.raises(MedsaliencyError, match=message):
            manifest(write(root, f"image,label\n{cell},x\n"))


def test_a_link_to_the_whole_dataset_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    write(tmp_path / "real", "image,label\n1.png,x\n2.png,x\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(manifest(tmp_path / "link").records) == 2


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=8).map("/".join))
def test_no_path_leaves_its_root(tmp_path_factory, path):
    root = tmp_path_factory.getbasetemp().resolve()
    try:
        name, found = inside(root, path, "row 2")
    except MedsaliencyError:
        assert path.startswith("/") or ".." in path
    else:
        assert found.resolve().is_relative_to(root)
        assert ".." not in name


@given(st.sampled_from(["Training", "TRAIN", "Valid", "val", "validation", "TEST", "eval", "Evaluation"]))
def test_split_names_are_canonical(name):
    assert split_name(name, "row 2") == {"t": "training", "v": "validation", "e": "evaluation"}.get(
        "e" if name == "TEST" else name[0].lower()
    )


def test_missing_files_show_on_reading_and_name_the_record(tmp_path):
    dataset = manifest(write(tmp_path, "image,label,mask\n1.png,x,m.png\n2.png,x,\n"))
    Image.fromarray(np.full((4, 6), 51, np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(MedsaliencyError, match=r"^1.png: mask m.png: no such image file"):
        dataset.read(dataset.records[0])
    with pytest.raises(MedsaliencyError, match=r"^2.png: no such image file"):
        dataset.read(dataset.records[1])
    Image.fromarray(np.eye(4, 6) > 0).save(tmp_path / "m.png")
    raw = dataset.read(dataset.records[0])
    np.testing.assert_allclose(raw.pixels, np.full((1, 4, 6), 0.2), rtol=1e-6)
    np.testing.assert_array_equal(raw.lesion, np.eye(4, 6) > 0)


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    dataset = manifest(write(tmp_path, "image,label,mask\n1.png,x,m.png\n2.png,x,\n"))
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.ones((3, 3), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(MedsaliencyError, match=r"\(4, 6\) \(height, width\), got \(3, 3\)"):
        dataset.sample(dataset.records[0], 8)


def test_the_real_manifests_open(real_data):
    brain, chest, breast = (open_source(real_data / n) for n in ("brain-mri", "chest-xray", "breast-ultrasound"))
    assert (len(brain.records), brain.classes) == (6593, ("glioma", "meningioma", "no-tumor", "pituitary"))
    assert (len(chest.records), len({r.patient for r in chest.records})) == (1124, 806)
    assert (len(breast.records), sum(r.mask is not None for r in breast.records)) == (780, 99)
    sample = breast.sample(next(r for r in breast.records if r.mask), 64)
    assert sample.lesion is not None
    assert 0 < sample.lesion.mean() < 0.5
    assert 0 <= sample.image.min() < sample.image.max() <= 1


def test_boxes_stand_for_a_mask(tmp_path):
    Image.new("L", (9, 7), 100).save(tmp_path / "1.png")
    Image.new("L", (9, 7), 100).save(tmp_path / "2.png")
    dataset = manifest(write(tmp_path, "image,label,boxes\n1.png,x,1 2 3 4; 8 0 1 1\n2.png,x,\n"))
    lesion = dataset.sample(dataset.records[0], 64).native_lesion
    expected = np.zeros((7, 9), dtype=bool)
    expected[2:6, 1:4] = expected[0, 8] = True
    assert np.array_equal(lesion, expected)
    assert dataset.sample(dataset.records[1], 64).native_lesion is None


def test_a_box_that_leaves_the_image_is_refused(tmp_path):
    Image.new("L", (9, 7), 100).save(tmp_path / "1.png")
    dataset = manifest(write(tmp_path, "image,label,boxes\n1.png,x,7 2 3 4\n2.png,x,\n"))
    with pytest.raises(MedsaliencyError, match=r"1\.png: expected boxes inside the image of 9 x 7 pixels, got x 7 y 2"):
        dataset.sample(dataset.records[0], 64)
