import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from medsaliency.data.geometry import to_dict, to_native
from medsaliency.study.config import load_study
from medsaliency.study.exporting import export
from medsaliency.study.files import explain_files
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.types import Geometry, MedsaliencyError, Slice

MARK = "Zyzzyva"
STUDY = (
    *("name=scans", "data.size=32", "training.epochs=1", "explain.images=3", "explain.tune=false"),
    "explain.methods={gradient: {sign: absolute}, grad_cam: {}, random: {}}",
    "evaluate.metrics=[gini, pointing_game]",
    "evaluate.random_draws=1",
    "statistics.draws=100",
    "statistics.permutations=100",
    "statistics.mixed_models=[]",
)


def _known(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CT slices of two classes, of a patient each, with names that are found nowhere else."""
    root = tmp_path_factory.mktemp("data") / "scans"
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (root / label).mkdir(parents=True)
        for number in range(14):
            image = pydicom.dcmread(_known("CT_small.dcm"))
            image.PatientName, image.PatientID = f"{MARK}^{label}{number}", f"{MARK}-{label}-{number}"
            image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.Rows, image.Columns = 24, 40
            image.WindowCenter, image.WindowWidth = 128, 256
            image.RescaleSlope, image.RescaleIntercept = 1, 0
            values = rng.integers(0, 100, (24, 40)) + (100 if label == "light" else 0)
            image.PixelData = values.astype(np.int16).tobytes()
            image.save_as(root / label / f"scan {number}.dcm")
    return root


@pytest.fixture(scope="module")
def run(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of them, run."""
    settings = load_study(None, STUDY, **{"data.source": "dicom", "data.root": str(scans)})
    return run_study(settings, tmp_path_factory.mktemp("runs") / "scans").path


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    output = tmp_path_factory.mktemp("exports")
    return output, export(run, output, dicom=True, to_nifti=True)


def _explained(folder: Path, name: str, image: Path | None, geometry: Geometry, **given: Any) -> dict[str, np.ndarray]:
    """What ``medsaliency explain`` writes of an image, by hand."""
    rng = np.random.default_rng(len(name))
    maps = {m: rng.normal(size=geometry.native_size).astype(np.float32) for m in ("grad_cam", "gradient", "edge")}
    about: dict[str, Any] = {
        "sample": name,
        "source": None if image is None else str(image),
        "parts": [],
        "plane": None,
        "geometry": to_dict(geometry),
        "classes": ["no", "yes"],
        "probabilities": [0.25, 0.75],
        "target": 1,
        "explains": "Logit(index=1)",
        "methods": {m: f"{m}()" for m in maps},
        "model": {"architecture": "small_cnn", "weights": "ab" * 32},
        "medsaliency": "1.2.3",
    }
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **maps)  # type: ignore[arg-type]
    (folder / f"{name}.json").write_text(json.dumps({**about, **given}))
    return maps


def _series(folder: Path, said: list[str | None]) -> list[str]:
    """Files of slices that say each whether annotations are burned into them."""
    paths = []
    for place, value in enumerate(said):
        image = pydicom.dcmread(_known("MR_small.dcm"))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.ImagePositionPatient = [0.0, 0.0, 3.0 * place]
        if value is not None:
            image.BurnedInAnnotation = value
        paths.append(str(folder / f"slice-{place}.dcm"))
        image.save_as(paths[-1])
    return paths


def test_a_run_is_exported_an_image_a_folder_without_its_controls(run: Path, exported: tuple[Path, list[Path]]) -> None:
    output, files = exported
    samples = list(Store(run).maps().samples)  # type: ignore[arg-type]
    assert len(samples) == 3
    names = {
        *("grad_cam.parametric-map.dcm", "grad_cam.segmentation.dcm", "grad_cam.secondary-capture.dcm", "report.dcm"),
        *("gradient.parametric-map.dcm", "gradient.segmentation.dcm", "gradient.secondary-capture.dcm"),
        *("gradient.nii.gz", "grad_cam.nii.gz"),
    }
    folders = sorted(path for path in output.iterdir() if path.is_dir())
    assert [folder.name for folder in folders] == ["0001", "0002", "0003"]
    with (output / "index.csv").open(newline="") as file:
        index = list(csv.reader(file))
    assert index == [["number", "sample"], *([str(number), sample] for number, sample in enumerate(samples, 1))]
    assert all({file.name for file in folder.iterdir()} == names for folder in folders)
    assert sorted(files) == sorted(output.rglob("*.*"))


