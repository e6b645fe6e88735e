"""Fuzzed inputs are read or refused, and the harness that says so sees what must not happen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from medsaliency.types import MedsaliencyError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = (
    "manifest", "study", "options", "checkpoint", "safetensors", "pickle", "explanation", "nifti", "itk", "picture",
    "dicom", "report",
)  # fmt: skip
ROUND = {"checkpoint": 100, "report": 20}
"""Runs of the targets that take long, in place of 200."""


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module("fuzz")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def targets(fuzz: ModuleType) -> ModuleType:
    return import_module(fuzz.Target.__module__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("raise", "raised ZeroDivisionError"),
        ("lines", "error not of one line"),
        ("write", "wrote"),
        ("remove", "wrote"),
        ("wrong", "wrong"),
        ("hang", "hang"),
        ("crash", "crash, exit code"),
        ("memory", "memory"),
    ],
)
def test_what_must_not_happen_is_seen_and_its_input_is_kept(
    fuzz: ModuleType, tmp_path: Path, name: str, kind: str
) -> None:
    row = fuzz.fuzz(f"self-test {name}", runs=1, seconds=30, output=tmp_path)
    assert row.faults == row.executions > 0, "the empty input counts, which is always given first"
    found = next(each for each in row.found if each["kind"].startswith(kind))
    assert (tmp_path / f"self-test-{name}" / found["input"]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_read_or_refused(fuzz: ModuleType, tmp_path: Path, name: str) -> None:
    runs = ROUND.get(name, 200)
    row = fuzz.fuzz(name, runs=runs, seconds=120, output=tmp_path, seed=1)
    assert row.found == []
    assert row.faults == 0
    assert row.executions >= runs
    assert row.read > 0
    assert row.refused > 0 or name == "report"
    assert row.read + row.refused == row.executions
    assert row.edges > 10
    assert list(tmp_path.iterdir()) == []
    assert f"{row.executions:,}" in fuzz.table([row])


def test_every_target_has_seeds_that_are_read(targets: ModuleType, tmp_path: Path) -> None:
    assert set(NAMES) == set(targets.TARGETS) - set(targets.SELF_TESTS)
    for name in NAMES:
        target, read = targets.TARGETS[name], 0
        seeds = target.seeds()
        for seed in seeds[:4]:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            try:
                target.read(seed, folder)
            except MedsaliencyError:
                continue
            read += 1
        assert read >= min(2, len(seeds[:4])), name


def test_markup_that_comes_from_a_name_is_seen(fuzz: ModuleType) -> None:
    del fuzz  # by which the module is found
    structure = import_module("fuzz_report").structure
    plain = structure("<p title='name'>name</p>")
    assert structure("<p title='&lt;b&gt;'>&lt;b&gt; other</p>") == plain
    for page in (
        "<p title='name'><b>name</b></p>",
        "<p title='name' onclick='x'>name</p>",
        "<p title='name'>name<!-- --></p>",
        "<p title='name'>name</p></p>",
        "<p title='name'>name<img src=x></p>",
    ):
        assert structure(page) != plain


def test_an_unknown_target_is_refused_in_one_line(fuzz: ModuleType) -> None:
    command = [sys.executable, str(Path(str(fuzz.__file__))), "--targets", "manifesto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fuzz: expected targets among manifest, study")
    assert len(done.stderr.splitlines()) == 1


def test_rows_are_written_as_they_are_told(fuzz: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(str(fuzz.__file__))), "--targets", "self-test lines", "--runs", "2"]
    command += ["--output", str(tmp_path / "kept"), "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "a fault"
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["faults"] == row["executions"] >= 2
    assert "self-test lines: error not of one line" in done.stdout
