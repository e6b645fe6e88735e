"""What is said not to have been shown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from medsaliency.report.findings.finding import UNCHECKED
from medsaliency.types import Measure

from .made import METHODS, controlled, made, of, pairs, said, trusted


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
    page = (Path(__file__).parents[3] / "docs/explanation/intervals.md").read_text(encoding="utf-8")
    simulated = [int(many) for many in re.findall(r"(\d+) patients \|", page)]
    assert min(simulated) == UNCHECKED


def test_criteria_that_nobody_is_shown_on_are_named() -> None:
    card = {m: {"beats_random": "pass", "stable": "not shown", "repeatable": "not shown"} for m in METHODS}
    text = said(made(trust=trusted(card)), "Criteria left open")
    assert text.startswith("These criteria give no method a pass or a fail: stable and repeatable.")
