"""To a real archive and back."""

import json
import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset

from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.small_cnn import SmallCNN
from medsaliency.study import dicomweb, dicomweb_search, dicomweb_session
from medsaliency.study.dicomweb import Pushed, fetch, push
from medsaliency.study.exporting import export
from medsaliency.study.files import explain_files
from medsaliency.types import MedsaliencyError

from ..orthanc import Archive, archive  # noqa: TID252  # the tests' own harness
from .service import MARK, bundled, encoded, radiograph, save

STUDY = "1.2.826.0.1.3680043.8.498.1"
BUNDLED = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "examples_rgb_color.dcm", "image_dfl.dcm")
"""Images that pydicom's wheel holds: uncompressed, run lengths, JPEG 2000, color, deflated."""


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_session, "WAIT", 0.0)
    for name in dicomweb_session.NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with archive(tmp_path_factory.mktemp("orthanc")) as started:
        yield started


@pytest.fixture
def orthanc(running: Archive) -> Archive:
    """The archive, empty."""
    running.clear()
    return running


@pytest.mark.parametrize("name", BUNDLED)
def test_a_file_comes_back_as_it_went(orthanc: Archive, tmp_path: Path, name: str) -> None:
    original = bundled(name)
    assert push([original], orthanc.url) == Pushed(1)
    before = pydicom.dcmread(original)
    fetched = fetch(orthanc.url, {"StudyInstanceUID": before.StudyInstanceUID}, tmp_path / "images")
    assert fetched.paths == (tmp_path / "images" / "image-0001.dcm",)
    assert fetched.left_out == {}
    after = pydicom.dcmread(fetched.paths[0])
    assert after == before
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert after.PixelData == before.PixelData
    np.testing.assert_array_equal(after.pixel_array, before.pixel_array)


