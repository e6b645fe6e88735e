"""Which methods are called reliable."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.report.findings import SUMMARY, findings
from medsaliency.report.verdicts import criteria, relied_on
from medsaliency.statistics.trust import CRITERIA

from .made import METHODS, in_short, made, of, said, trusted


def named(text: str, start: str) -> list[str]:
    """Which methods stand in the sentence that begins with ``start``."""
    sentences = [part for part in re.split(r"(?<=\.)\s", text) if part.startswith(start)]
    return [m for m in METHODS if re.search(rf"\b{m}\b", " ".join(sentences))]


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
