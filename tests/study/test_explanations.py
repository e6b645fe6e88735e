import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
import zarr
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from medsaliency.data.geometry import to_dict, to_native
from medsaliency.model.targets import Contrast, Logit, Probability
from medsaliency.study.config import dump_study, load_study
from medsaliency.study.explanations import collect
from medsaliency.types import Geometry, MedsaliencyError, Resize, Slice

SAMPLES = ("ill/0.dcm", "well/1.dcm")
STEPS = (Resize((64, 64), (32, 32)),)


def _known(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


def _scans(root: Path) -> Path:
    for number, label in enumerate(("ill", "well") * 8):
        image = pydicom.dcmread(_known("MR_small.dcm"))
        image.PatientID = f"patient {number}"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        (root / label).mkdir(parents=True, exist_ok=True)
        image.save_as(root / label / f"{number}.dcm")
    return root


def _run(folder: Path, root: Path, score: str = "logit") -> np.ndarray:
    """The folder of a run, by hand; returns its maps."""
    folder.mkdir()
    given = {"data.source": "dicom", "data.root": str(root)}
    study = load_study(None, ["seed=7", f"explain.score={score}", "explain.methods=[gradient, xrai]"], **given)
    (folder / "study.yaml").write_text(dump_study(study))
    provenance = {
        "medsaliency": "1.2.3",
        "data": {"classes": ["ill", "other", "well"]},
        "model": {"architecture": "small_cnn", "weights": "ab" * 32},
        "methods": {"gradient": "Gradient()", "xrai": "XRAI()"},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    geometries = {sample: to_dict(Geometry((64, 64), STEPS, spacing=(0.3, 0.3))) for sample in SAMPLES}
    (folder / "geometry.json").write_text(json.dumps(geometries))
    # Rows of other images, and columns in another order, must not matter.
    pd.DataFrame(
        {
            "sample": ["ill/2.dcm", *SAMPLES[::-1]],
            "p_2": [0.1, 0.6, 0.25],
            "p_0": [0.8, 0.1, 0.25],
            "p_1": [0.1, 0.3, 0.5],
        }
    ).to_parquet(folder / "predictions.parquet")
    pd.DataFrame(
        {
            "sample": [SAMPLES[0], SAMPLES[0], SAMPLES[1]],
            "target": [1, 1, 2],
            "method": ["gradient", "gradient", "xrai"],
            "metric": ["gini", "hit_rate", "gini"],
            "value": [0.25, float("nan"), 0.5],
            "reason": ["", "no lesion mask", ""],
        }
    ).to_parquet(folder / "scores.parquet")
    maps = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    group = zarr.open_group(folder / "maps.zarr", mode="w")
    group.attrs["samples"] = list(SAMPLES)
    for name, sign in (("gradient", 1), ("xrai", -1)):
        array = group.create_array(f"maps/{name}", shape=maps.shape, chunks=(1, 32, 32), dtype="float32")
        array[:] = sign * maps
    return maps


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return _scans(tmp_path / "scans")


def test_a_run_tells_what_was_said_of_each_image_and_how_its_maps_scored(scans: Path, tmp_path: Path) -> None:
    maps = _run(tmp_path / "run", scans)
    first, second = collect(tmp_path / "run")
    assert (first.sample, first.number, second.sample, second.number) == ("ill/0.dcm", 1, "well/1.dcm", 2)
    assert first.files == (scans / "ill" / "0.dcm",)
    assert first.classes == ("ill", "other", "well")
    assert first.probabilities == (0.25, 0.5, 0.25)
    assert second.probabilities == (0.1, 0.3, 0.6)
    assert (first.target, first.explains) == (1, repr(Logit(1)))
    assert first.scores == {
        "gradient": {"gini": (0.25, ""), "hit_rate": (pytest.approx(np.nan, nan_ok=True), "no lesion mask")}
    }
    assert second.scores == {"xrai": {"gini": (0.5, "")}}
    assert (first.seed, first.version, first.architecture, first.weights) == (7, "1.2.3", "small_cnn", "ab" * 32)
    read = second.maps(["xrai", "gradient"])
    assert list(read) == ["xrai", "gradient"]
    np.testing.assert_array_equal(read["xrai"], to_native(-maps[1], second.geometry))
    assert read["xrai"].shape == first.pixels().shape[1:] == (64, 64)


@pytest.mark.parametrize(
    ("score", "explained"),
    [("logit", Logit(1)), ("probability", Probability(1)), ("contrast", Contrast(1, 0))],
)
def test_what_was_explained_is_told_as_the_study_chose_it(
    score: str, explained: object, scans: Path, tmp_path: Path
) -> None:
    _run(tmp_path / "run", scans, score)
    assert collect(tmp_path / "run")[0].explains == repr(explained)


def test_a_run_without_a_product_is_refused(scans: Path, tmp_path: Path) -> None:
    _run(tmp_path / "run", scans)
    (tmp_path / "run" / "geometry.json").unlink()
    with pytest.raises(MedsaliencyError, match=r"expected the folder of a finished study, geometry.json is missing"):
        collect(tmp_path / "run")


def test_a_run_whose_data_are_others_is_refused(scans: Path, tmp_path: Path) -> None:
    _run(tmp_path / "run", scans)
    (scans / "well" / "1.dcm").unlink()
    with pytest.raises(MedsaliencyError, match=r"^well/1.dcm: expected the image among the study's data.*--data-root"):
        collect(tmp_path / "run")


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_that_is_neither_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedsaliencyError, match=r"expected the folder of a run, or one that `medsaliency explain`"):
        collect(tmp_path / name)


def _about(**given: Any) -> dict[str, Any]:
    return {
        "sample": "scan",
        "source": None,
        "plane": None,
        "geometry": to_dict(Geometry((4, 5))),
        "classes": ["no", "yes"],
        "probabilities": [0.25, 0.75],
        "target": 1,
        "explains": "Logit(index=1)",
        "methods": {"gradient": "Gradient()"},
        "model": {"architecture": "small_cnn", "weights": "ab"},
        "medsaliency": "1.2.3",
        **given,
    }


def test_explained_files_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.json").write_text(json.dumps(_about(sample=name)))
    assert [(one.sample, one.number) for one in collect(tmp_path)] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("missing", ["sample", "geometry", "methods", "model", "target"])
def test_what_explain_has_not_written_is_refused(missing: str, tmp_path: Path) -> None:
    about = _about()
    del about[missing]
    (tmp_path / "scan.json").write_text(json.dumps(about))
    with pytest.raises(MedsaliencyError, match=r"scan.json: expected what `medsaliency explain` writes"):
        collect(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"sample": 3}'])
def test_text_that_is_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text(text)
    with pytest.raises(MedsaliencyError, match=r"scan.json: expected what `medsaliency explain` writes"):
        collect(tmp_path)


def test_moved_files_are_found_by_an_end_of_their_path_and_their_content(tmp_path: Path) -> None:
    (tmp_path / "new" / "b").mkdir(parents=True)
    contents = {"b/0.dcm": b"another", "0.dcm": b"first", "b/1.dcm": b"second", "1.dcm": b"second"}
    for name, content in contents.items():
        (tmp_path / "new" / name).write_bytes(content)
    sha256 = [hashlib.sha256(content).hexdigest() for content in (b"first", b"second")]
    about = _about(source="/gone/a/b/0.dcm", parts=["/gone/a/b/0.dcm", "/gone/a/b/1.dcm"], sha256=sha256)
    (tmp_path / "scan.json").write_text(json.dumps(about))
    (found,) = collect(tmp_path, tmp_path / "new")
    assert found.files == (tmp_path / "new" / "0.dcm", tmp_path / "new" / "b" / "1.dcm")
    assert found.record.image == found.files[0]
    assert found.digests() == tuple(sha256)
    assert collect(tmp_path)[0].files[0] == Path("/gone/a/b/0.dcm")


def test_a_root_without_the_file_that_was_explained_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "0.dcm").write_bytes(b"another")
    digest = hashlib.sha256(b"first").hexdigest()
    (tmp_path / "scan.json").write_text(json.dumps(_about(source=str(tmp_path / "0.dcm"), sha256=[digest])))
    (tmp_path / "0.dcm").write_bytes(b"first")
    with pytest.raises(MedsaliencyError, match=r"^scan: expected the file that was explained below --data-root"):
        collect(tmp_path, tmp_path / "new")
    assert collect(tmp_path)[0].digests() == (digest,), "it is where it was"


