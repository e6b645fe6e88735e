import numpy as np
import pytest
from PIL import Image

from medsaliency.data import SOURCES, open_source
from medsaliency.data.radiography import radiography
from medsaliency.types import MedsaliencyError


def film(root, label, number, mask_size=256):
    for kind, size in (("images", 299), ("masks", mask_size)):
        (root / label / kind).mkdir(parents=True, exist_ok=True)
        array = np.zeros((size, size), np.uint8)
        array[:, : size // 2] = 255
        Image.fromarray(array).save(root / label / kind / f"{label}-{number}.png")


@pytest.fixture
def root(tmp_path):
    for label in ("COVID", "Viral Pneumonia"):
        for number in (1, 2):
            film(tmp_path, label, number)
    (tmp_path / "README.md.txt").write_text("none")
    return tmp_path


def test_lung_masks_are_not_lesions_unless_asked(root):
    dataset = radiography(root)
    assert dataset.classes == ("COVID", "Viral Pneumonia")
    assert [r.id for r in dataset.records][:2] == ["COVID/images/COVID-1.png", "COVID/images/COVID-2.png"]
    raw = dataset.read(dataset.records[0])
    assert raw.pixels.shape == (1, 299, 299)
    assert raw.lesion is None


def test_lung_masks_come_on_the_films_grid_and_mark_the_name(root):
    dataset = radiography(root, masks="lung")
    assert dataset.name.endswith("(masks: lungs)")
    raw = dataset.read(dataset.records[0])
    assert raw.lesion is not None
    assert raw.lesion.shape == (299, 299)
    disagree = raw.lesion != (raw.pixels[0] > 0.5)
    assert not np.delete(disagree, [149, 150], axis=1).any()
    assert dataset.sample(dataset.records[0], 64).lesion is not None


def test_a_mask_missing_or_of_other_proportions_shows_on_reading(root):
    (root / "COVID" / "masks" / "COVID-1.png").unlink()
    Image.fromarray(np.zeros((256, 128), np.uint8)).save(root / "COVID" / "masks" / "COVID-2.png")
    dataset = radiography(root, masks="lung")
    with pytest.raises(MedsaliencyError, match=r"COVID-1.png: mask COVID-1.png: no such image"):
        dataset.read(dataset.records[0])
    with pytest.raises(MedsaliencyError, match=r"proportions of the film \(299, 299\).*got \(256, 128\)"):
        dataset.read(dataset.records[1])


def test_faults_are_named(root, tmp_path_factory):
    with pytest.raises(MedsaliencyError, match=r"one of ignore, lung, got 'lesion'"):
        radiography(root, masks="lesion")
    with pytest.raises(MedsaliencyError, match=r"class folders that hold images/"):
        radiography(tmp_path_factory.mktemp("empty"))
    (root / "Normal" / "images").mkdir(parents=True)
    with pytest.raises(MedsaliencyError, match=r"Normal/images: expected images, got none"):
        radiography(root)


def test_the_kind_of_source_is_found_out(root, tmp_path_factory):
    assert open_source(root).records == radiography(root).records
    assert open_source(root, masks="lung").records == radiography(root, "lung").records
    other = tmp_path_factory.mktemp("other")
    for name in ("x/1.png", "x/2.png"):
        (other / "x").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(other / name)
    assert [r.id for r in open_source(other).records] == ["x/1.png", "x/2.png"]
    (other / "manifest.csv").write_text("image,label\nx/1.png,y\nx/2.png,y\n")
    assert open_source(other).classes == open_source(other / "manifest.csv").classes == ("y",)
    assert open_source(other, kind="folder").classes == ("x",)
    (other / "manifest.csv").unlink()
    (other / "x" / "1.mat").touch()
    with pytest.raises(MedsaliencyError, match=r"MATLAB v7.3"):
        open_source(other)
    assert open_source(kind="sandbox", training=12, evaluation=12).name == "sandbox"
    assert set(SOURCES) >= {"manifest", "folder", "figshare", "radiography", "sandbox"}


def test_what_cannot_be_opened_says_what_was_looked_for(tmp_path):
    with pytest.raises(MedsaliencyError, match=r"manifest.csv, .mat files, class folders with images/, DICOM"):
        open_source(tmp_path)
    with pytest.raises(MedsaliencyError, match=r"no such file or folder"):
        open_source(tmp_path / "none")
    with pytest.raises(MedsaliencyError, match=r"'manifets'; did you mean 'manifest'"):
        open_source(tmp_path, kind="manifets")
    with pytest.raises(MedsaliencyError, match=r"option of 'figshare', got 'folds'; did you mean 'fold'"):
        open_source(tmp_path, kind="figshare", folds=2)
    with pytest.raises(MedsaliencyError, match=r"got 'x'; known: planes, view, volume, window"):
        open_source(tmp_path, kind="folder", x=2)
    with pytest.raises(MedsaliencyError, match=r"got neither"):
        open_source()
    with pytest.raises(MedsaliencyError, match=r"kind 'folder', got none"):
        open_source(kind="folder")
    with pytest.raises(MedsaliencyError, match=r"reads no files"):
        open_source(tmp_path, kind="sandbox")
