"""What is said of a planted shortcut."""

from __future__ import annotations

from typing import Any

import pytest

from medsaliency.report.findings.finding import UNCHECKED

from .made import in_short, made, of, said, table


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
