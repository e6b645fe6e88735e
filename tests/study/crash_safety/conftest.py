"""A small study, what it gives undisturbed, and disks on which it is disturbed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from medsaliency.study.config import Study, load_study
from medsaliency.study.pipeline import run_study

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def one_thread_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study in a process of its own trains as one does here: with as many threads, which its sums depend on."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="session")
def runs() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("killed_runs")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="session")
def config(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(runs.STUDY)
    return path


@pytest.fixture(scope="session")
def study(config: Path) -> Study:
    return load_study(config)


@pytest.fixture(scope="session")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(study, tmp_path_factory.mktemp("undisturbed") / "run").path


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run, to be spoiled."""
    shutil.copytree(undisturbed, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes; skipped where that is not allowed, but not in continuous integration as root."""
    place = tmp_path / "disk"
    place.mkdir()
    made = []

    def mount(size: int) -> Path:
        found = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True
        )
        if found.returncode:
            if os.environ.get("CI") and os.geteuid() == 0:
                pytest.fail(f"no disk could be mounted: {found.stderr}")
            pytest.skip(f"a small disk can be mounted by root alone: {found.stderr.strip()}")
        made.append(place)
        return place

    yield mount
    for each in made:
        subprocess.run(["umount", "--lazy", str(each)], check=True)
