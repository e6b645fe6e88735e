"""The page of files that no one here wrote is what its command makes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def command() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("dicom_files")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_page_is_what_the_command_makes(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dicom_files.py", str(tmp_path / "page.md")])
    command.main()
    assert (tmp_path / "page.md").read_text() == command.PAGE.read_text(), "run python benchmarks/dicom_files.py"


def test_every_dicom_file_of_both_packages_is_in_it_once(command: ModuleType) -> None:
    names = [name for name, _ in command.files()]
    assert len(names) == len(set(names)) == 260
    page = command.PAGE.read_text()
    shared = sum(int(line.split()[1]) for line in page.splitlines() if line.startswith("| ") and " files of `" in line)
    assert sum(f"| `{name}` |" in page for name in names) + shared == len(names)
