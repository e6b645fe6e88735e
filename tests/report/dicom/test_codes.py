from pathlib import Path

import pytest
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from medsaliency.attribution import CONTROLS, METHODS
from medsaliency.evaluation import METRICS
from medsaliency.report.dicom import codes


def test_the_kind_of_every_map_is_class_activation() -> None:
    assert (codes.CLASS_ACTIVATION.value, codes.CLASS_ACTIVATION.scheme_designator) == ("130402", "DCM")
    assert codes.class_activation() == standard.DCM.ClassActivation


def test_finer_kinds_are_the_standards_and_of_methods_that_exist() -> None:
    assert codes.finer("grad_cam") == standard.DCM.GradientWeightedClassActivation
    assert codes.finer("smoothgrad") == standard.DCM.Saliency
    assert codes.finer("xrai") is None
    named = codes.GRADIENT_WEIGHTED | codes.SALIENCY
    assert named < set(METHODS)
    assert not named & CONTROLS
    assert not codes.GRADIENT_WEIGHTED & codes.SALIENCY


def test_text_for_one_value_holds_no_backslash_no_line_and_no_more_than_fits() -> None:
    assert codes.words("left\\right\n  upper") == "left/right upper"
    assert codes.words("x" * 64) == "x" * 64
    assert codes.words("x" * 65) == "x" * 61 + "…"
    assert codes.words("é" * 33) == "é" * 30 + "…"
    assert len(codes.words("é" * 33).encode()) <= 64


def test_every_measure_has_a_code_of_our_own_scheme() -> None:
    measures = [measure.name for factory in METRICS.values() for measure in factory().measures]
    made = [codes.metric_code(name) for name in measures]
    assert [code.value for code in made] == measures
    assert {code.scheme_designator for code in made} == {codes.SCHEME}
    assert len(codes.SCHEME) <= 16
    assert codes.own_scheme().CodingSchemeDesignator == codes.SCHEME


def test_the_page_names_every_code_of_the_standard_with_its_meaning() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "dicom-objects.md").read_text()
    used = [value for value in vars(codes).values() if isinstance(value, Code)]
    used += [standard.DCM.GradientWeightedClassActivation, standard.DCM.Saliency, standard.SCT.Quantity]
    assert len(used) > 12
    for code in used:
        assert f"| {code.value}, {code.scheme_designator} | {code.meaning} |" in page
    assert codes.SCHEME in page


@pytest.mark.parametrize(
    "name", ["glioma", "", "a class with a name of far more than the sixty-four signs that fit it"]
)
def test_a_class_of_any_name_has_a_code(name: str) -> None:
    assert codes.class_code(3, name).value == "class-3"
    assert 0 < len(codes.class_code(3, name).meaning) <= 64
    assert len(codes.probability_code(3, name).meaning) <= 64
