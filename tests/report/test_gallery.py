from __future__ import annotations

import base64
import math
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medsaliency.report.contents import Case, Contents, Contrast, Inference, Strip
from medsaliency.report.curves import Style
from medsaliency.report.gallery import Gallery, gallery, predicted_class
from medsaliency.report.overlay import outline_path

GREEN = {"gradient": Style("#00ff00", control=False)}


def of(contents: Contents, **changed: object) -> Gallery:
    """The gallery of the study's first case, changed."""
    return gallery(replace(contents, cases=[replace(contents.cases[0], **changed)]), GREEN)  # type: ignore[arg-type]


def picture(source: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(source.partition(",")[2])))


def strip(contents: Contents, **changed: object) -> Strip:
    return replace(contents.cases[0].strips[0], **changed)  # type: ignore[arg-type]


def test_a_probability_stands_with_its_calibrated_one(contents: Contents) -> None:
    outputs = np.array([0.861, 0.1, 0.039], dtype=np.float32)
    calibrated = np.array([0.794, 0.13, 0.076], dtype=np.float32)
    (case,) = of(contents, probabilities=outputs, calibrated=calibrated).cases
    assert case.bars[0].text == "86.1% (calibrated 79.4%)"
    assert (case.bars[0].width, case.bars[0].tick) == (86.1, 79.4)


def test_without_calibration_nothing_is_said_of_it_but_why(contents: Contents) -> None:
    why = Inference(calibration={"temperature": None, "reason": "/home/somebody/x has no validation images"})
    shown = gallery(
        replace(contents, cases=[replace(case, calibrated=None) for case in contents.cases], inference=why), GREEN
    )
    assert not shown.calibrated
    assert all("calibrated" not in bar.text and bar.tick is None for case in shown.cases for bar in case.bars)
    assert shown.calibration == "Probabilities are not calibrated: …/x has no validation images."
    assert of(replace(contents, inference=Inference()), calibrated=None).calibration == ""


def test_the_temperature_and_the_images_it_was_fitted_on_are_named(contents: Contents) -> None:
    text = gallery(contents, GREEN).calibration
    assert "T = 1.40" in text
    assert "80 validation images" in text


def test_an_undefined_output_has_no_bar_and_predicts_nothing(contents: Contents) -> None:
    outputs = np.array([0.2, math.nan, 0.8], dtype=np.float32)
    (case,) = of(contents, probabilities=outputs).cases
    assert [bar.text for bar in case.bars if bar.label == "meningioma"] == ["undefined"]
    assert (case.predicted, case.correct) == ("unknown", None)
    assert predicted_class(replace(contents.cases[0], probabilities=outputs)) is None


def test_the_true_and_the_explained_class_are_listed_however_improbable(contents: Contents) -> None:
    classes = tuple(f"class {k}" for k in range(9))
    outputs = np.linspace(0.3, 0.01, 9, dtype=np.float32)
    many = replace(contents, classes=classes)
    (case,) = of(many, probabilities=outputs, calibrated=None, label=8, target=7).cases
    assert [bar.label for bar in case.bars] == [
        "class 0",
        "class 1",
        "class 2",
        "class 3",
        "class 4",
        "class 7",
        "class 8",
    ]
    assert case.bars[-1].roles == ("true",)
    assert case.hidden_classes == 2


def test_a_marker_is_outlined_apart_from_the_lesion(contents: Contents) -> None:
    marker = np.zeros((128, 128), dtype=bool)
    marker[10:20, 30:50] = True
    shown = of(contents, marker=marker)
    (case,) = shown.cases
    assert shown.markers
    assert shown.outlines
    assert case.marker == outline_path(marker) != case.outline
    plain = of(contents, lesion=None)
    assert not plain.markers
    assert not plain.outlines


def test_a_step_says_how_much_was_shown_and_what_the_score_was(contents: Contents) -> None:
    (case,) = of(contents, strips=[strip(contents, shares=(0.005, 0.03, 0.125, 0.3))]).cases
    (view,) = case.strips
    assert view.method == "Score-CAM"
    assert view.why == "highest mean evidence"
    assert [step.shown for step in view.steps] == ["0.5%", "3%", "12%", "30%"]
    assert [step.score for step in view.steps] == ["20.0%", "40.0%", "70.0%", "90.0%"]


def test_a_logit_anywhere_makes_logits_of_all_scores(contents: Contents) -> None:
    strips = [strip(contents), strip(contents, scores=(-1.5, 0.5, 2.0, 7.25))]
    (case,) = of(contents, strips=strips).cases
    assert [[step.score for step in view.steps] for view in case.strips] == [
        ["0.20", "0.40", "0.70", "0.90"],
        ["−1.50", "0.50", "2.00", "7.25"],
    ]


