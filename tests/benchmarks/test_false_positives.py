"""The simulated studies of the comparison: nothing differs where it must not, and each table is counted right."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medsaliency.types import generator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("false_positives")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def small(simulation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Four methods, one metric, few permutations."""
    for name, value in {"METHODS": 4, "METRICS": 1, "PERMUTATIONS": 3999}.items():
        monkeypatch.setattr(simulation, name, value)
    return simulation


@pytest.mark.parametrize("shape", ["normal", "skewed", "hit or miss"])
def test_methods_controls_and_draws_have_one_distribution(simulation: ModuleType, shape: str) -> None:
    study = simulation.simulate(generator(0, "test"), shape, 3000)
    values = np.concatenate([study.own, study.edge, study.random], axis=2)
    means = study.patient_means(values)
    spread = means.std(axis=1, keepdims=True) / np.sqrt(means.shape[1])
    assert (np.abs(means.mean(axis=1, keepdims=True) - means.mean()) < 5 * spread).all()
    np.testing.assert_allclose(values.std(axis=1), values.std(), rtol=0.2)
    assert (len(np.unique(values)) == 2) == (shape == "hit or miss")


def test_images_of_a_patient_methods_and_metrics_are_alike_and_patients_unequal(simulation: ModuleType) -> None:
    study = simulation.simulate(generator(1, "test"), "normal", 3000)
    assert set(np.bincount(study.owner)) == set(simulation.SIZES)
    first = np.flatnonzero(np.diff(study.owner, prepend=-1))
    second = first[np.bincount(study.owner) > 1] + 1
    away = study.own - study.edge
    assert np.corrcoef(away[0, second - 1, 0], away[0, second, 0])[0, 1] > 0.3
    alike = np.corrcoef(study.own[0, :, 0], study.own[0, :, 1])[0, 1]
    unlike = np.corrcoef(study.own[0, :, 0], study.own[0, :, 2])[0, 1]
    assert alike > unlike + 0.05
    assert np.corrcoef(study.own[0, :, 0], study.own[1, :, 0])[0, 1] > 0.3


def test_patient_means_by_hand(simulation: ModuleType) -> None:
    values = np.arange(8.0).reshape(1, 4, 2)
    study = simulation.Simulated(values, values, values, np.array([0, 1, 1, 1]))
    assert study.patient_means(values).tolist() == [[[0, 1], [4, 5]]]


def test_a_large_effect_is_shown_and_belongs_to_the_first_method(
    simulation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "EFFECT", 6.0)
    row = simulation.effect_cell("normal", 30, 2)
    assert row["pairs_shown"]["share"] == row["controls_shown"]["share"] == 1
    assert row["false_in_controls"]["share"] <= 0.5


def test_what_is_detectable_against_a_control_is_shown_or_cannot_be_said(small: ModuleType) -> None:
    row = small.control_cell("normal", 25, "random", 3)
    assert row["studies"] == 3
    assert row["shown"]["share"] > 0.3
    assert 0.5 < row["detectable"] < 2.5
    few = small.control_cell("normal", 8, "edge", 1)
    assert (few["studies"], few["detectable"]) == (0, None)


def test_a_statement_is_counted_wherever_it_is_made(simulation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([["not shown"], ["not shown", "worse"]])
    monkeypatch.setattr(simulation, "pair_statements", lambda _: ([], [["not shown", "not shown"]]))
    monkeypatch.setattr(simulation, "control_statements", lambda *_: [next(said)])
    row = simulation.null_cell("normal", 10, 2)
    assert {key: row[key]["share"] for key in ("pairs", "controls", "both")} == {
        "pairs": 0,
        "controls": 0.5,
        "both": 0.5,
    }
    assert row["both"]["error"] == pytest.approx(0.5)


def test_all_tables_are_put_between_the_marks_of_the_page(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "SHAPES", {"hit or miss": small.SHAPES["hit or miss"]})
    found = small.measure(2, patients=(12,))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{small.BEGIN}\nold\n{small.END}\nafter\n")
    small.write_page(found, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    for title, columns in small.TABLES.values():
        assert title in text
        assert all(name in text for name in columns.values())
    assert text.count("| hit or miss | 12 |") == 6
