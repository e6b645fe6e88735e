"""What is said of runs side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medsaliency.report.comparison import Comparison

from .made import METHODS, differences, said, trust


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("higher", "B is more accurate than A on the same images: B less A is 10.0 percentage points (6.0 to 14.0)"),
        ("lower", "A is more accurate than B on the same images: B less A is −10.0 percentage points (−14.0 to −6.0)"),
        ("not shown", "Neither of A and B is shown to be more accurate"),
    ],
)
def test_the_better_model_is_named_as_the_numbers_say(comparison: Comparison, verdict: str, text: str) -> None:
    found = said(replace(comparison, differences=differences(accuracy=verdict)), "Models")
    assert found[0].startswith(text)
    assert ("one of 5.0 would have been shown" in found[0]) == (verdict == "not shown")
    assert "0.700 [0.650, 0.750] in C. It was not tested between runs of other images." in found[1]


def test_methods_follow_their_verdicts(comparison: Comparison) -> None:
    evidence = said(comparison, "Methods")[0]
    assert evidence == (
        "Evidence, from A to B (higher is better): higher for Grad-CAM; lower for Gradient; no difference shown for "
        "RISE (a difference of 0.050 would have been shown)."
    )
    turned = differences({("evidence", "grad_cam"): "lower", ("evidence", "gradient"): "higher"})
    other = said(replace(comparison, differences=turned), "Methods")[0]
    assert "higher for Gradient; lower for Grad-CAM" in other
    assert all(", from A to B (" in text for text in said(comparison, "Methods")), "C was not tested"


def test_controls_are_no_finding(comparison: Comparison) -> None:
    told = differences({("evidence", "random"): "higher"})
    assert not any("Random" in text for text in said(replace(comparison, differences=told), "Methods"))


def test_what_may_be_relied_on_in_every_run_and_in_some(comparison: Comparison) -> None:
    assert said(comparison, "Relied on") == [
        "In every run Grad-CAM beats random maps on Evidence and fails no criterion.",
        "In A and C only: Gradient.",
        "In B and C only: RISE.",
    ]
    never = dict.fromkeys("ABC", dict.fromkeys([(method, "beats_random") for method in METHODS[:3]], "fail"))
    assert said(replace(comparison, trust=trust(**never)), "Relied on") == [
        "No method beats random maps on Evidence and fails no criterion in every run."
    ]
    once = {run: {("rise", "stable"): "fail"} for run in "ABC"}
    assert said(replace(comparison, trust=trust(**once)), "Relied on")[-1] == "In no run: RISE."


def test_a_control_that_is_not_shown_to_be_beaten_is_enough_not_to_be_relied_on(comparison: Comparison) -> None:
    both = replace(comparison, controls=frozenset({"random", "edge"}))
    assert said(both, "Relied on") == [
        "No method beats random maps and the edge map on Evidence and fails no criterion in every run."
    ]


def test_contradictions_of_the_cards_are_named_and_silence_is_no_agreement(comparison: Comparison) -> None:
    (text,) = said(comparison, "Trust cards")
    assert "Of 6 cells" in text, "three methods x two criteria; of stable nothing is shown in any run"
    assert "same verdict in 4." in text
    assert "contradict each other, pass against fail, on “localizes” of RISE" in text
    (plain,) = said(replace(comparison, trust=trust()), "Trust cards")
    assert "same verdict in 6." in plain
    assert "contradict" not in plain


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.1, 0.9, "carries over on"), (-0.9, -0.1, "is turned around on"), (-0.1, 0.9, "is not shown to carry over on")],
)
def test_the_ranking_is_told_as_its_interval_says(comparison: Comparison, low: float, high: float, text: str) -> None:
    rankings = comparison.rankings.assign(tau=(low + high) / 2, low=low, high=high)
    told = said(replace(comparison, rankings=rankings), "Ranking")
    assert [sentence.startswith(f"Between {run} the ranking of methods {text}") for run, sentence in zip(
        ("A and B", "A and C", "B and C"), told, strict=True)] == [True] * 3  # fmt: skip