def test_an_older_product_without_digests_is_taken_where_it_was_and_looked_for_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for place in (tmp_path, tmp_path / "new"):
        (place / "0.dcm").write_bytes(b"first")
    about = _about(source=str(tmp_path / "0.dcm"))
    (tmp_path / "scan.json").write_text(json.dumps(about))
    assert collect(tmp_path)[0].digests() == (hashlib.sha256(b"first").hexdigest(),)
    with pytest.raises(MedsaliencyError, match=r"^scan: expected digests by which its original is known"):
        collect(tmp_path, tmp_path / "new")
    (tmp_path / "scan.json").write_text(json.dumps({**about, "sha256": []}))
    with pytest.raises(MedsaliencyError, match=r"^scan: expected the file that was explained as its original"):
        collect(tmp_path)[0].digests()


def test_a_file_is_read_again_as_it_was_read(tmp_path: Path) -> None:
    image = _known("CT_small.dcm")
    geometry = to_dict(Geometry((128, 128)))
    pixels = []
    for window in (None, [40.0, 80.0]):
        reading = {"window": window, "view": "axial", "planes": None, "volume": False}
        about = _about(source=str(image), geometry=geometry, reading=reading)
        (tmp_path / "scan.json").write_text(json.dumps(about))
        pixels.append(collect(tmp_path)[0].pixels())
    assert pixels[0].shape == pixels[1].shape == (1, 128, 128)
    stored = pydicom.dcmread(image)
    hounsfield = stored.pixel_array * float(stored.RescaleSlope) + float(stored.RescaleIntercept)
    inside = (hounsfield > 5) & (hounsfield < 75)
    assert inside.any()
    np.testing.assert_allclose(pixels[1][0][inside], hounsfield[inside] / 80, atol=0.02)
    assert not np.allclose(pixels[0], pixels[1])