def test_steps_are_small_pictures(contents: Contents) -> None:
    pictures = np.zeros((4, 1, 300, 200), dtype=np.float32)
    (case,) = of(contents, strips=[strip(contents, pictures=pictures)]).cases
    assert {picture(step.source).size for step in case.strips[0].steps} == {(64, 96)}


def test_a_strip_with_more_scores_than_pictures_is_an_error(contents: Contents) -> None:
    with pytest.raises(ValueError, match="longer"):
        of(contents, strips=[strip(contents, scores=(0.1, 0.2, 0.3, 0.4, 0.5))])


def test_a_scale_is_shown_only_where_a_map_uses_it(contents: Contents) -> None:
    maps = contents.cases[0].maps
    unsigned = of(contents, maps={"gradient": maps["gradient"]})
    assert (bool(unsigned.sequential), bool(unsigned.diverging)) == (True, False)
    signed = of(contents, maps={"integrated_gradients": maps["integrated_gradients"]})
    assert (bool(signed.sequential), bool(signed.diverging)) == (False, True)


def test_a_signed_method_keeps_its_scale_in_a_case_without_negative_values(contents: Contents) -> None:
    def only(case: Case, values: np.ndarray) -> Case:
        return replace(case, maps={"deep_lift": values.astype(np.float32)})

    ramp = np.linspace(0, 1, 128 * 128).reshape(128, 128)
    cases = [only(contents.cases[0], ramp), only(contents.cases[1], ramp - 0.5)]
    shown = gallery(replace(contents, cases=cases), GREEN)
    assert [tile.signed for case in shown.cases for tile in case.tiles] == [True, True]


def test_methods_are_listed_once_in_the_order_of_the_maps(contents: Contents) -> None:
    shown = gallery(contents, GREEN)
    assert [name for name, _, _ in shown.methods] == list(contents.cases[0].maps)
    assert shown.methods[0][1:] == ("Gradient", GREEN["gradient"])


@pytest.mark.parametrize(("labels", "choice"), [((0, 1), True), ((0, 0), False), ((None, 0), False)])
def test_errors_can_be_chosen_where_some_cases_are_errors_and_some_are_not(
    contents: Contents, labels: tuple[int | None, int], choice: bool
) -> None:
    outputs = np.array([0.8, 0.1, 0.1], dtype=np.float32)
    cases = [replace(contents.cases[0], label=label, probabilities=outputs) for label in labels]
    assert gallery(replace(contents, cases=cases), GREEN).errors is choice


def test_no_folder_is_shown(contents: Contents) -> None:
    (case,) = of(contents, sample="/home/somebody/a.png", why="/home/somebody/b").cases
    assert (case.sample, case.why) == ("…/a.png", "…/b")
    (case,) = of(contents, strips=[strip(contents, why="of /home/somebody/c")]).cases
    assert case.strips[0].why == "of …/c"


def test_sixty_cases_fit_into_ten_of_the_pages_fifteen_megabytes(contents: Contents) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((128, 128))
    first = contents.cases[0].maps
    rough = {f"rough {k}": noise * first["score_cam"] for k in range(5)}
    smooth = {f"smooth {k}": first["score_cam"] for k in range(6)}
    maps = {**rough, **smooth, "random": rng.random((128, 128))}
    image = np.kron(contents.cases[0].image, np.ones((1, 2, 2))).astype(np.float32)
    strips = [strip(contents, method=name) for name in ("score_cam", "gradient", "random")]
    (case,) = of(contents, image=image, maps={n: m.astype(np.float32) for n, m in maps.items()}, strips=strips).cases
    sources = [case.source, *(t.source for t in case.tiles), *(step.source for s in case.strips for step in s.steps)]
    assert len(sources) == 1 + 12 + 12
    assert 60 * sum(map(len, sources)) < 10e6


def test_a_slice_of_a_volume_is_named_with_the_rule(contents: Contents) -> None:
    found = of(contents, plane="slice 17 of 32 (largest lesion)", why="lowest evidence")
    assert found.volumes
    assert found.cases[0].why == "lowest evidence; slice 17 of 32 (largest lesion)"
    assert found.cases[0].plane == "slice 17 of 32 (largest lesion)"
    image = of(contents, why="lowest evidence")
    assert not image.volumes
    assert image.cases[0].why == "lowest evidence"


def test_a_slice_has_the_colors_of_its_volume(contents: Contents) -> None:
    faint = np.zeros((16, 16), np.float32)
    faint[3:9, 4:9] = 0.01

    def opacity(**changed: object) -> int:
        (tile,) = of(contents, maps={"grad_cam": faint}, **changed).cases[0].tiles
        return int(np.asarray(picture(tile.source))[..., 3].max())

    assert opacity() > 200
    assert opacity(contrasts={"grad_cam": Contrast((0.0, 1.0), (0.0, 1.0))}) < 10
