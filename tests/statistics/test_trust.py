"""The card's verdicts on tables made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.statistics.trust import (
    CRITERIA,
    Atom,
    Thresholds,
    combine,
    judge,
    judges_faithfulness,
    trust_card,
)
from medsaliency.types import Family, Measure, MedsaliencyError

NAN = math.nan
SPREAD = (-0.02, -0.01, 0.0, 0.01, 0.02, -0.02, -0.01, 0.0, 0.01, 0.02)
"""Ten patients around a mean: intervals of about 0.01 either way."""
MEASURES: dict[str, tuple[Family, bool]] = {
    "evidence": ("faithfulness", True),
    "insertion_gain": ("faithfulness", True),
    "road": ("faithfulness", True),
    "sic_webp": ("information", True),
    "sic_webp_published": ("information", True),
    "lesion_auprc": ("localization", True),
    "cascading_ssim": ("randomization", False),
    "cascading_ssim_margin": ("randomization", True),
    "cascading_hog_margin": ("randomization", True),
    "permuted_ssim_margin": ("randomization", True),
    "max_sensitivity": ("stability", False),
    "flip_consistency": ("stability", True),
    "flip_overlap": ("stability", True),
}


def measures(*names: str) -> dict[str, Measure]:
    return {name: Measure(name, MEASURES[name][1], (-2, 2), "", MEASURES[name][0]) for name in names}


def score_rows(metric: str, values: Sequence[float], method: str = "gradient", reason: str = "why") -> pd.DataFrame:
    rows = [
        {"sample": f"s{i}", "patient": f"p{i}", "method": method, "metric": metric, "value": value,
         "reason": reason if math.isnan(value) else ""}
        for i, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def around(metric: str, mean: float, method: str = "gradient") -> pd.DataFrame:
    return score_rows(metric, [mean + step for step in SPREAD], method)


def controlled(*rows: tuple[str, str, str], gap: float = 0.1, detectable: float = 0.05) -> pd.DataFrame:
    columns = ["metric", "method", "control", "difference", "low", "high", "p_corrected", "verdict", "detectable"]
    return pd.DataFrame(
        [(m, "gradient", c, gap, gap - 0.02, gap + 0.02, 0.03, v, detectable) for m, c, v in rows], columns=columns
    )


def networks(*rows: tuple[str, str, float, float, float, float]) -> pd.DataFrame:
    columns = ["method", "kind", "measure", "images", "value", "low", "high", "two_images"]
    return pd.DataFrame([("gradient", kind, how, 10, *numbers) for kind, how, *numbers in rows], columns=columns)


def timings(seconds: float = 20.0, images: int = 10) -> pd.DataFrame:
    rows = [("method", "gradient", images, seconds), ("metric", "gradient", images, 1e6)]
    return pd.DataFrame(rows, columns=["kind", "name", "images", "seconds"])


def card(methods: Sequence[str] = ("gradient",), **tables: Any) -> pd.DataFrame:
    given: dict[str, Any] = {
        "scores": around("evidence", 0.3),
        "measures": measures("evidence"),
        "against_controls": controlled(),
        "networks": networks(),
        "timings": timings(),
        "thresholds": Thresholds(),
        "seed": 0,
        "draws": 500,
        "level": 0.95,
    }
    return trust_card(methods, **{**given, **tables})


def atoms(criterion: str, **tables: Any) -> list[dict[str, Any]]:
    found = card(**tables)
    return [dict(row) for _, row in found[found["criterion"] == criterion].iterrows()]


def atom(criterion: str, **tables: Any) -> dict[str, Any]:
    (found,) = atoms(criterion, **tables)
    return found


def test_the_card_has_every_criterion_of_every_method_in_order() -> None:
    found = card(["grad_cam", "gradient"])
    assert list(found.columns) == list(Atom._fields)
    assert list(dict.fromkeys(zip(found["method"], found["criterion"], strict=True))) == [
        (method, criterion) for method in ("grad_cam", "gradient") for criterion in CRITERIA
    ]


def test_what_was_not_run_is_not_shown_and_says_what_to_do() -> None:
    found = card(measures={}, timings=timings()[:0], scores=around("other", 1.0))
    assert set(found["verdict"]) == {"not shown"}
    assert (found["reason"] != "").all()
    assert found["value"].isna().all()
    reasons = dict(zip(found["criterion"], found["reason"], strict=True))
    assert "add it to evaluate.checks" in reasons["parameter_randomization"]
    assert "evaluate.metrics" in reasons["beats_random"]
    assert "evaluate.metrics" in reasons["faithful"]
    assert "training.seed" in reasons["repeatable"]
    assert "model.architecture" in reasons["reproducible"]
    assert reasons["affordable"] == "the time was not measured"


@pytest.mark.parametrize(("said", "verdict"), [("better", "pass"), ("worse", "fail"), ("not shown", "not shown")])
@pytest.mark.parametrize(
    ("criterion", "control"),
    [("beats_random", "random"), ("beats_edge", "edge"), ("beats_center", "center_gaussian")],
)
def test_a_control_is_beaten_by_the_corrected_test_alone(criterion: str, control: str, said: str, verdict: str) -> None:
    # The interval of the difference lies above zero in every case: only the corrected verdict counts.
    found = atom(criterion, against_controls=controlled(("evidence", control, said)))
    assert found["verdict"] == verdict
    assert found["measure"] == f"evidence - {control}"
    assert (found["value"], found["low"], found["high"]) == (0.1, pytest.approx(0.08), pytest.approx(0.12))
    assert (found["threshold"], found["p"]) == (0, 0.03)
    assert ("one of 0.05 would have been" in found["reason"]) == (verdict == "not shown")


def test_an_unknown_detectable_difference_is_said_to_be_unknown() -> None:
    found = atom("beats_random", against_controls=controlled(("evidence", "random", "not shown"), detectable=NAN))
    assert "not known" in found["reason"]
    assert "nan" not in found["reason"]


def test_a_control_that_was_not_run_is_named() -> None:
    assert "explain.methods" in atom("beats_edge")["reason"]
    with_edge = pd.concat([around("evidence", 0.3), around("evidence", 0.1, "edge")])
    assert atom("beats_edge", scores=with_edge)["reason"] == "no image has a value of both"


def test_an_undefined_difference_gives_the_reason_of_the_scores() -> None:
    lost = pd.concat([score_rows("evidence", [NAN, NAN], reason="the map is not finite"),
                      around("evidence", 0.1, "random")])  # fmt: skip
    found = atom("beats_random", scores=lost, against_controls=controlled(("evidence", "random", ""), gap=NAN))
    assert found["verdict"] == "not shown"
    assert found["reason"] == "no value on 2 of 2 images (the map is not finite)"


def test_the_primary_measure_is_a_parameter() -> None:
    table = controlled(("evidence", "random", "worse"), ("road", "random", "better"))
    found = atom("beats_random", against_controls=table, thresholds=Thresholds(measure="road"))
    assert found["verdict"] == "pass"


@pytest.mark.parametrize(
    ("criterion", "metric"),
    [("parameter_randomization", "cascading_ssim_margin"), ("data_randomization", "permuted_ssim_margin")],
)
@pytest.mark.parametrize(("mean", "verdict"), [(0.1, "pass"), (-0.1, "fail"), (0.001, "not shown")])
def test_margins_are_judged_by_their_interval(criterion: str, metric: str, mean: float, verdict: str) -> None:
    found = atom(criterion, scores=around(metric, mean), measures=measures(metric))
    assert found["verdict"] == verdict
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(mean)
    assert math.isnan(found["p"])


def test_each_cascading_margin_is_one_row_and_the_likenesses_are_none() -> None:
    names = ("cascading_ssim", "cascading_ssim_margin", "cascading_hog_margin")
    scores = pd.concat([around(name, 0.2) for name in names])
    rows = atoms("parameter_randomization", scores=scores, measures=measures(*names))
    assert [row["measure"] for row in rows] == list(names[1:])


def test_the_margin_to_be_kept_is_a_parameter() -> None:
    tables = {"scores": around("cascading_ssim_margin", 0.1), "measures": measures("cascading_ssim_margin")}
    found = atom("parameter_randomization", thresholds=Thresholds(randomization_margin=0.2), **tables)
    assert (found["verdict"], found["threshold"]) == ("fail", 0.2)


def test_images_without_a_value_never_pass() -> None:
    metric = "cascading_ssim_margin"
    tables = {"measures": measures(metric)}
    lost = atom("parameter_randomization", scores=score_rows(metric, [NAN] * 3, reason="a map is constant"), **tables)
    assert lost["verdict"] == "not shown"
    assert lost["reason"] == "no value on 3 of 3 images (a map is constant)"
    few = atom("parameter_randomization", scores=score_rows(metric, [0.4, 0.5, NAN, NAN, NAN]), **tables)
    assert few["verdict"] == "not shown"
    assert few["reason"] == "too few images to judge: no value on 3 of 5 images (why)"
    most = atom("parameter_randomization", scores=score_rows(metric, [0.4, 0.5, 0.45, NAN]), **tables)
    assert (most["verdict"], most["reason"]) == ("pass", "no value on 1 of 4 images (why)")


def test_a_single_patient_shows_nothing() -> None:
    metric = "cascading_ssim_margin"
    one = around(metric, 0.5).assign(patient="p0")
    found = atom("parameter_randomization", scores=one, measures=measures(metric))
    assert found["verdict"] == "not shown"
    assert "no interval" in found["reason"]


@pytest.mark.parametrize("kind", ["repeatability", "reproducibility"])
@pytest.mark.parametrize(
    ("numbers", "verdict", "line"),
    [
        ((0.7, 0.6, 0.8, 0.2), "pass", 0.5),
        ((0.55, 0.45, 0.65, 0.2), "not shown", 0.5),
        ((0.3, 0.2, 0.4, 0.1), "fail", 0.5),
        ((0.7, 0.6, 0.8, 0.9), "fail", 0.9),  # two images are more alike than two networks
        ((0.7, 0.6, 0.8, 0.7), "not shown", 0.7),
        ((0.7, 0.6, 0.8, NAN), "not shown", 0.5),
        ((0.3, 0.2, 0.4, NAN), "fail", 0.5),
        ((NAN, NAN, NAN, 0.1), "not shown", 0.5),
        ((0.7, NAN, NAN, 0.1), "not shown", 0.5),
    ],
)
def test_networks_are_judged_by_both_lines(
    kind: str, numbers: tuple[float, float, float, float], verdict: str, line: float
) -> None:
    criterion = {"repeatability": "repeatable", "reproducibility": "reproducible"}
    found = card(networks=networks((kind, "spearman", *numbers), (kind, "ssim", 0.9, 0.9, 0.9, 0.0)))
    by_criterion = found.set_index("criterion")
    row = by_criterion.loc[criterion[kind]]
    assert (row["verdict"], row["threshold"], row["measure"]) == (verdict, line, "spearman")
    assert ("two images" in row["reason"]) == (line > 0.5 or (math.isnan(numbers[3]) and verdict != "fail"))
    other = (set(criterion.values()) - {criterion[kind]}).pop()
    assert "was compared" in by_criterion.loc[other, "reason"]


@pytest.mark.parametrize(
    ("metric", "mean", "verdict"),
    [
        ("flip_consistency", 0.8, "pass"), ("flip_consistency", 0.3, "fail"), ("flip_consistency", 0.5, "not shown"),
        ("max_sensitivity", 0.5, "pass"), ("max_sensitivity", 1.4, "fail"), ("max_sensitivity", 1.0, "not shown"),
    ],
)  # fmt: skip
def test_stability_keeps_the_direction_of_its_measure(metric: str, mean: float, verdict: str) -> None:
    found = atom("stable", scores=around(metric, mean), measures=measures(metric, "flip_overlap"))
    assert (found["verdict"], found["measure"]) == (verdict, metric)


def test_localization_is_judged_against_each_control() -> None:
    metric = "lesion_auprc"
    table = controlled((metric, "random", "better"), (metric, "edge", "worse"), (metric, "center_gaussian", "better"))
    rows = atoms("localizes", against_controls=table, measures=measures(metric))
    assert [(row["measure"], row["verdict"]) for row in rows] == [
        ("lesion_auprc - random", "pass"),
        ("lesion_auprc - edge", "fail"),
        ("lesion_auprc - center_gaussian", "pass"),
    ]
    assert combine(row["verdict"] for row in rows) == "fail"


def test_without_masks_localization_is_not_shown() -> None:
    scores = pd.concat([score_rows("lesion_auprc", [NAN] * 4, m, "no lesion mask")
                        for m in ("gradient", "random", "edge", "center_gaussian")])  # fmt: skip
    rows = atoms("localizes", scores=scores, measures=measures("lesion_auprc"))
    assert {row["verdict"] for row in rows} == {"not shown"}
    assert {row["reason"] for row in rows} == {"no value on 4 of 4 images (no lesion mask)"}


def test_faithfulness_leaves_out_published_curves_and_parts() -> None:
    names = ("evidence", "insertion_gain", "road", "sic_webp", "sic_webp_published", "lesion_auprc")
    table = controlled(*((name, "random", "better") for name in names))
    rows = atoms("faithful", against_controls=table, measures=measures(*names))
    assert [row["measure"] for row in rows] == ["evidence - random", "road - random", "sic_webp - random"]
    assert rows[1]["source"].startswith("Rong et al. 2022")
    assert combine(row["verdict"] for row in rows) == "pass"


@pytest.mark.parametrize(
    ("name", "family", "judged"),
    [
        ("road_most", "faithfulness", False), ("place_rank", "faithfulness", False),
        ("insertion_mean", "faithfulness", True), ("sic_mean", "information", False),
        ("aic_entropy", "information", False), ("aic_webp", "information", True), ("gini", "complexity", False),
    ],
)  # fmt: skip
def test_which_measures_speak_to_faithfulness(name: str, family: Family, judged: bool) -> None:
    assert judges_faithfulness(name, Measure(name, True, (0, 1), "", family)) is judged


@pytest.mark.parametrize(("seconds", "verdict"), [(20.0, "pass"), (100.0, "pass"), (101.0, "fail"), (NAN, "not shown")])
def test_time_is_judged_an_image_of_the_method_alone(seconds: float, verdict: str) -> None:
    found = atom("affordable", timings=timings(seconds, images=10))
    assert (found["verdict"], found["threshold"]) == (verdict, 10)
    assert found["value"] == pytest.approx(seconds / 10, nan_ok=True)


def test_a_card_of_several_methods_judges_each_by_its_own_numbers() -> None:
    metric = "flip_consistency"
    scores = pd.concat([around(metric, 0.9, "gradient"), around(metric, 0.1, "grad_cam")])
    alone = atom("stable", scores=scores, measures=measures(metric))
    both = card(["grad_cam", "gradient"], scores=scores, measures=measures(metric))
    stable = both[both["criterion"] == "stable"].set_index("method")
    assert dict(stable["verdict"]) == {"grad_cam": "fail", "gradient": "pass"}
    assert (stable.loc["gradient", "low"], stable.loc["gradient", "high"]) == (alone["low"], alone["high"])


@given(st.floats(-2, 2), st.just(0.0) | st.floats(1e-6, 1), st.floats(-2, 2), st.booleans())
def test_a_verdict_turns_with_the_direction(low: float, width: float, threshold: float, higher: bool) -> None:
    verdict = judge(low, low + width, threshold, higher_is_better=higher)
    assert judge(-low - width, -low, -threshold, higher_is_better=not higher) == verdict
    if low <= threshold <= low + width or width <= 1e-12:
        assert verdict == "not shown"
    elif (low > threshold) == higher:
        assert verdict == "pass"
    else:
        assert verdict == "fail"


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_patients_who_all_agree_show_nothing_of_others(value: float) -> None:
    scores = score_rows("flip_consistency", [value] * 12)
    found = atom("stable", scores=scores, measures=measures("flip_consistency"))
    assert (found["verdict"], found["value"], found["threshold"]) == ("not shown", pytest.approx(value), 0.5)
    assert found["reason"] == "there is no spread, so the interval has no width"
    one_differs = score_rows("flip_consistency", [value] * 12 + [value + 0.01])
    found = atom("stable", scores=one_differs, measures=measures("flip_consistency"))
    assert found["verdict"] == ("pass" if value > 0.5 else "fail")


def test_two_networks_alike_on_all_patients_show_nothing_of_others() -> None:
    found = atom("repeatable", networks=networks(("repeatability", "spearman", 1.0, 1.0, 1.0, 0.2)))
    assert (found["verdict"], found["reason"]) == ("not shown", "there is no spread, so the interval has no width")


def test_an_undefined_interval_shows_nothing() -> None:
    assert judge(NAN, NAN, 0.0) == "not shown"


@given(st.lists(st.sampled_from(["pass", "fail", "not shown"])))
def test_verdicts_combine_to_the_worst_that_was_shown(verdicts: list[str]) -> None:
    combined = combine(verdicts)
    assert (combined == "fail") == ("fail" in verdicts)
    assert (combined == "pass") == (bool(verdicts) and all(verdict == "pass" for verdict in verdicts))


@pytest.mark.parametrize(
    "wrong",
    [
        {"measure": ""}, {"localization": ""}, {"likeness": "pearson"}, {"randomization_margin": NAN},
        {"randomization_margin": 3.0}, {"repeatability": 1.0}, {"reproducibility": -1.5}, {"stability": NAN},
        {"max_sensitivity": 0.0}, {"seconds": math.inf}, {"defined": 1.5},
    ],
)  # fmt: skip
def test_thresholds_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    (field,) = wrong
    with pytest.raises(MedsaliencyError, match=field):
        Thresholds(**wrong)
