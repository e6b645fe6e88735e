"""Sentences for numbers made by hand: two methods, random and edge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.findings import findings
from medsaliency.report.verdicts import apart, paired
from medsaliency.types import Measure

Numbers = tuple[float, float, float]
ABOVE, AROUND, BELOW = (0.1, 0.05, 0.15), (0.01, -0.02, 0.04), (-0.1, -0.15, -0.05)


def study(
    base: Contents, metric: str, means: dict[str, Numbers], differences: dict[str, Numbers], lost: int = 0
) -> Contents:
    summary = [
        {"metric": metric, "method": name, "images": 50, "undefined": lost, "mean": mean, "low": low, "high": high}
        for name, (mean, low, high) in means.items()
    ]
    against = [
        {"metric": metric, "method": m, "images": 50, "difference": gap, "low": low, "high": high, "wins": 0.5}
        for m, (gap, low, high) in differences.items()
    ]
    scores: list[dict[str, Any]] = [
        {"sample": f"s{i}", "patient": f"p{i}", "label": 0, "target": 0, "method": name, "metric": metric,
         "value": math.nan if i < lost else 0.5, "reason": "why" if i < lost else ""}
        for name in means for i in range(50)
    ]  # fmt: skip
    return replace(
        base,
        measures={metric: Measure(metric, True, (0, 1), "")},
        scores=pd.DataFrame(scores),
        summary=pd.DataFrame(summary),
        against_random=pd.DataFrame(against),
    )


def said(contents: Contents, topic: str) -> str:
    return " ".join(finding.text for finding in findings(contents) if finding.topic == topic)


def test_accuracy_comes_with_its_interval_and_the_number_of_images(contents: Contents) -> None:
    assert said(contents, "Model") == "The model's accuracy on 100 images is 90.6% (95% interval 84.1% to 95.2%)."


def test_unknown_patients_are_a_caution_and_known_ones_none(contents: Contents) -> None:
    for known in (True, False):
        data = {**contents.provenance["data"], "patients_known": known}
        said = findings(replace(contents, provenance={**contents.provenance, "data": data}))
        assert any("No image names its patient" in finding.text for finding in said) is not known


def test_an_undefined_accuracy_is_said_to_be(contents: Contents) -> None:
    unknown = {"images": 3, "accuracy": {"value": math.nan, "low": math.nan, "high": math.nan}}
    assert said(replace(contents, performance=unknown), "Model") == "The model's accuracy on 3 images is undefined."


def test_lesions_name_who_beats_random_and_who_does_not(contents: Contents) -> None:
    means = {
        "grad_cam": (0.4, 0.35, 0.45),
        "gradient": (0.12, 0.08, 0.16),
        "random": (0.1, 0.07, 0.13),
        "edge": (0.2, 0.15, 0.25),
    }
    text = said(study(contents, "lesion_auprc", means, {}), "Lesion overlap")
    assert "Grad-CAM (0.400 [0.350, 0.450]) lies above random (0.100 [0.070, 0.130]), with intervals apart." in text
    assert (
        "Not shown to beat random on lesion AUPRC, as the intervals overlap: Gradient (0.120 [0.080, 0.160])." in text
    )
    assert "The control Edge, which explains nothing of its own, reaches 0.200 [0.150, 0.250]; only Grad-CAM" in text


def test_overlapping_means_with_a_paired_difference_say_both(contents: Contents) -> None:
    means = {"gradient": (0.12, 0.08, 0.16), "random": (0.1, 0.07, 0.13)}
    text = said(study(contents, "lesion_auprc", means, {"gradient": (0.02, 0.01, 0.03)}), "Lesion overlap")
    assert "Not shown to beat random (0.100 [0.070, 0.130])" in text
    assert "Compared image by image, Gradient lies above random, by 0.020 [0.010, 0.030]." in text


def test_without_lesions_the_findings_say_so(without_lesions: Contents) -> None:
    text = said(without_lesions, "Lesion overlap")
    assert text == "No image has a lesion mask with a score, so overlap with lesions says nothing here."


def curves(base: Contents, gradient: Numbers, grad_cam: Numbers, lost: int = 0) -> Contents:
    means = {"gradient": (0.6, 0.5, 0.7), "grad_cam": (0.6, 0.5, 0.7), "random": (0.62, 0.5, 0.7)}
    return study(base, "sic_entropy", means, {"gradient": gradient, "grad_cam": grad_cam}, lost)


def test_curves_name_who_beats_random_and_who_does_not(contents: Contents) -> None:
    text = said(curves(contents, AROUND, ABOVE), "Information curves")
    assert "Grad-CAM beats random on SIC entropy" in text
    assert "Not shown to beat random on any information-curve measure: Gradient." in text
    assert "Worse than random" not in text


def test_evidence_names_whose_place_matters_and_whose_is_not_shown_to(contents: Contents) -> None:
    means = {"gradient": (0.1, -0.1, 0.3), "grad_cam": (0.6, 0.5, 0.7), "random": (0.0, -0.1, 0.1)}
    text = said(study(contents, "evidence", means, {"gradient": AROUND, "grad_cam": ABOVE}), "Evidence")
    assert "more than random maps do: Grad-CAM (0.600 [0.500, 0.700])." in text
    assert "Not shown to mark what matters to the model: Gradient (0.100 [−0.100, 0.300])." in text
    assert said(curves(contents, ABOVE, ABOVE), "Evidence") == ""


def test_curves_name_methods_with_the_same_verdicts_together(contents: Contents) -> None:
    one = curves(contents, ABOVE, ABOVE)
    two = study(one, "sic_webp", {"gradient": (0.6, 0.5, 0.7), "random": (0.6, 0.5, 0.7)}, {"gradient": AROUND})
    both = replace(
        two,
        summary=pd.concat([one.summary, two.summary, two.summary.assign(method="grad_cam")[:1]]),
        against_random=pd.concat(
            [one.against_random, two.against_random, two.against_random.assign(method="grad_cam")[:1]]
        ),
    )
    text = said(both, "Information curves")
    assert "Gradient and Grad-CAM beat random on SIC entropy, but are not shown to on SIC WebP." in text


def test_curves_name_who_is_worse_than_random(contents: Contents) -> None:
    text = said(curves(contents, BELOW, ABOVE), "Information curves")
    assert (
        "Worse than random, with the interval of the paired difference beyond zero: Gradient (on SIC entropy)." in text
    )


def test_noise_is_named_only_where_random_holds_up_against_most(contents: Contents) -> None:
    limits = said(curves(contents, AROUND, AROUND), "Limits of the measure")
    assert limits.startswith(
        "2 of 2 methods are not shown to beat random maps on SIC entropy (random 0.620). Here this"
    )
    assert limits.endswith("have a mean as good as most methods, or better, on SIC entropy.")
    assert said(curves(contents, AROUND, ABOVE), "Limits of the measure") == ""
    assert said(curves(contents, ABOVE, ABOVE), "Limits of the measure") == ""


def test_a_difference_without_interval_supports_nothing(contents: Contents) -> None:
    text = said(curves(contents, (0.1, math.nan, math.nan), ABOVE), "Information curves")
    assert "Not shown to beat random on any information-curve measure: Gradient." in text


def test_exclusions_state_their_share(contents: Contents) -> None:
    text = said(curves(contents, ABOVE, ABOVE, lost=23), "Exclusions")
    assert text.startswith("Undefined for at least one method: SIC entropy on 23 of 50 (46%).")
    none = said(curves(contents, ABOVE, ABOVE), "Exclusions")
    assert none == "Every measure shown has a value on every image, for every method."


def test_few_patients_are_a_warning_however_many_their_images(contents: Contents) -> None:
    study_of = curves(contents, ABOVE, ABOVE)
    assert said(study_of, "Sample size") == ""
    owners = [f"p{i % 3}" for i in range(len(study_of.scores))]
    tiny = replace(study_of, scores=study_of.scores.assign(patient=owners))
    assert said(tiny, "Sample size").startswith("Some means rest on few patients: 3 patients for SIC entropy.")


@pytest.mark.parametrize(
    ("low", "high", "higher", "verdict"),
    [
        (0.1, 0.2, True, "better"), (0.1, 0.2, False, "worse"), (-0.2, -0.1, False, "better"),
        (-0.1, 0.1, True, "open"), (0.0, 0.2, True, "open"), (math.nan, 0.2, True, "undefined"),
    ],
)  # fmt: skip
def test_a_paired_verdict_needs_an_interval_beyond_zero(low: float, high: float, higher: bool, verdict: str) -> None:
    assert paired(low, high, higher_is_better=higher) == verdict


def test_intervals_that_touch_are_not_apart() -> None:
    assert apart((0.2, 0.3), (0.1, 0.2), higher_is_better=True) == "open"
    assert apart((0.21, 0.3), (0.1, 0.2), higher_is_better=True) == "better"
    assert apart((0.0, 0.05), (0.1, 0.2), higher_is_better=True) == "worse"


def blurred(base: Contents, gap: Numbers, metric: str = "insertion_blur", higher: bool = True) -> Contents:
    difference, low, high = gap
    rows = [{"method": "blurred", "metric": metric, "images": 50, "difference": difference, "low": low, "high": high}]
    made = study(base, metric, {"gradient": ABOVE, "blurred": ABOVE, "random": AROUND}, {})
    return replace(
        made,
        measures={metric: Measure(metric, higher, (0, 1), "")},
        config={"explain": {"methods": {"blurred": {"of": "gradient"}, "gradient": {}, "random": {}}}},
        blur_control=pd.DataFrame(rows).assign(wins=0.86),
    )


def blur_findings(contents: Contents) -> list[str]:
    return [finding.text for finding in findings(contents) if finding.topic == "Blur control"]


def test_a_measure_that_likes_blurred_maps_better_is_named(contents: Contents) -> None:
    (text,) = blur_findings(blurred(contents, ABOVE))
    assert "Blurring the maps of Gradient improves their scores on Insertion, blur (86% of images)" in text
    (text,) = blur_findings(blurred(contents, BELOW, "deletion_blur", higher=False))
    assert "improves their scores on Deletion, blur" in text


def test_a_measure_that_does_not_is_named_too(contents: Contents) -> None:
    (text,) = blur_findings(blurred(contents, AROUND))
    assert text == "Blurring the maps of Gradient is not shown to improve their scores on Insertion, blur."


def test_there_is_no_blur_control_of_what_does_not_ask_the_model(contents: Contents) -> None:
    assert blur_findings(blurred(contents, ABOVE, "lesion_auprc")) == []
    assert blur_findings(contents) == []


def randomized(base: Contents, means: dict[str, Numbers], kind: str = "cascading") -> list[tuple[str, str]]:
    one, other = (study(base, f"{kind}_{name}_margin", {**means, "random": BELOW}, {}) for name in ("ssim", "spearman"))
    both = replace(
        one,
        measures={**one.measures, **other.measures},
        scores=pd.concat([one.scores, other.scores]),
        summary=pd.concat([one.summary, other.summary]),
        against_random=pd.DataFrame(),
    )
    topic = {"cascading": "Parameter randomization", "permuted": "Data randomization"}[kind]
    return [(f.tone, f.text) for f in findings(both) if f.topic == topic]


def test_a_method_passes_a_check_where_all_margins_are_above_zero(contents: Contents) -> None:
    found = randomized(contents, {"gradient": ABOVE, "grad_cam": AROUND})
    passed, rest = found
    assert passed[0] == "support"
    assert passed[1].startswith("Passed by Gradient: less alike by the trained and a wholly randomized model than")
    assert passed[1].endswith("by SSIM and rank correlation.")
    assert rest[0] == "caution"
    assert rest[1].endswith(": Grad-CAM.")


def test_a_check_that_no_method_passes_supports_none(contents: Contents) -> None:
    ((tone, text),) = randomized(contents, {"gradient": BELOW, "grad_cam": AROUND}, "permuted")
    assert tone == "caution"
    assert text.endswith(": Gradient and Grad-CAM.")


def test_without_measures_of_lesions_nothing_is_said_of_them(contents: Contents) -> None:
    made = study(contents, "insertion_blur", {"gradient": ABOVE, "random": AROUND}, {"gradient": ABOVE})
    assert not [f for f in findings(made) if f.topic == "Lesion overlap"]
