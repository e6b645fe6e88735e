"""What is said of the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.findings import findings

from .made import NAN, controlled, friedman, in_short, made, said


def test_accuracy_comes_with_its_interval_and_the_number_of_images(contents: Contents) -> None:
    assert in_short(contents, "Model") == "The model's accuracy on 100 images is 90.6% (95% interval 84.1% to 95.2%)."


def test_an_undefined_accuracy_is_said_to_be(contents: Contents) -> None:
    unknown = {"images": 3, "accuracy": {"value": NAN, "low": NAN, "high": NAN}}
    found = findings(replace(contents, performance=unknown))[0]
    assert (found.text, found.tone) == ("The model's accuracy on 3 images is undefined.", "caution")


@pytest.mark.parametrize(("patients", "most"), [(10, "25.9%"), (50, "5.8%"), (None, "")])
def test_no_error_is_no_interval_and_bounds_the_errors_of_other_patients(patients: int | None, most: str) -> None:
    # 1 - 0.05 ** (1 / 10) = 0.2589 and 1 - 0.05 ** (1 / 50) = 0.0582: what docs/explanation/intervals.md says.
    sure = {"images": 100, "patients": patients, "accuracy": {"value": 1.0, "low": 1.0, "high": 1.0}}
    (found,) = (finding for finding in findings(made(performance=sure)) if finding.topic == "Model")
    assert found.text.startswith("The model's accuracy on 100 images is 100.0% (no spread).")
    assert ("no interval; with 95% confidence, at most " + most in found.text) == bool(most)
    assert found.tone == "caution"


def test_a_wrong_answer_on_every_patient_is_not_called_no_error() -> None:
    wrong = {"images": 9, "patients": 3, "accuracy": {"value": 0.0, "low": 0.0, "high": 0.0}}
    assert in_short(made(performance=wrong), "Model") == "The model's accuracy on 9 images is 0.0% (no spread)."


def test_unknown_patients_are_a_caution_and_known_ones_none(contents: Contents) -> None:
    for known in (True, False):
        data = {**contents.provenance["data"], "patients_known": known}
        told = findings(replace(contents, provenance={**contents.provenance, "data": data}))
        assert any("No image names its patient" in finding.text for finding in told) is not known


def test_where_no_patient_is_known_images_are_not_called_patients() -> None:
    sure = {"images": 50, "patients": 50, "accuracy": {"value": 1.0, "low": 1.0, "high": 1.0}}
    blurred = controlled("evidence", {("alpha", "blurred"): "worse"})
    study = made(images=9, performance=sure, friedman=friedman(0.001), against_controls=blurred,
                 provenance={"data": {"patients_known": False}})  # fmt: skip
    told = [finding for finding in findings(study) if finding.topic != "Patients"]
    assert [finding for finding in told if "patient" in finding.text] == []
    text = " ".join(finding.text for finding in told)
    assert "at most 5.8% of such images are not right" in text
    assert "9 images were explained. Some means rest on fewer than 10 images: 9 images for Evidence" in text


@pytest.mark.parametrize(("high", "improves"), [(0.02, True), (0.07, False), (0.01, False)])
def test_calibration_improves_only_where_intervals_do_not_meet(high: float, improves: bool) -> None:
    before, after = {"value": 0.06, "low": 0.03, "high": 0.1}, {"value": 0.015, "low": 0.01, "high": high}
    text = said(
        made(calibration={"temperature": 1.4, "error_before": before, "error_after": after, "reason": ""}),
        "Calibration",
    )
    assert "off by 6.0% (95% interval 3.0% to 10.0%)" in text
    assert "by 1.5%" in text
    assert "temperature of 1.40" in text
    assert ("scaling improves them" in text) is improves
    assert ("not shown" in text) is not improves


def test_a_temperature_that_was_not_fitted_gives_its_reason() -> None:
    told = {"temperature": None, "error_before": {"value": 0.06, "low": 0.03, "high": 0.1}, "reason": "no validation"}
    assert "no temperature was fitted (no validation)" in said(made(calibration=told), "Calibration")
