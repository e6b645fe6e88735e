"""How methods compare with controls and with each other, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.report.findings import findings
from medsaliency.types import Measure

from .made import CONTROLS, METHODS, NAN, VERDICTS, controlled, friedman, in_short, made, of, pairs, said, table

WORDS = {"random": "random maps", "edge": "the edge map"}


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


def ranked(order: Sequence[str]) -> pd.DataFrame:
    return table("ranks", [("evidence", m, float(i + 1)) for i, m in enumerate(order)])


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
