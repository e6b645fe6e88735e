"""What is said of lesions."""

from __future__ import annotations

from dataclasses import replace

from medsaliency.report.contents import Contents

from .made import CONTROLS, made, of, said


def test_lesions_name_the_best_beside_the_controls() -> None:
    study = made(["lesion_auprc"], means={"beta": 0.8, "random": 0.1, "edge": 0.2})
    text = said(study, "Lesion overlap")
    assert text.startswith("beta has the best mean Lesion AUPRC of the methods on 40 images: 0.800 [0.750, 0.850].")
    assert "reach: Random 0.100 [0.050, 0.150] and Edge 0.200 [0.150, 0.250]." in text


def test_without_lesions_the_findings_say_so(without_lesions: Contents) -> None:
    text = said(without_lesions, "Lesion overlap")
    assert text == "No image has a lesion mask with a score, so overlap with lesions says nothing here."
    assert of(made(["evidence"]), "Lesion overlap") == []


def test_the_pointing_game_is_told_in_shares_of_images() -> None:
    assert said(made(["pointing_game"], means={"gamma": 0.9, "edge": 0.95}), "Pointing") == (
        "The highest pixel lies on the lesion or close to it in 90% (85% to 95%) of the images for gamma. No method"
        " does better; of the controls Edge does best, 95% (90% to 100%)."
    )
    tied = said(made(["pointing_game"], means={"gamma": 0.9, "delta": 0.9}), "Pointing")
    assert "of the images for gamma, and in as many for delta. No method does better" in tied


def test_blurred_maps_are_not_called_maps_that_explain_nothing() -> None:
    study = made(["lesion_auprc", "pointing_game"], methods=("alpha", "blurred"), means={"blurred": 0.9})
    study = replace(study, controls=frozenset({*CONTROLS, "blurred"}))
    assert "Blurred" not in said(study, "Lesion overlap") + said(study, "Pointing")