def test_exported_maps_are_those_of_the_run_put_back_on_native_pixels(
    run: Path, exported: tuple[Path, list[Path]]
) -> None:
    from medsaliency.data.geometry import from_dict

    store, (output, _) = Store(run), exported
    geometries = store.read_json("geometry.json")
    for place, sample in enumerate(store.maps().samples):  # type: ignore[arg-type]
        folder = output / f"000{place + 1}"
        for method in ("gradient", "grad_cam"):
            stored = np.asarray(store.maps().group[f"maps/{method}"][place])  # type: ignore[index]
            native = to_native(stored, from_dict(geometries[sample]))
            assert native.shape == (24, 40)
            read = pydicom.dcmread(folder / f"{method}.parametric-map.dcm").pixel_array
            assert read.tobytes() == native.tobytes()
            image = nibabel.load(folder / f"{method}.nii.gz")
            np.testing.assert_array_equal(np.asanyarray(image.dataobj), native)  # type: ignore[attr-defined]


def test_the_affine_of_a_nifti_file_leads_where_the_dicom_header_does(
    scans: Path, exported: tuple[Path, list[Path]]
) -> None:
    folder = exported[0] / "0001"
    header = pydicom.dcmread(folder / "grad_cam.parametric-map.dcm")
    position = np.array(header.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient, float)
    shared = header.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    between = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    row, column = 5, 17
    lps = position + row * between[0] * cosines[3:] + column * between[1] * cosines[:3]
    affine = nibabel.load(folder / "grad_cam.nii.gz").affine  # type: ignore[attr-defined]
    np.testing.assert_allclose(affine[:3] @ (row, column, 0, 1), lps * (-1, -1, 1), atol=1e-3)


def test_the_report_has_the_runs_numbers(run: Path, exported: tuple[Path, list[Path]]) -> None:
    import highdicom

    store, (output, _) = Store(run), exported
    predictions = store.read_table("predictions.parquet").set_index("sample")
    scores = store.read_table("scores.parquet")
    for number, sample in enumerate(store.maps().samples, 1):  # type: ignore[arg-type]
        folder = output / f"000{number}"
        groups = highdicom.sr.srread(folder / "report.dcm").content.get_image_measurement_groups()
        probabilities = [measurement.value for measurement in groups[0].get_measurements()]
        assert probabilities == [float(predictions.loc[sample, f"p_{k}"]) for k in range(2)]  # type: ignore[arg-type]
        for group in groups[1:]:
            rows = scores[(scores["sample"] == sample) & (scores["method"] == group.tracking_identifier)]
            measured = {m.name.value: m.value for m in group.get_measurements()}
            assert measured == {r.metric: r.value for r in rows.itertuples() if not np.isnan(r.value)}  # type: ignore[arg-type]
            assert "gini" in measured
            undefined = [e for e in group.get_qualitative_evaluations() if e.value.value == "114000"]
            assert {e.name.value for e in undefined} == {r.metric for r in rows.itertuples() if np.isnan(r.value)}  # type: ignore[arg-type]
            assert {e.name.value for e in undefined} == {"pointing_game", "hit_rate"}, "without a mask"


def test_exported_objects_lie_beside_their_originals(scans: Path, run: Path, exported: tuple[Path, list[Path]]) -> None:
    for number, sample in enumerate(Store(run).maps().samples, 1):  # type: ignore[arg-type]
        original = pydicom.dcmread(scans / sample)
        for path in (exported[0] / f"000{number}").glob("*.dcm"):
            made = pydicom.dcmread(path)
            assert made.StudyInstanceUID == original.StudyInstanceUID
            assert made.PatientID == original.PatientID
            assert made.SeriesInstanceUID != original.SeriesInstanceUID


