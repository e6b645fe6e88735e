import pytest

from medsaliency.study.config import load_study
from medsaliency.study.results import blurred_method


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("{gradient: {sign: absolute}, blurred: {parameters: {sign: absolute}}}", "gradient"),
        ("[gradient, blurred]", "gradient"),
        ("{smoothgrad: {samples: 7}, blurred: {of: smoothgrad, parameters: {samples: 7}}}", "smoothgrad"),
        # Maps of other parameters are not the method's own.
        ("{gradient: {sign: absolute}, blurred: {}}", None),
        ("[grad_cam, blurred]", None),
        ("[gradient]", None),
    ],
)
def test_the_blur_control_is_of_maps_that_the_study_shows(methods: str, expected: str | None) -> None:
    assert blurred_method(load_study(None, [f"explain.methods={methods}"])) == expected


def test_a_study_of_the_defaults_has_it() -> None:
    assert blurred_method(load_study(None)) == "gradient"
