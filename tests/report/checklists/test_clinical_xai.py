from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report.checklists.clinical_xai import clinical_xai
from medsaliency.report.checklists.item import Item
from medsaliency.report.contents import COLUMNS, Contents


def items(contents: Contents) -> Mapping[str, Item]:
    return {item.number: item for item in clinical_xai(contents).items}


def test_the_five_guidelines_are_there(informed: Contents) -> None:
    assert [item.topic for item in clinical_xai(informed).items] == [
        "Understandability", "Clinical relevance", "Truthfulness", "Informative plausibility",
        "Computational efficiency",
    ]  # fmt: skip


def test_what_only_clinical_users_can_say_stays_open(informed: Contents) -> None:
    found = items(informed)
    for number in ("G1", "G2", "G4", "G5"):
        assert found[number].missing, number
    assert found["G2"].status == "gap"


def test_truthfulness_counts_the_verdicts_of_the_card(informed: Contents) -> None:
    item = items(informed)["G3"]
    assert "parameter randomization: pass 5, fail 1" in item.known
    assert item.status == "partly", "faithfulness has no verdict here"
    rows = [
        (method, criterion, verdict, "", 0.0, 0.0, 0.0, 0.0, 0.0, "", "")
        for method, verdict in (("gradient", "fail"), ("grad_cam", "pass"))
        for criterion in ("faithful", "parameter_randomization")
    ]
    settled = replace(informed.inference, trust=pd.DataFrame(rows, columns=COLUMNS["trust"].split()))
    found = items(replace(informed, inference=settled))["G3"]
    assert found.status == "filled"
    assert "faithful: pass 1, fail 1" in found.known


@pytest.mark.parametrize(("p", "words"), [(0.01, "differs between right and wrong"), (0.4, "was not shown to differ")])
def test_plausibility_follows_the_corrected_p(informed: Contents, p: float, words: str) -> None:
    row = {"metric": "lesion_auprc", "term": "correct", "p": p / 3, "p_corrected": p, "images": 60, "patients": 30}
    terms = pd.DataFrame([row], columns=COLUMNS["mixed_terms"].split())
    found = items(replace(informed, inference=replace(informed.inference, mixed_terms=terms)))["G4"]
    assert words in found.known
    assert "60 images" in found.known


def test_efficiency_names_the_fastest_and_the_slowest_method_and_no_control(informed: Contents) -> None:
    known = items(informed)["G5"].known
    assert "0.007 (Gradient) to 0.148 (Score-CAM)" in known
    assert "no GPU" in known