def test_no_identifier_is_in_a_name_or_an_index(exported: tuple[Path, list[Path]]) -> None:
    output, files = exported
    assert not [path for path in files if MARK.lower() in str(path.relative_to(output)).lower()]
    assert not [path for path in files if path.suffix == ".gz" and MARK.encode() in path.read_bytes()]


def test_exporting_again_gives_the_same_identifiers_and_replaces_the_files(
    run: Path, exported: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    for _ in range(2):
        files = export(run, tmp_path, dicom=True, methods=["gradient"])
    assert files[0] == tmp_path / "index.csv"
    assert len(files[1:]) == len(set(tmp_path.rglob("*.dcm"))) == 12
    for path in files[1:]:
        if path.name != "report.dcm":  # which is of all methods exported with it
            before = pydicom.dcmread(exported[0] / path.relative_to(tmp_path))
            assert pydicom.dcmread(path).SOPInstanceUID == before.SOPInstanceUID


def test_images_and_methods_can_be_chosen(run: Path, tmp_path: Path) -> None:
    samples = list(Store(run).maps().samples)  # type: ignore[arg-type]
    files = export(run, tmp_path, to_nifti=True, images=[samples[2], samples[1]], methods=["random"])
    assert [path.name for path in files] == ["index.csv", *["random.nii.gz"] * 2]
    assert [path.parent.name for path in files[1:]] == ["0002", "0003"], "numbers are those of the run"


def test_de_identified_exports_hold_no_identifier_and_are_named_by_numbers(
    scans: Path, run: Path, tmp_path: Path
) -> None:
    files = export(run, tmp_path, dicom=True, to_nifti=True, methods=["gradient"], de_identify=True)
    folders = [tmp_path / name for name in ("0001", "0002", "0003")]
    assert sorted(tmp_path.iterdir()) == [*folders, tmp_path / "captures-left-out.txt"], "and no index"
    assert (tmp_path / "captures-left-out.txt").read_text().splitlines()[-1] == "0001 0002 0003"
    assert not [path for path in files if "capture" in path.name and path.suffix == ".dcm"]
    originals = [pydicom.dcmread(path) for path in scans.rglob("*.dcm")]
    uids = {str(o.get(k)) for o in originals for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}
    assert len(files) == 13
    for folder in folders:
        evidence = pydicom.dcmread(folder / "report.dcm").CurrentRequestedProcedureEvidenceSequence[0]
        listed = {
            i.ReferencedSOPInstanceUID for own in evidence.ReferencedSeriesSequence for i in own.ReferencedSOPSequence
        }
        maps = [pydicom.dcmread(folder / f"gradient.{kind}.dcm") for kind in ("parametric-map", "segmentation")]
        assert listed == {maps[0].SourceImageSequence[0].ReferencedSOPInstanceUID, *(m.SOPInstanceUID for m in maps)}
    for path in files:
        content = path.read_bytes()
        assert MARK.encode() not in content
        assert not [uid for uid in uids if uid.encode() in content], path.name


def test_originals_that_have_moved_are_found_below_the_root_that_is_given(
    scans: Path, run: Path, tmp_path: Path
) -> None:
    moved, gone = tmp_path / "moved" / "scans", tmp_path / "run"
    shutil.copytree(scans, moved)
    shutil.copytree(run, gone)
    study = (gone / "study.yaml").read_text()
    (gone / "study.yaml").write_text(study.replace(str(scans), str(tmp_path / "nowhere")))
    with pytest.raises(MedsaliencyError, match="nowhere"):
        export(gone, tmp_path / "out", dicom=True, methods=["gradient"])
    assert not (tmp_path / "out").exists()
    assert len(export(gone, tmp_path / "out", dicom=True, methods=["gradient"], data_root=moved)) == 13


def test_what_explain_has_written_is_exported(run: Path, scans: Path, tmp_path: Path) -> None:
    path = scans / "light" / "scan 3.dcm"
    explain_files([path], run / "model", tmp_path / "explained", methods=["gradient", "edge"])
    files = export(tmp_path / "explained", tmp_path / "out", dicom=True, to_nifti=True)
    assert {file.name for file in files} == {
        *("gradient.parametric-map.dcm", "gradient.segmentation.dcm", "gradient.secondary-capture.dcm"),
        *("report.dcm", "gradient.nii.gz", "index.csv"),
    }
    assert {file.parent.name for file in files} == {"0001", "out"}
    maps = np.load(tmp_path / "explained" / "scan 3.npz")
    floats = pydicom.dcmread(tmp_path / "out" / "0001" / "gradient.parametric-map.dcm")
    np.testing.assert_array_equal(floats.pixel_array, maps["gradient"])
    assert floats.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID


def test_explained_frames_of_a_film_keep_their_frame_and_share_one_volume(tmp_path: Path) -> None:
    film, folder = _known("examples_ybr_color.dcm"), tmp_path / "explained"
    shape = (30, 240, 320)
    maps = {
        frame: _explained(folder, f"film-{frame}", film, Geometry(shape[1:], slice=Slice(0, frame, shape)), plane=frame)
        for frame in (4, 17)
    }
    files = export(folder, tmp_path / "out", dicom=True, to_nifti=True, methods=["grad_cam"])
    floats = sorted(path for path in files if "parametric" in path.name)
    for path, frame in zip(floats, sorted(maps, key=str), strict=True):
        made = pydicom.dcmread(path)
        assert made.SourceImageSequence[0].ReferencedFrameNumber == frame + 1
        np.testing.assert_array_equal(made.pixel_array, maps[frame]["grad_cam"])
    (volume,) = [path for path in files if path.name.endswith(".nii.gz")]
    values = np.asanyarray(nibabel.load(volume).dataobj)  # type: ignore[attr-defined]
    assert values.shape == shape
    for frame in range(30):
        expected = maps[frame]["grad_cam"] if frame in maps else np.zeros(shape[1:], np.float32)
        np.testing.assert_array_equal(values[frame], expected)


def test_slices_with_an_affine_each_share_no_volume(tmp_path: Path) -> None:
    film, folder, shape = _known("examples_ybr_color.dcm"), tmp_path / "explained", (30, 240, 320)
    for frame in (4, 5):
        affine = ((1.0, 0.0, 0.0, float(frame)), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        geometry = Geometry(shape[1:], slice=Slice(0, frame, shape), affine=affine)
        _explained(folder, f"film-{frame}", film, geometry, plane=frame)
    assert len(export(folder, tmp_path / "out", to_nifti=True, methods=["grad_cam"])) == 1 + 2


def test_a_series_explained_as_a_volume_references_each_of_its_files(tmp_path: Path) -> None:
    parts = []
    for place in range(4):
        image = pydicom.dcmread(_known("CT_small.dcm"))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.ImagePositionPatient = [0.0, 0.0, 3.0 * place]
        parts.append(tmp_path / f"{place}.dcm")
        image.save_as(parts[-1])
    maps = _explained(
        tmp_path / "explained", "series", parts[0], Geometry((4, 128, 128)), parts=[str(part) for part in parts]
    )
    files = export(tmp_path / "explained", tmp_path / "out", dicom=True, methods=["gradient"])
    made = pydicom.dcmread(next(path for path in files if "parametric" in path.name))
    uids = [str(pydicom.dcmread(part).SOPInstanceUID) for part in parts]
    for place, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        np.testing.assert_array_equal(made.pixel_array[place], maps["gradient"][uids.index(str(source))])
    captured = pydicom.dcmread(next(path for path in files if "capture" in path.name))
    assert captured.NumberOfFrames == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "expected --dicom, --nifti or both, got neither"),
        ({"dicom": True, "threshold": 0.0}, "expected a threshold between 0 and 1"),
        ({"dicom": True, "threshold": 1.0}, "expected a threshold between 0 and 1"),
        ({"dicom": True, "images": ["dark/scan 11"]}, "unknown image 'dark/scan 11'; did you mean 'dark/scan 1"),
        ({"dicom": True, "images": []}, "expected at least one image"),
        ({"dicom": True, "methods": ["grad_camm"]}, "unknown method 'grad_camm', of which every image has a map; did"),
        ({"dicom": True, "methods": []}, "expected at least one method"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    given: dict[str, Any], words: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(MedsaliencyError, match=f"^export: {words}"):
        export(run, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_originals_that_are_not_dicom_are_refused_with_what_can_be_written_instead(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    maps = _explained(tmp_path / "explained", "scan", path, Geometry((8, 9)))
    with pytest.raises(MedsaliencyError, match=r"^scan: expected a DICOM file as its original.*--nifti$"):
        export(tmp_path / "explained", tmp_path / "out", dicom=True)
    assert not (tmp_path / "out").exists()
    (_, file, _) = export(tmp_path / "explained", tmp_path / "out", to_nifti=True)
    np.testing.assert_array_equal(np.asanyarray(nibabel.load(file).dataobj), maps["grad_cam"])  # type: ignore[attr-defined]


def test_made_images_are_exported_as_nifti_alone(small_path: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"expected a DICOM file as its original.*got a made image.*--nifti$"):
        export(small_path, tmp_path, dicom=True)
    assert len(export(small_path, tmp_path, to_nifti=True, methods=["grad_cam"])) == 1 + 8


def test_one_original_that_fails_leaves_nothing_of_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "explained"
    _explained(folder, "first", _known("MR_small.dcm"), Geometry((64, 64)))
    _explained(folder, "second", _known("MR_small.dcm"), Geometry((64, 63)))
    with pytest.raises(MedsaliencyError, match=r"^second: expected 1 slices of 64 x 63 pixels"):
        export(folder, tmp_path / "out", dicom=True)
    assert not (tmp_path / "out").exists()


def test_a_slice_across_the_files_of_a_series_has_no_original_to_reference(tmp_path: Path) -> None:
    geometry = Geometry((64, 5), slice=Slice(1, 3, (64, 64, 5)))
    _explained(tmp_path / "explained", "across", _known("MR_small.dcm"), geometry)
    with pytest.raises(MedsaliencyError, match=r"^across: expected a slice or frame as its DICOM file has it"):
        export(tmp_path / "explained", tmp_path / "out", dicom=True)


def test_an_image_with_text_burned_in_is_not_de_identified(tmp_path: Path) -> None:
    parts = _series(tmp_path, ["NO", "YES"])
    _explained(tmp_path / "explained", "image", Path(parts[0]), Geometry((2, 64, 64)), parts=parts)
    with pytest.raises(MedsaliencyError, match=r"^image: expected an image without burned-in annotation"):
        export(tmp_path / "explained", tmp_path / "out", dicom=True, de_identify=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("said", "captured"), [(["NO", "NO"], True), (["NO", None], False), ([None, None], False)])
def test_pixels_are_shown_in_a_de_identified_capture_only_where_every_slice_denies_annotations(
    said: list[str | None], captured: bool, tmp_path: Path
) -> None:
    parts = _series(tmp_path, said)
    _explained(tmp_path / "explained", "image", Path(parts[0]), Geometry((2, 64, 64)), parts=parts)
    files = export(tmp_path / "explained", tmp_path / "out", dicom=True, de_identify=True, methods=["grad_cam"])
    note = [] if captured else ["captures-left-out.txt"]
    kinds = ["parametric-map", "segmentation", *(["secondary-capture"] if captured else [])]
    assert [file.name for file in files] == [*(f"grad_cam.{kind}.dcm" for kind in kinds), "report.dcm", *note]
    assert "grad_cam.secondary-capture.dcm" in {
        file.name for file in export(tmp_path / "explained", tmp_path / "kept", dicom=True, methods=["grad_cam"])
    }


def test_de_identified_files_are_not_put_among_others(tmp_path: Path) -> None:
    _explained(tmp_path / "explained", "image", _known("MR_small.dcm"), Geometry((64, 64)))
    export(tmp_path / "explained", tmp_path / "out", dicom=True)
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(MedsaliencyError, match=r"out: expected a new folder for de-identified files, it is in use"):
        export(tmp_path / "explained", tmp_path / "out", dicom=True, de_identify=True)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_an_index_grows_and_images_of_another_export_are_not_mixed_in(tmp_path: Path) -> None:
    folder, out = tmp_path / "explained", tmp_path / "out"
    for name in ("a", "b, c"):
        _explained(folder, name, None, Geometry((4, 5)))
    for name in ("b, c", "a"):
        export(folder, out, to_nifti=True, images=[name], methods=["grad_cam"])
    with (out / "index.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["number", "sample"], ["1", "a"], ["2", "b, c"]]
    _explained(tmp_path / "other", "z", None, Geometry((4, 5)))
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    with pytest.raises(MedsaliencyError, match=r"out: expected a folder without exports of other images"):
        export(tmp_path / "other", out, to_nifti=True)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    (out / "index.csv").unlink()
    with pytest.raises(MedsaliencyError, match=r"out: expected a folder without exports of other images"):
        export(folder, out, to_nifti=True)
    (out / "index.csv").write_text("no,index\n1,2\n")
    with pytest.raises(MedsaliencyError, match=r"index.csv: expected the index of an export"):
        export(folder, out, to_nifti=True)


def test_an_original_that_is_not_what_was_explained_is_refused_by_its_sample(tmp_path: Path) -> None:
    image = tmp_path / "scan.dcm"
    shutil.copy(_known("MR_small.dcm"), image)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    folder = tmp_path / "explained"
    _explained(folder, "scan", image, Geometry((64, 64)), sha256=[digest])
    assert export(folder, tmp_path / "first", dicom=True)
    other = pydicom.dcmread(image)
    other.PatientName = MARK
    other.save_as(image)
    with pytest.raises(MedsaliencyError, match=r"^scan: expected the file that was explained as its original, got"):
        export(folder, tmp_path / "out", dicom=True)
    (tmp_path / "root").mkdir()
    shutil.move(image, tmp_path / "root" / "scan.dcm")
    with pytest.raises(MedsaliencyError, match=r"^scan: expected the file that was explained below --data-root"):
        export(folder, tmp_path / "out", dicom=True, data_root=tmp_path / "root")
    with pytest.raises(MedsaliencyError, match=r"^scan: expected its original, got no such file.*--data-root"):
        export(folder, tmp_path / "out", dicom=True)
    assert not (tmp_path / "out").exists()


def test_an_original_of_a_run_that_is_not_what_was_explained_is_refused(scans: Path, run: Path, tmp_path: Path) -> None:
    moved, sample = tmp_path / "scans", Store(run).maps().samples[1]  # type: ignore[index]
    shutil.copytree(scans, moved)
    other = pydicom.dcmread(moved / sample)  # type: ignore[operator]
    other.PatientSex = "F"
    other.save_as(moved / sample)  # type: ignore[operator]
    with pytest.raises(MedsaliencyError, match=rf"^{sample}: expected the file that was explained as its original"):
        export(run, tmp_path / "out", dicom=True, methods=["gradient"], data_root=moved)
    assert not (tmp_path / "out").exists()


def test_names_of_samples_are_in_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "explained"
    _explained(folder, "x", None, Geometry((4, 5)), sample="../../etc/Bücher der Ärzte")
    files = export(folder, tmp_path / "out", to_nifti=True)
    assert {path.parent for path in files} == {tmp_path / "out", tmp_path / "out" / "0001"}
    assert "Bücher" in files[0].read_text(encoding="utf-8")


def test_progress_is_shown_for_images_and_volumes(run: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int | None]] = []

    def track(items: Any, description: str, total: int | None = None) -> Any:
        seen.append((description, total))
        return items

    export(run, tmp_path, dicom=True, to_nifti=True, methods=["gradient"], track=track)
    assert seen == [("exporting DICOM", 3), ("exporting NIfTI", 3)]
