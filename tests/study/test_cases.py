"""Which images a report shows, and that its strips are what the model saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsaliency.model import checkpoint
from medsaliency.study.cases import Strips, cases_of, choose
from medsaliency.study.config import load_study
from medsaliency.study.store import Store

CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.95, 0.6, 0.85, 0.75, 0.65, 0.99, 0.55, 0.51, 0.97])
NAMES = [f"s{i:02d}" for i in range(12)]
PREDICTIONS = pd.DataFrame(
    {"label": 0, "predicted": [0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1], "p_0": CONFIDENCE, "p_1": 1 - CONFIDENCE},
    index=pd.Index(NAMES, name="sample"),
)
VALUES = pd.Series(np.arange(12.0), index=NAMES)


def test_cases_are_the_best_the_middle_the_worst_errors_and_the_rest_by_chance() -> None:
    why = choose(PREDICTIONS, VALUES, "evidence", 12, seed=0)
    by_rule: dict[str, list[str]] = {}
    for name, rule in why.items():
        by_rule.setdefault(rule, []).append(name)
    assert by_rule["highest evidence"] == ["s11", "s10"]
    assert sorted(by_rule["closest to the median evidence"]) == ["s05", "s06"]
    assert by_rule["lowest evidence"] == ["s00", "s01"]
    assert by_rule["error, the most confident first"] == ["s08", "s02", "s04"], "s11 is there already"
    assert sorted(why) == NAMES, "as many as asked, none twice"


def test_the_choice_depends_on_the_seed_where_chance_decides_and_not_elsewhere() -> None:
    chosen = [choose(PREDICTIONS, VALUES, "evidence", 9, seed) for seed in (0, 1, 2)]
    assert chosen[0] == choose(PREDICTIONS[::-1], VALUES[::-1], "evidence", 9, 0)
    fixed = [[name for name, rule in why.items() if rule != "chosen at random"] for why in chosen]
    assert fixed[0] == fixed[1] == fixed[2]
    assert len({frozenset(why) for why in chosen}) > 1


@pytest.mark.parametrize("most", [1, 2, 5, 12, 40])
def test_there_are_never_more_than_asked_or_there_are(most: int) -> None:
    assert len(choose(PREDICTIONS, VALUES, "evidence", most, 0)) == min(most, 12)


def test_an_image_without_a_value_is_chosen_for_other_reasons_only() -> None:
    why = choose(PREDICTIONS, VALUES.where(VALUES != 11), "evidence", 12, 0)
    assert why["s11"] == "error, the most confident first"


def test_strips_show_what_the_model_saw(small_run: Store, small_path: Path) -> None:
    study = load_study(small_path / "study.yaml")
    classifier = checkpoint.load(small_path / "model")
    cases = cases_of(small_run, study, 4)
    methods = {strip.method for case in cases for strip in case.strips}
    assert "random" in methods
    assert len(methods) >= 2
    for case in cases:
        for strip in case.strips:
            said = classifier.probabilities(torch.from_numpy(strip.pictures))[:, case.target]
            np.testing.assert_allclose(said.numpy(), strip.scores, atol=0.02)
            shown = (strip.pictures == case.image).all(axis=1).mean(axis=(1, 2))
            assert (shown >= np.round(np.array(strip.shares) * 64**2) / 64**2).all()


def test_without_evidence_curves_there_is_no_strip(small_run: Store) -> None:
    study = load_study(small_run.path / "study.yaml", ["evaluate.metrics=[pointing_game]"])
    assert list(Strips(small_run, study)("any", np.zeros((1, 4, 4), np.float32), {})) == []


def test_cases_carry_calibrated_outputs_of_the_same_order(small_run: Store) -> None:
    study = load_study(small_run.path / "study.yaml")
    for case in cases_of(small_run, study, 3):
        assert case.calibrated is not None
        assert case.calibrated.sum() == pytest.approx(1, abs=1e-5)
        assert case.calibrated.argmax() == case.probabilities.argmax()