def test_slices_of_one_file_belong_together_and_others_by_themselves(tmp_path: Path) -> None:
    whole = Geometry((4, 5))
    places = [Geometry((4, 5), slice=Slice(0, index, (3, 4, 5))) for index in range(2)]
    cases = [
        *(("a-0", "/a.nii", places[0]), ("a-1", "/a.nii", places[1]), ("b-0", "/b.nii", places[0])),
        *(("c", "/c.nii", whole), ("d", "/c.nii", whole), ("e", None, places[0])),
    ]
    for name, source, geometry in cases:
        about = _about(sample=name, source=source, geometry=to_dict(geometry))
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
    found = {one.sample: one.stored for one in collect(tmp_path)}
    assert found["a-0"] == found["a-1"]
    assert len(set(found.values())) == 5


def test_maps_that_are_missing_or_damaged_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text(json.dumps(_about()))
    (found,) = collect(tmp_path)
    words = r"scan.npz: expected the maps that `medsaliency explain` writes"
    with pytest.raises(MedsaliencyError, match=words):
        found.maps(["gradient"])
    (tmp_path / "scan.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(MedsaliencyError, match=words):
        found.maps(["gradient"])
    np.savez(tmp_path / "scan.npz", edge=np.zeros((4, 5), np.float32))
    with pytest.raises(MedsaliencyError, match=words):
        found.maps(["gradient"])
