"""Mutants of test files are read or refused, and the harness that says so sees what must not happen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from medsaliency.types import generator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def hostile() -> Iterator[ModuleType]:
    # The reading processes import the module by its name.
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module("hostile_files")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def reader(hostile: ModuleType) -> Iterator[Any]:
    made = hostile.Reader()
    made._ready()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("self-test hang", "hang"),
        ("self-test crash", "crash"),
        ("self-test memory", "memory"),
        ("self-test write", "wrote"),
        ("self-test raise", "raised ZeroDivisionError"),
    ],
)
def test_what_must_not_happen_is_seen(
    hostile: ModuleType, reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, outcome: str
) -> None:
    if outcome == "hang":
        monkeypatch.setattr(hostile, "SECONDS", 1.0)
    path = tmp_path / "file"
    path.write_bytes(b"x")
    found = reader.read(path, kind)
    assert found[0] == outcome
    assert hostile.Outcome("file", 0, "none", *found).fault


def test_pixels_that_are_no_image_are_seen(hostile: ModuleType) -> None:
    good = np.full((1, 4, 4), 0.5, np.float32)
    assert hostile._wrong(good) == ""
    for bad in (good * 3, good.astype(np.float64), good[0], good[:, :0], np.full_like(good, np.nan), good - 1):
        assert hostile._wrong(bad) != ""


def test_a_mutant_is_made_again_by_its_number_and_is_another_file(hostile: ModuleType) -> None:
    files = hostile.seeds()
    assert len(files["dicom"]) > 150
    assert len(files["nifti"]) >= 5
    changed = 0
    for number in range(120):
        kind = ("dicom", "nifti")[number % 2]
        file = files[kind][number % len(files[kind])]
        one, other = (
            hostile.mutate(file.read_bytes(), kind, files[kind], generator(0, "mutant", str(number))) for _ in range(2)
        )
        assert one == other
        changed += one[1] != file.read_bytes()
    assert changed >= 110


def test_mutants_are_read_or_refused(hostile: ModuleType) -> None:
    found = hostile.run(120, seed=1)
    faults = [outcome for outcome in found if outcome.fault]
    assert faults == []
    assert {outcome.kind for outcome in found} == {"read", "refused"}
    assert [outcome.number for outcome in found] == list(range(120))
    assert "faults 0" in hostile.table(found)
