from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import UID

from medsaliency.report.dicom import objects
from medsaliency.report.dicom.deidentify import Deidentifier
from medsaliency.report.dicom.originals import read_originals
from medsaliency.types import MedsaliencyError

KINDS = (
    *("ct", "ct without a frame of reference", "mr", "cr", "dx", "us", "sc", "film", "frame of a film"),
    *("series", "slice of a series", "enhanced", "frame of an enhanced file"),
)


def _written(made: pydicom.Dataset, path: Path) -> Path:
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_an_independent_validator_finds_no_error_in_any_object(
    kind: str, kinds: dict[str, Any], explained: Callable[..., Any], errors_of: Callable[..., Any], tmp_path: Path
) -> None:
    original = kinds[kind]
    clean, found = Deidentifier(), {}
    made = list(objects(explained(original.size), original.read(), 0.1))
    assert [name for name, _ in made] == [
        *("grad_cam.parametric-map", "grad_cam.segmentation", "grad_cam.secondary-capture", "report")
    ]
    for name, one in made:
        found[name] = errors_of(_written(one, tmp_path / "object.dcm"))
        clean(one)
        found[f"{name}, de-identified"] = errors_of(_written(one, tmp_path / "object.dcm"))
    assert not {name: errors for name, errors in found.items() if errors}


def test_the_validator_does_find_errors(errors_of: Callable[..., Any], kinds: dict[str, Any], tmp_path: Path) -> None:
    spoiled = pydicom.dcmread(kinds["ct"].files[0])
    del spoiled.ImagePositionPatient
    spoiled.save_as(tmp_path / "spoiled.dcm")
    assert errors_of(tmp_path / "spoiled.dcm")


@pytest.mark.parametrize("kind", ["ct", "frame of a film", "series"])
def test_every_object_lies_in_the_study_of_its_original_and_references_it(
    kind: str, kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    original = kinds[kind]
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in original.files]
    made = dict(objects(explained(original.size, ("grad_cam", "gradient")), original.read(), 0.1))
    instances, series = set(), set()
    for name, one in made.items():
        for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "PatientSex", "StudyID", "StudyDate"):
            assert one.get(keyword) == headers[0].get(keyword), (name, keyword)
        assert one.SeriesInstanceUID != headers[0].SeriesInstanceUID
        instances.add(one.SOPInstanceUID)
        series.add((one.SeriesInstanceUID, int(one.SeriesNumber)))
        assert one.InstanceNumber == 3
        if one.Modality == "SR":
            evidence = one.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
            uids = {item.ReferencedSOPInstanceUID for own in evidence for item in own.ReferencedSOPSequence}
            assert {header.SOPInstanceUID for header in headers} < uids
            assert {made[f"{m}.{k}"].SOPInstanceUID for m in ("grad_cam", "gradient") for k in _MAPS} < uids
        else:
            assert [item.ReferencedSOPInstanceUID for item in one.SourceImageSequence] == [
                header.SOPInstanceUID for header in headers
            ]
            assert {item.ReferencedSOPClassUID for item in one.SourceImageSequence} == {headers[0].SOPClassUID}
    assert len(instances) == len(made) == 7
    assert len(series) == len({number for _, number in series}) == 7, (
        "a series for each kind and method, one of reports"
    )
    assert all(UID(uid).is_valid for uid in instances)


def test_frames_at_one_place_become_objects_without_a_place(
    kinds: dict[str, Any], explained: Callable[..., Any], errors_of: Callable[..., Any], tmp_path: Path
) -> None:
    film = pydicom.dcmread(kinds["enhanced"].files[0])
    for group in film.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence = film.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    film.save_as(tmp_path / "film.dcm")
    explanation = explained((5, 128, 128))
    originals = read_originals("sample", [tmp_path / "film.dcm"], None, (5, 128, 128))
    made = dict(objects(explanation, originals, 0.1))
    assert (made["grad_cam.parametric-map"].pixel_array == explanation.maps["grad_cam"]).all()
    assert not [e for one in made.values() for e in errors_of(_written(one, tmp_path / "object.dcm"))]


def test_what_the_library_refuses_is_told_by_the_sample_and_without_its_words(
    kinds: dict[str, Any], explained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("Zyzzyva^Jane")

    monkeypatch.setattr("medsaliency.report.dicom.segmentation", refuse)
    with pytest.raises(MedsaliencyError, match=r"^sample: expected an original beside which DICOM objects can") as told:
        list(objects(explained((64, 64)), kinds["mr"].read(), 0.1))
    assert "Zyzzyva" not in str(told.value)
    assert told.value.__suppress_context__


def test_captures_can_be_left_out(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    made = [name for name, _ in objects(explained((64, 64)), kinds["mr"].read(), 0.1, captures=False)]
    assert made == ["grad_cam.parametric-map", "grad_cam.segmentation", "report"]


_MAPS = ("parametric-map", "segmentation")
