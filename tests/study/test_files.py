from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsaliency.study.files import explain_files
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 50), dtype=np.uint8)).save(path)
    return path


def test_a_figure_and_maps_on_native_pixels_are_written(small_run: Store, scan: Path, tmp_path: Path) -> None:
    ((figure, maps, prediction),) = explain_files(
        [scan], small_run.path, tmp_path / "out", methods=["grad_cam", "edge"]
    )
    with np.load(maps, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["edge", "grad_cam"]
        assert arrays["edge"].shape == (90, 50)
        assert arrays["edge"].dtype == np.float32
    with Image.open(figure) as image:
        assert min(image.size) > 200
    assert prediction.split(" (")[0] in ("no-lesion", "intra-axial", "extra-axial", "sellar")


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
        ({"target_layer": "stage9"}, "unknown layer 'stage9'; did you mean 'stage"),
    ],
)
def test_unknown_names_show_the_nearest(
    small_run: Store, scan: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        explain_files([scan], small_run.path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name_are_refused(small_run: Store, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="two images are called 'scan'"):
        explain_files([scan, scan], small_run.path, tmp_path / "out")


def test_a_folder_without_a_checkpoint_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"expected a checkpoint folder with model\.safetensors"):
        explain_files([scan], tmp_path, tmp_path / "out")
