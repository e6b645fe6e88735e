import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from medsaliency.data.geometry import from_dict
from medsaliency.model import checkpoint, tuning
from medsaliency.model.checkpoint import fingerprint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.tuning import Tuning, cache_folder
from medsaliency.study.files import describe_layers, explain_files
from medsaliency.study.store import Store
from medsaliency.types import Crop, Geometry, MedsaliencyError, Pad, Resize, Slice


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 50), dtype=np.uint8)).save(path)
    return path


def test_a_figure_and_maps_on_native_pixels_are_written(small_run: Store, scan: Path, tmp_path: Path) -> None:
    (found,) = explain_files([scan], small_run.path, tmp_path / "out", methods=["grad_cam", "edge"])
    with np.load(found.maps, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["edge", "grad_cam"]
        assert arrays["edge"].shape == (90, 50)
        assert arrays["edge"].dtype == np.float32
    with Image.open(found.figure) as image:
        assert min(image.size) > 200
    assert found.prediction.split(" (")[0] in ("no-lesion", "intra-axial", "extra-axial", "sellar")


def test_what_the_maps_are_of_is_written_beside_them(small_run: Store, scan: Path, tmp_path: Path) -> None:
    (found,) = explain_files([scan], small_run.path, tmp_path / "out", methods=["edge"], target="sellar")
    about = json.loads(found.about.read_text())
    assert from_dict(about["geometry"]) == Geometry(
        (90, 50), (Pad((0, 20), (0, 20)), Resize((90, 90), (64, 64))), source=str(scan)
    )
    assert about["source"] == str(scan)
    assert about["sha256"] == [hashlib.sha256(scan.read_bytes()).hexdigest()]
    assert about["classes"] == ["no-lesion", "intra-axial", "extra-axial", "sellar"]
    assert (about["target"], about["explains"]) == (3, "Logit(index=3)")
    assert sum(about["probabilities"]) == pytest.approx(1, abs=1e-5)
    best = about["classes"][int(np.argmax(about["probabilities"]))]
    assert found.prediction == f"{best} ({max(about['probabilities']):.3f})"
    assert about["methods"] == {"edge": "Edge()"}
    assert about["model"] == {
        "architecture": "small_cnn",
        "weights": fingerprint(checkpoint.load(small_run.path).module),
    }


def test_an_image_is_read_as_the_checkpoint_s_own_were(
    small_run: Store, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "reading_of", lambda folder: {"fit": "crop", "window": [40, 80], "view": "axial"})
    (found,) = explain_files([scan], small_run.path, tmp_path / "out", methods=["edge"])
    steps = from_dict(json.loads(found.about.read_text())["geometry"]).steps
    assert steps == (Crop((20, 0), (20, 0)), Resize((50, 50), (64, 64)))
    with np.load(found.maps) as arrays:
        assert not arrays["edge"][:20].any()  # the model has not seen what was cut off
        assert arrays["edge"][20:70].any()


def test_a_model_that_was_trained_here_says_how_its_images_were_read(small_run: Store) -> None:
    assert checkpoint.reading_of(small_run.path) == {
        "window": None,
        "view": "axial",
        "planes": None,
        "volume": False,
        "fit": "pad",
    }


def gradient(small_run: Store, scan: Path, output: Path, **options: object) -> np.ndarray:
    (found,) = explain_files([scan], small_run.path, output, methods=["gradient"], **options)  # type: ignore[arg-type]
    with np.load(found.maps, allow_pickle=False) as arrays:
        return np.asarray(arrays["gradient"])


def test_a_contrast_and_a_probability_are_explained(small_run: Store, scan: Path, tmp_path: Path) -> None:
    # The gradient is linear in the logits: one of a contrast is the difference of two.
    first, second = (gradient(small_run, scan, tmp_path / "out", target=name) for name in ("sellar", "no-lesion"))
    contrast = gradient(small_run, scan, tmp_path / "out", target="sellar", against="no-lesion")
    assert np.abs(first - second).max() > 0
    np.testing.assert_allclose(contrast, first - second, atol=1e-5 * np.abs(contrast).max())
    # The classes' probabilities sum to 1, and their gradients to 0.
    parts = [
        gradient(small_run, scan, tmp_path / "out", target=name, probability=True)
        for name in ("no-lesion", "intra-axial", "extra-axial", "sellar")
    ]
    assert np.abs(parts[0]).max() > 0
    np.testing.assert_allclose(sum(parts), 0, atol=1e-5 * np.abs(parts[0]).max())


@pytest.mark.parametrize("exact", [True, False])
def test_a_measurement_decides_how_the_model_runs(
    small_run: Store, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    asked = []

    def tune(classifier: Classifier, images: torch.Tensor, *, exact: bool, cache: Path) -> Tuning:
        asked.append((tuple(images.shape), exact, cache))
        return Tuning(Execution(), {}, None, exact)

    monkeypatch.setattr(tuning, "tune", tune)
    explain_files([scan], small_run.path, tmp_path / "out", methods=["edge"], exact=exact)
    assert asked == []
    explain_files([scan], small_run.path, tmp_path / "out", methods=["edge"], tune=True, exact=exact)
    assert asked == [((1, 1, 64, 64), exact, cache_folder())]


def test_layers_are_described(small_run: Store, scan: Path) -> None:
    found = describe_layers(scan, small_run.path)
    assert [layer.name for layer in found if layer.chosen] == ["stage3"]
    assert {"stage1", "stage3.conv2"} <= {layer.name for layer in found}


def test_nothing_is_written_if_one_image_is_bad(small_run: Store, scan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(scan.read_bytes()[:60])
    with pytest.raises(MedsaliencyError, match=r"bad.png: cannot be read"):
        explain_files([scan, bad], small_run.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["gradcam"]}, "did you mean 'grad_cam'"),
        ({"target": "selar"}, "did you mean 'sellar'"),
        ({"against": "selar"}, "did you mean 'sellar'"),
        ({"target_layer": "stage9"}, "unknown layer 'stage9'; did you mean 'stage"),
        ({"target": "sellar", "against": "sellar"}, r"two classes to contrast, got 'sellar' twice \(image 'scan'\)"),
        ({"against": "sellar", "probability": True}, "a probability or a contrast to be explained, got both"),
        ({"methods": []}, "at least one method"),
    ],
)
def test_names_that_cannot_be_used_are_said(
    small_run: Store, scan: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        explain_files([scan], small_run.path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_number_of_a_plane_is_of_a_file(small_run: Store, tmp_path: Path) -> None:
    folder = dicom_files(tmp_path / "in", 1)
    with pytest.raises(MedsaliencyError, match="expected a file with --plane, got a folder"):
        explain_files([folder], small_run.path, tmp_path / "out", methods=["edge"], plane=0)


def test_two_images_of_one_name_are_refused(small_run: Store, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="two images are called 'scan'"):
        explain_files([scan, scan], small_run.path, tmp_path / "out")


def test_an_image_is_not_replaced_by_its_figure(small_run: Store, scan: Path) -> None:
    before = scan.read_bytes()
    with pytest.raises(MedsaliencyError, match=r"scan.png would replace the image; choose another --output"):
        explain_files([scan], small_run.path, scan.parent, methods=["edge"])
    assert scan.read_bytes() == before


def dicom_files(folder: Path, count: int) -> Path:
    """Files named as archives name them, with points and without a suffix."""
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    folder.mkdir()
    for i in range(count):
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{i}"
        source.save_as(folder / f"1.2.3.{i}")
    return folder


def test_a_folder_of_dicom_files_is_explained_on_their_own_pixels(small_run: Store, tmp_path: Path) -> None:
    folder = dicom_files(tmp_path / "in", 2)
    found = explain_files([folder], small_run.path, tmp_path / "out", methods=["edge"])
    assert [one.maps.name for one in found] == ["1.2.3.0.npz", "1.2.3.1.npz"]
    with np.load(found[0].maps) as arrays:
        assert arrays["edge"].shape == (128, 128)
    about = json.loads(found[1].about.read_text())
    assert about["source"] == str(folder / "1.2.3.1")
    geometry = from_dict(about["geometry"])
    assert geometry.affine is not None
    assert geometry.spacing == pytest.approx((0.661468, 0.661468))
    assert "CompressedSamples" not in found[1].about.read_text()  # the patient's name of that file


def test_a_window_changes_what_the_model_sees(small_run: Store, tmp_path: Path) -> None:
    folder = dicom_files(tmp_path / "in", 1)
    maps = []
    for window in ((40, 400), (-600, 1500)):
        (found,) = explain_files([folder], small_run.path, tmp_path / "out", methods=["edge"], window=window)
        with np.load(found.maps) as arrays:
            maps.append(arrays["edge"])
    assert np.abs(maps[0] - maps[1]).max() > 0.05


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "head.nii.gz"
    affine = np.diag([-2.0, 2, 3, 1])
    values = np.random.default_rng(0).random((20, 24, 9)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def test_slices_of_a_volume_are_explained_by_number(small_run: Store, volume: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"a file of 9 slices or frames; give --plane with a number from 0 to 8"):
        explain_files([volume], small_run.path, tmp_path / "out", methods=["edge"])
    (one,) = explain_files([volume], small_run.path, tmp_path / "out", methods=["edge"], plane=3)
    (middle,) = explain_files([volume], small_run.path, tmp_path / "out", methods=["edge"], planes="middle")
    every = explain_files([volume], small_run.path, tmp_path / "out", methods=["edge"], planes="all")
    assert (one.maps.name, middle.maps.name, len(every)) == ("head-3.npz", "head-4.npz", 9)
    assert from_dict(json.loads(one.about.read_text())["geometry"]).slice == Slice(2, 3, (20, 24, 9))
    with np.load(one.maps) as arrays:
        assert arrays["edge"].shape == (20, 24)
    with pytest.raises(MedsaliencyError, match=r"head\.nii\.gz"):
        explain_files([volume], small_run.path, tmp_path / "out", methods=["edge"], plane=9)


def test_a_folder_without_a_checkpoint_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"expected a checkpoint"):
        explain_files([scan], tmp_path, tmp_path / "out")
