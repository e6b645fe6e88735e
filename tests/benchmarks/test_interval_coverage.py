"""The simulation of intervals knows its truth, and its numbers come from the intervals that studies use."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medsaliency.statistics.bootstrap import mean_interval

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("interval_coverage")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("alike", [0.0, 0.8])
@pytest.mark.parametrize("shape", range(8))
def test_the_truth_is_the_mean_of_what_is_drawn(coverage: ModuleType, shape: int, alike: float) -> None:
    made = coverage.SHAPES[shape]
    values = coverage.draw(
        coverage.Cell(made.name, 20_000, alike), np.arange(20_000).repeat(2), np.random.default_rng(1), 5
    )
    error = values[::2].std() / np.sqrt(50_000)
    assert values.mean() == pytest.approx(made.truth, abs=4 * error)
    if shape == 0:
        assert np.corrcoef(values[::2].ravel(), values[1::2].ravel())[0, 1] == pytest.approx(alike, abs=0.02)
        assert values.std() == pytest.approx(1, abs=0.02)


def test_ours_are_the_intervals_of_studies(coverage: ModuleType) -> None:
    patient = np.repeat(np.arange(15), np.arange(15) % 4 + 1)
    values = np.random.default_rng(2).gamma(1, size=(len(patient), 3))
    found = coverage.intervals(values, patient, 7)
    for column in range(3):
        expected = mean_interval(values[:, column], patient, np.random.default_rng(7))
        assert [limit[column] for limit in found["ours"]] == pytest.approx([expected.low, expected.high], rel=1e-9)
        widths = {name: high[column] - low[column] for name, (low, high) in found.items()}
        assert widths["ours"] > widths["bca"]


def test_thirty_unequal_patients_are_covered(coverage: ModuleType) -> None:
    found = coverage.measure(coverage.Cell("skewed, beta(1, 4)", 30, 0.8), 1000, 0)
    assert found["repetitions"] == 1000
    assert 0.93 <= found["ours"]["coverage"] <= 0.97
    assert found["percentile"]["coverage"] < found["ours"]["coverage"] - 0.02
    missed = found["ours"]["too_high"] + found["ours"]["too_low"]
    assert missed == pytest.approx(1 - found["ours"]["coverage"])
    assert 0.002 < found["ours"]["error"] < 0.02
    within = coverage.measure(coverage.Cell("normal", 30, 0.4, stratified=True), 500, 0)
    assert within["ours"]["coverage"] > 0.93


def test_the_page_is_made_of_the_numbers(coverage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [cell for cell in coverage.cells() if cell.shape == "normal" or cell.patients == 10]
    monkeypatch.setattr(coverage, "cells", lambda: few)
    page, numbers = tmp_path / "page.md", tmp_path / "new" / "numbers.json"
    page.write_text(f"Before.\n{coverage.BEGIN}\nold\n{coverage.END}\nAfter.\n")
    coverage.main(["--repetitions", "100", "--json", str(numbers), "--page", str(page)])
    found = json.loads(numbers.read_text())
    assert [cell["shape"] for cell in found["cells"]] == [cell.shape for cell in few]
    text = page.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    for cell in found["cells"]:
        assert f"{100 * cell['ours']['coverage']:.1f} ± {100 * cell['ours']['error']:.1f}" in text
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("|---"):
            assert line.count("|") == lines[at - 1].count("|") == lines[at + 1].count("|")


def test_every_cell_of_the_page_can_be_drawn(coverage: ModuleType) -> None:
    made = list(coverage.cells())
    assert len(set(made)) == len(made)
    rng = np.random.default_rng(0)
    for cell in made:
        patient = np.repeat(np.arange(cell.patients), coverage.SIZES[cell.sizes](rng, cell.patients))
        assert np.isfinite(coverage.draw(cell, patient, rng, 2)).all()
