from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import pydicom
import pytest

from medsaliency.report.dicom import objects
from medsaliency.report.dicom.codes import SCHEME
from medsaliency.report.dicom.structured_report import structured_report


def _read(explanation: Any, originals: Any, path: Path, **written: Any) -> Any:
    structured_report(explanation, originals, written).save_as(path)
    return highdicom.sr.srread(path)


def _texts(group: Any, name: str) -> list[str]:
    items = group[0].ContentSequence
    return [item.TextValue for item in items if item.ValueType == "TEXT" and item.name.meaning == name]


def test_numbers_are_those_that_were_given_to_the_last_digit(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    explanation = explained((64, 64), ("grad_cam", "gradient"))
    report = _read(explanation, kinds["mr"].read(), tmp_path / "report.dcm")
    prediction, *methods = report.content.get_image_measurement_groups()
    assert prediction.tracking_identifier == "prediction"
    found = {m.name.value: (m.value, m.name.meaning, m.unit.value) for m in prediction.get_measurements()}
    assert found == {
        "probability-0": (0.1, "Probability of no tumor", "1"),
        "probability-1": (0.7000000123, "Probability of glioma", "1"),
        "probability-2": (0.2, "Probability of méningiome", "1"),
    }
    (predicted,) = prediction.get_qualitative_evaluations(_own("predicted"))
    assert (predicted.value.value, predicted.value.meaning) == ("class-1", "glioma")
    assert [group.tracking_identifier for group in methods] == ["grad_cam", "gradient"]
    for group in methods:
        (score,) = group.get_measurements()
        assert (score.name.value, score.name.meaning) == ("evidence", "Evidence")
        assert score.value == explanation.scores[group.tracking_identifier]["evidence"][0]


def _own(value: str) -> Any:
    return highdicom.sr.CodedConcept(value, SCHEME, value)


def test_a_score_without_a_value_is_no_number_and_says_why(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    report = _read(explained((64, 64)), kinds["mr"].read(), tmp_path / "report.dcm")
    group = report.content.get_image_measurement_groups()[1]
    (undefined,) = group.get_qualitative_evaluations(_own("sic_entropy_published"))
    assert (undefined.value.value, undefined.value.scheme_designator) == ("114000", "DCM")
    assert "sic_entropy_published: undefined, the map is flat" in _texts(group, "Comment")
    assert "sic_entropy_published" not in {m.name.value for m in group.get_measurements()}


def test_it_names_model_method_parameters_and_what_was_explained(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    explanation = explained((64, 64), target=2, explains="Contrast(index=2, against=0)")
    report = _read(explanation, kinds["mr"].read(), tmp_path / "report.dcm")
    prediction, method = report.content.get_image_measurement_groups()
    assert _texts(prediction, "Algorithm Name") == ["small_cnn"]
    assert explanation.weights in _texts(prediction, "Algorithm Parameters")[0]
    assert "Research use only. Not for diagnosis." in _texts(prediction, "Comment")
    assert _texts(method, "Algorithm Name") == ["Grad-CAM"]
    assert _texts(method, "Algorithm Version") == ["1.2.3"]
    assert _texts(method, "Algorithm Parameters") == ["grad_cam(sign='signed')"]
    assert "Explained: Contrast(index=2, against=0)" in _texts(method, "Comment")
    (explained_class,) = method.get_qualitative_evaluations(_own("explained"))
    assert explained_class.value.value == "class-2"
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.name == "medsaliency"
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        *("COMPLETE", "UNVERIFIED", "PRELIMINARY"),
    )


def test_it_references_the_frames_and_the_objects_that_hold_the_maps(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    originals = kinds["frame of a film"].read()
    made = dict(objects(explained((240, 320), ("grad_cam", "gradient")), originals, 0.1))
    made["report"].save_as(tmp_path / "report.dcm")
    groups = highdicom.sr.srread(tmp_path / "report.dcm").content.get_image_measurement_groups()
    source = originals.header.SOPInstanceUID
    for group in groups:
        references = [item.ReferencedSOPSequence[0] for item in group.source_images]
        assert references[0].ReferencedSOPInstanceUID == source
        assert references[0].ReferencedFrameNumber == 7
        name = group.tracking_identifier
        maps = [] if name == "prediction" else [made[f"{name}.{k}"] for k in ("parametric-map", "segmentation")]
        assert [r.ReferencedSOPInstanceUID for r in references[1:]] == [m.SOPInstanceUID for m in maps]
        assert [r.ReferencedSOPClassUID for r in references[1:]] == [m.SOPClassUID for m in maps]


def test_scores_and_objects_decide_the_identity_too(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    originals = kinds["mr"].read()
    first = structured_report(explained((64, 64)), originals, {})
    same = structured_report(explained((64, 64)), originals, {})
    scored = structured_report(explained((64, 64), scores={"grad_cam": {"evidence": (0.2, "")}}), originals, {})
    assert first.SOPInstanceUID == same.SOPInstanceUID != scored.SOPInstanceUID
    assert first.SeriesInstanceUID == scored.SeriesInstanceUID


@pytest.mark.parametrize("name", ["a\\b", "x" * 200, "腫瘍"])
def test_classes_of_any_name_can_be_reported(
    name: str, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path, errors_of: Callable[..., Any]
) -> None:
    explanation = explained((64, 64), classes=("no tumor", name, "other"))
    report = _read(explanation, kinds["mr"].read(), tmp_path / "report.dcm")
    assert errors_of(tmp_path / "report.dcm") == []
    (predicted,) = report.content.get_image_measurement_groups()[0].get_qualitative_evaluations(_own("predicted"))
    assert predicted.value.meaning == (name.replace("\\", "/") if len(name) <= 64 else "x" * 61 + "…")


def test_it_is_a_report_by_template_1500(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    made: pydicom.Dataset = structured_report(explained((64, 64)), kinds["mr"].read(), {})
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert made.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurement Report"
    assert made.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == SCHEME
