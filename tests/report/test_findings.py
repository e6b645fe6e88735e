"""Sentences for numbers made by hand: change the numbers, and the words follow."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.report.contents import COLUMNS, Contents, Inference
from medsaliency.report.findings import SUMMARY, Finding, findings
from medsaliency.report.findings.finding import (
    UNCHECKED,
    few_names,
    p_value,
    points,
    share,
    these,
    would_have_shown,
)
from medsaliency.report.verdicts import criteria, relied_on
from medsaliency.statistics.trust import CRITERIA
from medsaliency.types import Family, Measure

NAN = math.nan
METHODS = ("alpha", "beta", "gamma", "delta")
CONTROLS = ("random", "edge")
VERDICTS = ("better", "worse", "not shown")
WORDS = {"random": "random maps", "edge": "the edge map"}
FAMILIES: dict[str, Family] = {
    "evidence": "faithfulness",
    "road": "faithfulness",
    "sic_webp": "information",
    "lesion_auprc": "localization",
    "pointing_game": "localization",
}


def table(name: str, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS[name].split())


def controlled(metric: str, verdicts: Mapping[tuple[str, str], str], detectable: float = 0.07) -> pd.DataFrame:
    """Against controls: of each (method, control) a verdict, or "undefined"."""
    return table(
        "against_controls",
        [
            (metric, m, c, 5, 30, 60, NAN if v == "undefined" else 0.1, 0.05, 0.15, 0.01, 0.02,
             v if v in VERDICTS else "", 0.86, detectable)
            for (m, c), v in verdicts.items()
        ],
    )  # fmt: skip


def trusted(verdicts: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    rows = [
        (m, criterion, verdict, "evidence - random", 0.1, 0.05, 0.15, 0.0, 0.01, "source", "")
        for m, own in verdicts.items()
        for criterion, verdict in own.items()
    ]
    return table("trust", rows)


def pairs(metric: str, verdicts: Mapping[tuple[str, str], str], detectable: float = 0.03) -> pd.DataFrame:
    rows = [(metric, a, b, 30, 60, *[0.1] * 11, v, detectable) for (a, b), v in verdicts.items()]
    return table("pairwise", [(*row[:16], 0.5, *row[16:]) for row in rows])


def made(
    metrics: Iterable[str] = ("evidence",),
    methods: Sequence[str] = METHODS,
    *,
    means: Mapping[str, float] | None = None,
    lost: int = 0,
    images: int = 40,
    **parts: Any,
) -> Contents:
    """A study whose tables hold what is given and no more."""
    names = (*methods, *CONTROLS)
    summary = [
        {"metric": metric, "method": m, "images": images - lost, "undefined": lost, "mean": mean, "low": mean - 0.05,
         "high": mean + 0.05}
        for metric in metrics
        for place, m in enumerate(names)
        for mean in [(means or {}).get(m, 0.5 - 0.07 * place)]
    ]  # fmt: skip
    scores = [
        {"sample": f"s{i}", "patient": f"p{i}", "label": 0, "target": 0, "method": m, "metric": metric,
         "value": NAN if i < lost else 0.5, "reason": "why" if i < lost else ""}
        for metric in metrics for m in names for i in range(images)
    ]  # fmt: skip
    inference = {f.name: parts.pop(f.name) for f in fields(Inference) if f.name in parts}
    given: dict[str, Any] = {
        "title": "made",
        "config": {},
        "provenance": {},
        "classes": ("a", "b"),
        "measures": {m: Measure(m, True, (0, 1), "", FAMILIES.get(m, "other")) for m in metrics},
        "controls": frozenset(CONTROLS),
        "performance": {},
        "scores": pd.DataFrame(scores),
        "summary": pd.DataFrame(summary),
        "exclusions": pd.DataFrame(),
        "curves": pd.DataFrame(),
        "seconds": pd.DataFrame(),
        "cases": (),
    }
    return Contents(**{**given, **parts}, inference=Inference(**inference))


def of(contents: Contents, topic: str) -> list[Finding]:
    return [finding for finding in findings(contents) if finding.topic == topic and finding.group != SUMMARY]


def said(contents: Contents, topic: str) -> str:
    return " ".join(finding.text for finding in of(contents, topic))


def in_short(contents: Contents, topic: str) -> str:
    return " ".join(f.text for f in findings(contents) if f.group == SUMMARY and f.topic == topic)


def named(text: str, start: str) -> list[str]:
    """Which methods stand in the sentence that begins with ``start``."""
    sentences = [part for part in re.split(r"(?<=\.)\s", text) if part.startswith(start)]
    return [m for m in METHODS if re.search(rf"\b{m}\b", " ".join(sentences))]


# The model


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


# Reliance


def test_reliable_is_who_beats_every_control_and_fails_nothing() -> None:
    beats = {"beats_random": "pass", "beats_edge": "pass"}
    card = {
        "alpha": {**beats, "stable": "pass", "localizes": "not shown"},
        "beta": {**beats, "stable": "fail"},
        "gamma": {"beats_random": "not shown", "beats_edge": "pass", "stable": "pass"},
        "delta": {**beats, "beats_edge": "not shown", "stable": "pass"},
    }
    study = made(trust=trusted(card))
    (found,) = of(study, "May be relied on")
    assert found.tone == "support"
    assert found.text.startswith("As far as was tested, alpha (passed: beats random, beats edge, stable).")
    assert said(study, "Not to be relied on") == "Failed: beta (stable)."
    assert said(study, "Not shown to beat random").startswith("Not shown to be better than random maps")
    assert "not shown to be better than the edge map: delta. A control never looks at the model" in said(
        study, "Better than noise only"
    )
    assert in_short(study, "Relied on") == (
        "alpha may be relied on as far as was tested: it is shown to be better than random maps and the edge map on"
        " Evidence, and fails no criterion. Nothing is shown by 1 of 4 criteria."
    )
    assert in_short(study, "Not relied on") == (
        "beta fails at least one criterion (stable); delta is better than random maps, but not shown to be better than"
        " the edge map; gamma is not shown to be better than random maps."
    )
    assert said(study, "Stable").endswith("Passed by alpha, gamma, and delta. Failed by beta.")


@pytest.mark.parametrize(
    ("controls", "relied"),
    [({"random"}, True), ({"random", "edge"}, False), ({"random", "center_gaussian"}, True), (set(), True)],
)
def test_only_controls_of_the_study_must_be_beaten(controls: set[str], relied: bool) -> None:
    own = {"beats_random": "pass", "beats_edge": "not shown", "beats_center": "pass"}
    assert relied_on(own, controls) == relied
    assert not relied_on({**own, "beats_random": "not shown"}, controls), "random maps must always be beaten"
    assert not relied_on({**own, "stable": "fail"}, controls)


def test_several_measures_of_a_criterion_count_as_one() -> None:
    rows = trusted({"alpha": {"beats_random": "pass", "faithful": "pass"}})
    worse = trusted({"alpha": {"faithful": "fail"}})
    assert criteria(made(trust=pd.concat([rows, worse]))) == {"alpha": {"beats_random": "pass", "faithful": "fail"}}


def test_without_a_card_nobody_is_called_reliable() -> None:
    (found,) = of(made(), "May be relied on")
    assert (found.tone, "no method is called reliable" in found.text) == ("caution", True)


cards = st.fixed_dictionaries(
    {m: st.dictionaries(st.sampled_from(CRITERIA), st.sampled_from(("pass", "fail", "not shown")), min_size=1)
     for m in METHODS}
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(cards)
def test_each_method_is_called_what_its_card_says(card: dict[str, dict[str, str]]) -> None:
    study = made(trust=trusted(card))
    fails = [m for m in METHODS if "fail" in card[m].values()]
    beats = [m for m in METHODS if m not in fails and card[m].get("beats_random") == "pass"]
    relied = [m for m in beats if card[m].get("beats_edge") == "pass"]
    told = findings(study)
    text = {f.topic: f.text for f in told if f.group != SUMMARY}
    assert named(text["May be relied on"], "As far as") == relied
    assert named(text.get("Not to be relied on", ""), "Failed") == fails
    assert named(text.get("Better than noise only", ""), "Better") == [m for m in beats if m not in relied]
    assert named(text.get("Not shown to beat random", ""), "") == [m for m in METHODS if m not in (*fails, *beats)]
    supported = {f.topic for f in told if f.tone == "support"} & {"Relied on", "May be relied on"}
    assert bool(supported) == bool(relied)


# Controls

judgements = st.fixed_dictionaries(
    {(m, c): st.sampled_from((*VERDICTS, "undefined")) for m in METHODS for c in CONTROLS}
)


STARTS = {"better": "better than", "not shown": "not shown to be better than", "worse": "worse than",
          "undefined": "without values to compare with"}  # fmt: skip


def told_of(text: str) -> dict[str, str]:
    """Which verdict a finding tells of which control."""
    result = {}
    for clause in text.split(": ")[0].split("; "):
        (verdict,) = [verdict for verdict, start in STARTS.items() if clause.startswith(start)]
        result.update({control: verdict for control, words in WORDS.items() if words in clause})
    return result


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["evidence", "lesion_auprc"]), judgements)
def test_of_each_method_the_verdicts_against_all_controls_are_told_once(
    metric: str, verdicts: dict[tuple[str, str], str]
) -> None:
    study = made([metric], against_controls=controlled(metric, verdicts))
    topic, label = ("Evidence", "Evidence") if metric == "evidence" else ("Lesion overlap", "Lesion AUPRC")
    told = [finding for finding in of(study, topic) if finding.text.startswith(f"On {label} ")]
    for method in METHODS:
        (found,) = [finding for finding in told if re.search(rf"\b{method}\b", finding.text)]
        expected = {control: verdicts[method, control] for control in CONTROLS}
        assert told_of(found.text.removeprefix(f"On {label} ")) == expected
        assert (found.tone == "support") == (set(expected.values()) == {"better"})
        assert ("would have been shown" in found.text) == ("not shown" in expected.values())


def test_what_the_sample_could_have_shown_stands_beside_what_it_did_not() -> None:
    rows = controlled("evidence", {("alpha", "random"): "not shown", ("beta", "random"): "not shown"})
    rows["detectable"] = [0.02, 0.05]
    text = said(made(methods=["alpha", "beta"], against_controls=rows), "Evidence")
    assert text == (
        "On Evidence not shown to be better than random maps: alpha (0.500 [0.450, 0.550]) and beta (0.430 [0.380,"
        " 0.480]). A difference of 0.020 to 0.050 would have been shown."
    )
    assert "is not known" in said(made(against_controls=rows.assign(detectable=NAN)), "Evidence")


def test_other_measures_are_told_by_family() -> None:
    both = pd.concat(
        [
            controlled(
                "road",
                {("alpha", "random"): "better", ("beta", "random"): "better", ("gamma", "random"): "worse",
                 ("delta", "random"): "not shown"},
            ),
            controlled("sic_webp", {(m, "random"): "better" for m in METHODS}),
        ]
    )  # fmt: skip
    study = made(["evidence", "road", "sic_webp"], against_controls=both)
    (found,) = of(study, "Faithfulness")
    assert found.text == (
        "Better than random maps on ROAD: alpha and beta. Not shown to be better than random maps on ROAD: gamma and"
        " delta. Worse than random maps: gamma (on ROAD)."
    )
    (other,) = of(study, "Information curves")
    assert other.text == "Better than random maps on SIC WebP: alpha, beta, gamma, and delta."
    assert (found.tone, other.tone) == ("caution", "support")


def test_published_curves_are_told_in_one_finding_and_nowhere_else() -> None:
    names = ["sic_webp_published", "aic_webp_published"]
    rows = pd.concat([controlled(name, {(m, "random"): "better" for m in METHODS}) for name in names])
    study = made(names, against_controls=rows, lost=10)
    study = replace(study, measures={name: Measure(name, True, (0, 1), "", "information") for name in names})
    told = [finding for finding in findings(study) if re.search("published|as published", finding.text)]
    (found,) = of(study, "Published curves")
    assert found.text.startswith("Nothing is concluded from 2 information curves as published")
    assert found.text.endswith("Here they are undefined on 25% of the images.")
    assert [finding.topic for finding in told] == ["Published curves", "Exclusions"]
    assert "but for the published curves" in said(study, "Exclusions")
    first = replace(study, config={"trust": {"measure": names[0]}})
    assert "On SIC WebP, published better than random maps" in said(first, "SIC WebP, published")
    assert said(first, "Published curves").startswith("Nothing is concluded from 1 information curve as published")


def test_limits_name_a_measure_only_where_random_holds_up_against_most() -> None:
    def limits(beaten: int) -> str:
        verdicts = {(m, "random"): "better" if i < beaten else "not shown" for i, m in enumerate(METHODS)}
        return said(made(["sic_webp"], against_controls=controlled("sic_webp", verdicts)), "Limits of the measures")

    assert limits(0).startswith("No method is shown to be better than random maps on SIC WebP (random 0.220).")
    assert limits(1).startswith("Only alpha is shown to be better than random maps on SIC WebP (random 0.220).")
    assert limits(2) == ""


def test_an_effect_of_blurring_is_a_caution_and_its_absence_no_support() -> None:
    for verdict, tone in (("worse", "caution"), ("better", "plain"), ("not shown", "plain")):
        rows = controlled("evidence", {("alpha", "blurred"): verdict})
        (found,) = of(made(against_controls=rows), "Blur control")
        assert found.tone == tone
        assert ("improves their scores: on Evidence, the unblurred maps are the better ones on 86% of patients"
                in found.text) == (verdict == "worse")  # fmt: skip
    assert of(made(["lesion_auprc"], against_controls=controlled("lesion_auprc", {("alpha", "blurred"): "worse"})),
              "Blur control") == []  # fmt: skip


# Lesions and shortcut


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


def planted(low: float = 0.25, called: float = 0.7) -> dict[str, Any]:
    def part(value: float, half: float = 0.05) -> dict[str, float]:
        return {"value": value, "low": value - half, "high": value + half}

    return {
        "class": "meningioma", "images": 80, "marked": 20, "area": 0.012, "accuracy_with": part(0.95),
        "accuracy_without": part(0.61), "drop": {"value": 0.34, "low": low, "high": 0.43},
        "class_accuracy_with": part(0.97), "class_accuracy_without": part(0.41), "called_with": part(called),
        "called_without": part(0.08),
    }  # fmt: skip


def test_a_shortcut_is_told_with_and_without_its_marker() -> None:
    study = made(shortcut=planted())
    text = said(study, "Planted shortcut")
    assert "in images of the class meningioma (20 of 80 images)" in text
    assert "95.0% (90.0% to 100.0%) with the marker and 61.0% (56.0% to 66.0%) on the very same images" in text
    assert "drops by 34.0 percentage points (25.0 to 43.0), so the model relies on the marker" in text
    assert "97.0% (92.0% to 102.0%) with the marker and 41.0% (36.0% to 46.0%) without" in text
    assert "calls 70.0% (65.0% to 75.0%) meningioma when the marker is put on them, and 8.0%" in text
    assert "The marker alone brings the class more often." in text
    assert "34.0 percentage points" in in_short(study, "Shortcut")
    assert {finding.tone for finding in of(study, "Planted shortcut")} == {"caution"}


def test_a_drop_that_may_be_none_is_no_reliance() -> None:
    study = made(shortcut=planted(low=-0.02, called=0.1))
    text = said(study, "Planted shortcut")
    assert "does not show that the model relies on the marker" in text
    assert "That the marker alone does this is not shown." in text
    assert in_short(study, "Shortcut") == ""


def test_missing_parts_of_a_shortcut_are_left_out() -> None:
    bare = said(made(shortcut={"class": "glioma", "drop": None, "accuracy_with": {"value": None}}), "Planted shortcut")
    assert bare == "A marker was planted in images of the class glioma."
    assert of(made(), "Planted shortcut") == []


@pytest.mark.parametrize(
    ("given", "without", "words"),
    [
        ((0.7, 0.6, 0.8), (0.0, 0.0, 0.0), "The marker alone brings the class more often."),
        ((0.7, 0.7, 0.7), (0.0, 0.0, 0.0), "That the marker alone does this is not shown."),
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "On every one of these images the marker alone brings the class."),
    ],
)
def test_a_share_without_spread_has_no_interval_and_shows_nothing_by_itself(
    given: tuple[float, ...], without: tuple[float, ...], words: str
) -> None:
    ends = ("value", "low", "high")
    called = {
        "called_with": dict(zip(ends, given, strict=True)),
        "called_without": dict(zip(ends, without, strict=True)),
    }
    text = said(made(shortcut={**planted(), **called}), "Planted shortcut")
    assert "and 0.0% (no spread) without it" in text
    assert text.endswith(words)


def test_a_drop_without_spread_is_no_reliance() -> None:
    flat = {**planted(), "drop": {"value": 0.2, "low": 0.2, "high": 0.2}}
    text = said(made(shortcut=flat), "Planted shortcut")
    assert "A drop by 20.0 percentage points (no spread) does not show that the model relies on the marker." in text


MARKED = [("alpha", 20, 0.4, 0.3, 0.5, 0.01), ("beta", 20, 0.2, 0.1, 0.3, 0.01), ("gamma", 20, 0.02, 0.0, 0.04, 0.01),
          ("delta", 20, 0.001, 0.0, 0.002, 0.01), ("random", 20, 0.01, 0.009, 0.011, 0.01)]  # fmt: skip


def test_attribution_on_the_marker_is_held_against_its_area() -> None:
    shares = table("shortcut_shares", MARKED)
    text = said(made(shortcut_shares=shares), "Attribution on the shortcut")
    assert text == (
        "The marker covers 1.0% of an image. alpha has the largest share of its attribution on it, 40.0% (30.0% to"
        " 50.0%), 40.0 times its area, on 20 marked images. More than its area is shown to lie on it for alpha and"
        " beta. Less is shown for delta. Neither is shown for gamma. Of the controls, which never look at the model,"
        " Random has most: 1.0% (0.9% to 1.1%). The maps of alpha and beta show the shortcut: more lies on it than in"
        " the maps of any control, beyond the intervals."
    )
    both = made(shortcut_shares=shares, shortcut=planted())
    assert said(both, "Attribution on the shortcut").endswith(
        "A map that marks the shortcut is right about the model: the fault is the model's."
    )
    assert in_short(both, "Shortcut").endswith(
        "The maps of alpha and beta show it, alpha the most: 40.0% (30.0% to 50.0%) of its attribution lies on 1.0% of"
        " the image."
    )


def test_a_marker_that_draws_blind_maps_too_is_shown_by_those_above_them_alone() -> None:
    def shown(high: float) -> str:
        rows = table("shortcut_shares", [*MARKED, ("edge", 20, 0.1, 0.05, high, 0.01)])
        return said(made(shortcut_shares=rows, shortcut=planted()), "Attribution on the shortcut")

    assert "Edge has most: 10.0% (5.0% to 20.0%). The maps of alpha show the shortcut:" in shown(0.2)
    assert "that maps show the shortcut is not shown" in shown(0.35)
    assert "right about the model" not in shown(0.35)
    few = table("shortcut_shares", [(*row[:1], UNCHECKED - 1, *row[2:]) for row in MARKED])
    assert "how often an interval holds the truth is not known" in said(
        made(shortcut_shares=few), "Attribution on the shortcut"
    )


# Differences between methods


def ranked(order: Sequence[str]) -> pd.DataFrame:
    return table("ranks", [("evidence", m, float(i + 1)) for i, m in enumerate(order)])


def friedman(p: float, metric: str = "evidence", reason: str = "") -> pd.DataFrame:
    return table("friedman", [(metric, 6, 30, 60.0, p, p, 0.41, 1.9, reason)])


def test_the_leading_group_is_who_is_not_shown_to_differ_from_the_best() -> None:
    judged = pairs(
        "evidence",
        {("alpha", "beta"): "not shown", ("gamma", "alpha"): "worse", ("alpha", "random"): "better",
         ("alpha", "edge"): "not shown", ("delta", "alpha"): "better"},
    )  # fmt: skip
    study = made(friedman=friedman(0.001), ranks=ranked(["edge", "alpha", "beta"]), pairwise=judged)
    text = said(study, "Methods on Evidence")
    assert "The 6 methods differ on Evidence (Friedman's test over 30 patients" in text
    assert "alpha has the best mean rank of the methods. Not shown to differ from it: beta; between them" in text
    assert "a difference of 0.030 would have been shown" in text
    assert "Pair by pair delta is shown to be better." in text
    assert text.endswith("It is shown to be better than gamma.")
    assert "Edge" not in text, "controls have a test of their own"
    assert in_short(study, "Open").startswith("Between alpha, first on Evidence, and beta no difference is shown;")


def test_no_difference_is_said_as_such() -> None:
    (found,) = of(made(friedman=friedman(0.4), ranks=ranked(METHODS)), "Methods on Evidence")
    assert found.tone == "caution"
    assert found.text.startswith("That the 6 methods differ on Evidence is not shown")
    assert "best mean rank" not in found.text


def test_an_untested_difference_gives_its_reason() -> None:
    text = said(made(friedman=friedman(NAN, reason="two patients")), "Methods on Evidence")
    assert text == "Whether methods differ on Evidence was not tested: two patients."


def test_pairs_without_a_shown_difference_are_counted() -> None:
    judged = pairs(
        "evidence", {("alpha", "beta"): "not shown", ("alpha", "gamma"): "better", ("beta", "edge"): "not shown"}
    )
    assert said(made(pairwise=judged), "No difference shown") == (
        "1 of 2 pairs of methods shows no difference on Evidence; in such a pair a difference of 0.030 would have been"
        " shown."
    )
    power = made(pairwise=judged, config={"statistics": {"power": 0.8}})
    assert said(power, "No difference shown").endswith("“Would have been shown” means with a chance of 80%.")


# What scores depend on


@pytest.mark.parametrize(("p", "depends"), [(0.04, True), (0.05, True), (0.051, False)])
def test_only_a_corrected_p_at_the_level_is_a_dependence(p: float, depends: bool) -> None:
    terms = table("mixed_terms", [("evidence", "confidence", 4.0, 1.0, 28.0, 0.001, p, 60, 30, ""),
                                  ("evidence", "lesion_size", *[NAN] * 5, 0, 0, "not known")])  # fmt: skip
    effects = table("mixed_coefficients", [("evidence", "confidence", "", 0.02, 0.01, 0.03, 0.001)])
    text = said(made(mixed_terms=terms, mixed_coefficients=effects), "Evidence by image")
    assert (
        "Evidence depends on the model's confidence (+0.020 [0.010, 0.030] for one standard deviation more" in text
    ) == depends
    assert ("is not shown to depend on the model's confidence" in text) == (not depends)
    assert "the lesion's size (not known)" in text


def test_measures_agree_only_where_a_test_says_so() -> None:
    rows = [
        ("information", 6, 4, 0.83, 0.001, ""),
        ("all", 8, 4, 0.3, 0.2, ""),
        ("localization", 1, 4, NAN, NAN, "one measure"),
    ]
    text = said(made(concordance=table("concordance", rows)), "Agreement of measures")
    assert "alike, more than by chance: the 6 information curves (Kendall's W 0.83, p = 0.001);" in text
    assert "Not shown to rank the methods alike: the 8 measures together (Kendall's W 0.30, p = 0.200)." in text
    assert "Not tested: the 1 measures of localization (one measure)." in text


def test_agreement_of_maps_leaves_controls_out() -> None:
    rows = [
        ("alpha", "beta", 0.8, 0.7, 0.9, 60),
        ("alpha", "gamma", 0.1, 0.0, 0.2, 60),
        ("beta", "random", -0.9, -1, -0.8, 60),
    ]
    text = said(made(method_agreement=table("method_agreement", rows)), "Agreement of maps")
    assert (
        "alpha and beta (0.80 [0.70, 0.90]) are most alike, those of alpha and gamma (0.10 [0.00, 0.20]) least" in text
    )


def test_reliability_tells_the_ends() -> None:
    rows = [("evidence", "seed", 3, 60, 0.93, 0.9, 0.95, ""), ("road", "seed", 3, 60, 0.99, 0.98, 1.0, ""),
            ("evidence", "retrained", 2, 60, NAN, NAN, NAN, "nothing varies")]  # fmt: skip
    text = said(made(reliability=table("reliability", rows)), "Reliability")
    assert "from 0.93 [0.90, 0.95] for Evidence to 0.99 [0.98, 1.00] for ROAD" in text
    assert "networks trained anew, scores have no intraclass correlation (nothing varies)." in text


# Sample and exclusions


def test_exclusions_state_their_share() -> None:
    assert said(made(lost=18), "Exclusions").startswith(
        "Undefined for at least one method: Evidence on 18 of 40 (45%)."
    )
    assert said(made(), "Exclusions") == "Every measure shown has a value on every image, for every method."


def test_the_values_of_a_check_are_left_out_together() -> None:
    names = [f"independent_{how}{end}" for how in ("ssim", "hog") for end in ("", "_margin")]
    study = made(names, lost=18)
    study = replace(study, measures={name: Measure(name, True, (0, 1), "", "randomization") for name in names})
    text = said(study, "Exclusions")
    assert text.startswith("Undefined for at least one method: Independent randomization on 18 of 40 (45%).")


def test_few_patients_are_a_warning_however_many_their_images() -> None:
    assert said(made(images=UNCHECKED), "Sample size") == "10 images of 10 patients were explained."
    study = made()
    tiny = replace(study, scores=study.scores.assign(patient=[f"p{i % 3}" for i in range(len(study.scores))]))
    text = said(tiny, "Sample size")
    assert text.startswith(
        "40 images of 3 patients were explained. Some means rest on fewer than 10 patients: 3 patients"
    )


def test_intervals_are_called_unchecked_where_the_page_has_not_simulated_them() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/intervals.md").read_text(encoding="utf-8")
    simulated = [int(many) for many in re.findall(r"(\d+) patients \|", page)]
    assert min(simulated) == UNCHECKED


def test_criteria_that_nobody_is_shown_on_are_named() -> None:
    card = {m: {"beats_random": "pass", "stable": "not shown", "repeatable": "not shown"} for m in METHODS}
    text = said(made(trust=trusted(card)), "Criteria left open")
    assert text.startswith("These criteria give no method a pass or a fail: stable and repeatable.")


# Of all findings


def numbers_of(contents: Contents) -> set[float]:
    """Every number of the tables from which findings are made, and the counts and shares of the scores."""
    inference = contents.inference
    frames = [getattr(inference, name) for name in COLUMNS] + [contents.summary]
    found: set[float] = {0.001, 95, 1}
    for frame in frames:
        for column in frame.select_dtypes("number"):
            found.update(frame[column].dropna().astype(float))

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for part in value.values():
                walk(part)
        elif isinstance(value, (int, float)):
            found.add(float(value))

    shares = inference.shortcut_shares
    found.update(shares["share"] / shares["area"])
    for told in (contents.performance, inference.calibration, inference.shortcut):
        walk(told)
    missing = contents.scores["value"].isna().groupby([contents.scores["metric"], contents.scores["sample"]]).any()
    counts = missing.groupby("metric").agg(["sum", "size"])
    found.update(counts["sum"].astype(float), counts["size"].astype(float), counts["sum"] / counts["size"])
    found.update([contents.scores["sample"].nunique(), contents.scores["patient"].nunique()])
    return found


def unfounded(contents: Contents) -> list[str]:
    """Numbers of the text that are no number of the tables, rounded as they are written."""
    known = np.array(sorted(numbers_of(contents)))
    counts = len(contents.summary["method"].unique()) ** 2  # methods, pairs and measures are counted
    wrong = []
    for finding in findings(contents):
        text = re.sub(r"Grad-CAM\+\+", "", finding.text).replace("−", "-")
        for sign, digits, decimals, unit in re.findall(r"(?<![\w.])(-?)(\d[\d,]*)(\.\d+)?(%?)", text):
            value = float(f"{sign}{digits.replace(',', '')}{decimals}")
            half = 0.5 * 10 ** -(len(decimals) - 1 if decimals else 0) + 1e-9
            scales = (100,) if unit == "%" else (1, 100) if decimals else (1,)
            ok = any((abs(known * scale - value) <= half).any() for scale in scales)
            if not ok and not (not decimals and unit != "%" and value <= counts):
                wrong.append(f"{finding.topic}: {sign}{digits}{decimals}{unit}")
    return wrong


def test_every_number_of_a_sentence_is_a_number_of_the_tables(contents: Contents) -> None:
    assert unfounded(contents) == []


def test_a_number_that_no_table_has_would_be_found(contents: Contents) -> None:
    hidden = replace(contents, performance={**contents.performance, "accuracy": {}})
    accuracy = [finding for finding in findings(contents) if finding.topic == "Model"]
    known = np.array(sorted(numbers_of(hidden)))
    assert "90.6%" in accuracy[0].text
    assert not (abs(100 * known - 90.6) <= 0.05).any()


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_numbers_follow_the_tables_whatever_they_are(contents: Contents, seed: int) -> None:
    study = shaken(contents, seed)
    assert unfounded(study) == []


def shaken(contents: Contents, seed: int, missing: float = 0.0) -> Contents:
    """The study with every number of its inference multiplied at random, and a share of them missing."""
    rng = np.random.default_rng(seed)
    tables = {}
    for name in COLUMNS:
        frame = getattr(contents.inference, name).copy()
        for column in frame.select_dtypes("floating"):
            values = frame[column] * rng.uniform(0.2, 1.5, len(frame))
            frame[column] = values.where(rng.random(len(frame)) >= missing)
        tables[name] = frame
    some = contents.scores["sample"].isin(contents.scores["sample"].unique()[:12])
    return replace(contents, scores=contents.scores[some], inference=replace(contents.inference, **tables))


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]))
def test_nothing_undefined_is_written_as_a_number(contents: Contents, seed: int, missing: float) -> None:
    for finding in findings(shaken(contents, seed, missing)):
        assert not re.search(r"\b(nan|none|inf)\b", finding.text, re.IGNORECASE), finding


@settings(deadline=None, max_examples=8)
@given(st.permutations(["gradient", "smoothgrad", "grad_cam", "score_cam"]))
def test_permuting_methods_permutes_names(contents: Contents, order: list[str]) -> None:
    names = ["gradient", "smoothgrad", "grad_cam", "score_cam"]
    labels = {"gradient": "Gradient", "smoothgrad": "SmoothGrad", "grad_cam": "Grad-CAM", "score_cam": "Score-CAM"}
    turned = dict(zip(names, order, strict=True))

    def rename(frame: pd.DataFrame) -> pd.DataFrame:
        columns = [name for name in ("method", "other") if name in frame]
        if "metric" in frame and "correlation" in frame:
            columns = []  # measures, not methods
        return frame.assign(**{name: frame[name].replace(turned) for name in columns})

    some = contents.scores["sample"].isin(contents.scores["sample"].unique()[:8])
    small = replace(contents, scores=contents.scores[some])
    other = replace(
        small,
        scores=rename(small.scores),
        summary=rename(small.summary),
        inference=replace(small.inference, **{name: rename(getattr(small.inference, name)) for name in COLUMNS}),
    )
    pattern = re.compile(r"(?<!Integrated )\b(" + "|".join(labels.values()) + r")\b(?!\+)")
    back = {labels[a]: labels[b] for a, b in turned.items()}
    expected = [replace(f, text=pattern.sub(lambda m: back[m[1]], f.text)) for f in findings(small)]
    assert findings(other) == expected


def nothing_shown(base: Contents) -> Contents:
    """The study with the same means, but no test that shows anything."""
    inference = base.inference
    card = inference.trust[inference.trust["criterion"] != "affordable"]
    return replace(
        base,
        inference=replace(
            inference,
            friedman=inference.friedman.assign(p=1.0, p_corrected=1.0),
            pairwise=inference.pairwise.assign(p=1.0, p_corrected=1.0, verdict="not shown"),
            against_controls=inference.against_controls.assign(p=1.0, p_corrected=1.0, verdict="not shown"),
            mixed_terms=inference.mixed_terms.assign(p=1.0, p_corrected=1.0),
            concordance=inference.concordance.assign(p=1.0),
            trust=card.assign(verdict="not shown"),
            shortcut={},
            shortcut_shares=inference.shortcut_shares[:0],
        ),
    )


def test_where_nothing_is_shown_nothing_supports_a_method(contents: Contents) -> None:
    told = findings(nothing_shown(contents))
    assert [finding for finding in told if finding.tone == "support"] == []
    text = " ".join(finding.text for finding in told).replace("No method is shown to be better", "")
    for claim in ("better than all", "is shown to be better", "Methods differ", "depends on", "more than by chance:"):
        assert claim not in text
    assert "No method is called reliable here." in text


def test_an_empty_study_says_little_and_claims_nothing() -> None:
    empty = made([], performance={}, scores=pd.DataFrame(), summary=pd.DataFrame())
    assert all(finding.tone != "support" for finding in findings(empty))


def test_the_summary_is_short_and_comes_first(contents: Contents) -> None:
    told = findings(contents)
    groups = [finding.group for finding in told]
    assert 3 <= groups.count(SUMMARY) <= 5
    assert groups[: groups.count(SUMMARY)] == [SUMMARY] * groups.count(SUMMARY)
    assert len([a for a, b in itertools.pairwise(groups) if a != b]) == len(set(groups)) - 1


# Words


def test_long_lists_are_cut_in_the_summary_and_counted() -> None:
    assert few_names(["a", "b", "c", "d", "e"]) == "a, b, c, d, and e"
    assert few_names(list("abcdefg")) == "a, b, c, d and 3 more"


def test_nearly_all_of_many_methods_are_told_by_those_that_are_missing() -> None:
    many = [f"m{i}" for i in range(9)]
    study = made(methods=many)
    assert these(study, many) == "all 9 methods"
    assert these(study, many[1:]) == "all 9 methods but m0"
    assert these(study, many[:3]) == "m0, m1, and m2"
    assert these(made(), METHODS) == "alpha, beta, gamma, and delta"


@pytest.mark.parametrize(("p", "text"), [(0.0312, "p = 0.031"), (0.0009, "p < 0.001"), (1.0, "p = 1.000")])
def test_p_values(p: float, text: str) -> None:
    assert p_value(p) == text


def test_shares_and_points_need_numbers() -> None:
    assert share({"value": 0.5, "low": NAN, "high": NAN}) == "50% (interval undefined)"
    assert share(None) == share({"value": None}) == points(None) == ""
    assert share({"value": 0.0, "low": 0.0, "high": 1e-15}) == "0% (no spread)"
    assert points({"value": -0.034, "low": -0.05, "high": 0.01}) == "−3.4 percentage points (−5.0 to 1.0)"
    assert would_have_shown([0.1, NAN]) == "a difference of 0.100 would have been shown, where that is known"