def test_files_are_sent_in_batches_and_found_in_pages(
    orthanc: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [radiograph(number) for number in (5, 3, 1, 4, 2)]
    monkeypatch.setattr(dicomweb, "BATCH", 2 * len(encoded(images[0])))
    monkeypatch.setattr(dicomweb_search, "PAGE", 2)
    steps: list[int] = []

    def track(items: Any, description: str, total: int | None = None) -> Any:
        assert total is not None
        steps.append(total)
        return items

    assert push(save(tmp_path / "in", *images), orthanc.url, track=track) == Pushed(5)
    fetched = fetch(orthanc.url, {"StudyInstanceUID": STUDY}, tmp_path / "out", track=track)
    assert steps == [3, 5]
    assert [path.name for path in fetched.paths] == [f"image-000{number}.dcm" for number in range(1, 6)]
    assert [pydicom.dcmread(path).InstanceNumber for path in fetched.paths] == [1, 2, 3, 4, 5]
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_a_query_takes_what_the_archive_knows(orthanc: Archive, tmp_path: Path) -> None:
    images = [radiograph(number, study=f"{STUDY}.{number}", patient=str(number)) for number in (1, 2, 3)]
    images[1].Modality = "CR"
    images[2].Modality = "MG"
    push(save(tmp_path / "in", *images), orthanc.url)

    def numbers(**query: str) -> list[int]:
        folder = tmp_path / "-".join(query.values()).replace("*", "x")
        return [pydicom.dcmread(path).InstanceNumber for path in fetch(orthanc.url, query, folder).paths]

    assert numbers(PatientID=f"{MARK}-2") == [2]
    assert numbers(Modality="DX,CR") == [1, 2]
    assert numbers(PatientName=f"{MARK}*") == [1, 2, 3]
    assert numbers(PatientName=f"{MARK}*", Modality="MG") == [3]
    with pytest.raises(MedsaliencyError, match=r"expected images that match PatientID and Modality, got none; check"):
        numbers(PatientID=f"{MARK}-2", Modality="DX")


def test_more_than_the_limit_leaves_nothing_behind(orthanc: Archive, tmp_path: Path) -> None:
    push(save(tmp_path / "in", *(radiograph(number) for number in (1, 2, 3))), orthanc.url)
    with pytest.raises(MedsaliencyError, match="at most 2 images"):
        fetch(orthanc.url, {"StudyInstanceUID": STUDY}, tmp_path / "out" / "originals", limit=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_object_that_the_archive_refuses_is_named_and_the_others_are_stored(
    orthanc: Archive, tmp_path: Path
) -> None:
    images = [radiograph(number) for number in (1, 2, 3)]
    del images[1].SeriesInstanceUID
    paths = save(tmp_path / "in", *images)
    with pytest.raises(MedsaliencyError) as told:
        push(paths, orthanc.url)
    assert str(told.value) == (
        f"{orthanc.url}: 2 of 3 files were stored, but not {paths[1]}: the service cannot understand the data set "
        "(reason C000)"
    )
    assert len(orthanc.find()) == 2


def test_storing_twice_changes_nothing(orthanc: Archive, tmp_path: Path) -> None:
    paths = save(tmp_path / "in", radiograph())
    assert push(paths, orthanc.url) == push(paths, orthanc.url) == Pushed(1)
    assert len(orthanc.find()) == 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint of random weights, which explains as well as any other here."""
    module = SmallCNN(channels=1, classes=2)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    classifier = Classifier(module, ["clear", "opaque"], mean=0.5, std=0.25, channels=1, size=64)
    checkpoint.save(classifier, tmp_path / "model", architecture="small_cnn")
    return tmp_path / "model"


def test_from_the_archive_to_an_explained_image_and_back(
    orthanc: Archive,
    tmp_path: Path,
    model: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    push([*save(tmp_path / "in", radiograph()), bundled("CT_small.dcm")], orthanc.url)
    output = tmp_path / "out"
    fetched = fetch(orthanc.url, {"Modality": "DX,CT"}, output / "originals")
    explained = explain_files(fetched.paths, model, output, methods=["gradient", "grad_cam", "edge"])
    written = [path for path in export(output, output / "dicom", dicom=True) if path.suffix == ".dcm"]
    assert push(written, orthanc.url) == Pushed(2 * (2 * 3 + 1))

    for path in written:  # every value of every object, as it was sent
        sent = pydicom.dcmread(path)
        assert pydicom.dcmread(BytesIO(orthanc.file(sent.SOPInstanceUID))) == sent
    for image, original in zip(explained, fetched.paths, strict=True):
        header = pydicom.dcmread(original, stop_before_pixels=True)
        found = orthanc.find(StudyInstanceUID=header.StudyInstanceUID)
        back = [pydicom.dcmread(BytesIO(orthanc.file(str(item["00080018"])))) for item in found]
        assert sorted(one.Modality for one in back) == sorted([header.Modality, *["OT"] * 4, "SEG", "SEG", "SR"])
        assert {one.PatientID for one in back} == {header.PatientID}
        about = json.loads(image.about.read_text())
        (report,) = (one for one in back if one.Modality == "SR")
        assert numbers_of(report) == pytest.approx(about["probabilities"], rel=1e-12)
        with np.load(image.maps, allow_pickle=False) as maps:
            for method, label in (("gradient", "Gradient"), ("grad_cam", "Grad-CAM")):
                own = {
                    str(o.SOPClassUID.name): o for o in back if str(o.get("SeriesDescription")).startswith(f"{label},")
                }
                floats, segment = own["Parametric Map Storage"], own["Segmentation Storage"]
                assert floats.FloatPixelData == maps[method].astype("<f4").tobytes()
                (series,) = floats.ReferencedSeriesSequence
                assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
                chosen = np.asarray(segment.pixel_array, dtype=bool)
                assert chosen.sum() == round(0.1 * chosen.size)
                assert maps[method][chosen].min() >= maps[method][~chosen].max()

    again = fetch(orthanc.url, {"Modality": "*"}, tmp_path / "again")  # what was made of them is not explained in turn
    assert [pydicom.dcmread(path) for path in again.paths] == [pydicom.dcmread(path) for path in fetched.paths]
    others = {"Comprehensive SR": 2, "Parametric Map": 4, "Segmentation": 4, "picture made by medsaliency": 4}
    assert again.left_out == others

    assert MARK not in "".join(capfd.readouterr()) + caplog.text
    assert not any(MARK in str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    beside = [path for path in output.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert {path.suffix for path in beside} == {".csv", ".json", ".npz", ".png"}
    assert not any(MARK.encode() in path.read_bytes() for path in beside)


def numbers_of(report: Dataset) -> list[float]:
    """Every number of a structured report, in its order."""
    own = [float(value.NumericValue) for value in report.get("MeasuredValueSequence", [])]
    return own + [number for item in report.get("ContentSequence", []) for number in numbers_of(item)]
