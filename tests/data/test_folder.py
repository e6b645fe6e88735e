import numpy as np
import pytest
from PIL import Image

from medsaliency.data.folder import folder
from medsaliency.types import MedsaliencyError


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((3, 4), 51, np.uint8)).save(path)
    return path


def test_class_folders_in_sorted_order_without_hidden_and_other_files(tmp_path):
    for name in ("well/b.png", "well/a.JPG", "sick/2.tif", "sick/1.bmp", "sick/.hidden.png", ".cache/x.png"):
        image(tmp_path / name)
    (tmp_path / "sick" / "notes.txt").write_text("none")
    dataset = folder(tmp_path)
    assert dataset.classes == ("sick", "well")
    assert [r.id for r in dataset.records] == ["sick/1.bmp", "sick/2.tif", "well/a.JPG", "well/b.png"]
    assert all(r.patient == r.id and r.split is None and r.mask is None for r in dataset.records)
    np.testing.assert_allclose(dataset.read(dataset.records[1]).pixels, np.full((1, 3, 4), 0.2), rtol=1e-6)


def test_split_folders_by_any_common_name(tmp_path):
    for split in ("Train", "val", "TEST"):
        image(tmp_path / split / "x" / "1.png")
        image(tmp_path / split / "y" / "1.png")
    dataset = folder(tmp_path)
    assert {r.id: r.split for r in dataset.records} == {
        f"{split}/{label}/1.png": canonical
        for split, canonical in (("TEST", "evaluation"), ("Train", "training"), ("val", "validation"))
        for label in "xy"
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "expected a folder per class"),
        (("train/x/1.png", "other/x/1.png"), "got split 'train' beside 'other'"),
        (("x/images/1.png",), "got the folder 'images'"),
        (("x/1.png", "x/2.png", "y/.hidden.png"), "y: expected images"),
        (("x/1.png", "x/2.png", "y/1.png"), "label 'y' has 1 image"),
        (("x/a (1).png", "x/a (1)_mask.png"), r"mask of 'a \(1\)'; write a manifest"),
        (("x/a.png", "x/a_mask_1.png"), "mask of 'a'"),
    ],
)
def test_a_fault_is_named_in_one_line(tmp_path, names, message):
    for name in names:
        image(tmp_path / name)
    with pytest.raises(MedsaliencyError, match=message) as caught:
        folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_root_and_a_file_are_told_apart(tmp_path):
    with pytest.raises(MedsaliencyError, match=r"got nothing there"):
        folder(tmp_path / "none")
    with pytest.raises(MedsaliencyError, match=r"got a file"):
        folder(image(tmp_path / "a.png"))


def test_a_link_does_not_lead_out(tmp_path):
    outside = image(tmp_path / "secret.png")
    image(tmp_path / "root" / "x" / "1.png")
    (tmp_path / "root" / "x" / "2.png").symlink_to(outside)
    with pytest.raises(MedsaliencyError, match=r"leads out of"):
        folder(tmp_path / "root")
