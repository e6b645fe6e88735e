"""One process at a time in a run folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medsaliency.study.lock import LOCK, locked
from medsaliency.types import MedsaliencyError

HOLD = """
import sys, time
from pathlib import Path
from medsaliency.study.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_one_is_refused_and_told_which_process_has_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(MedsaliencyError, match=f"process {os.getpid()} does") as refused, locked(tmp_path):
            raise AssertionError("held twice")
        assert "\n" not in str(refused.value)
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert (tmp_path / LOCK).read_text() == ""


def test_an_error_within_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(MedsaliencyError, match=f"process {other.pid} does"), locked(tmp_path):
            raise AssertionError("held twice")
        other.kill()
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_child_that_outlives_the_run_does_not_hold_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        child = subprocess.Popen(["/bin/sleep", "600"], close_fds=False)
    try:
        with locked(tmp_path):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("medsaliency.study.lock.os.open", refuse)
    said = "expected a folder that can be written to, got: Read-only"
    with pytest.raises(MedsaliencyError, match=said) as refused, locked(tmp_path):
        raise AssertionError("held")
    assert "\n" not in str(refused.value)
