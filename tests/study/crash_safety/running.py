"""What tests of crash safety share: the command line run here, and what is looked at afterwards."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medsaliency import cli
from medsaliency.types import MedsaliencyError


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["medsaliency", *map(str, arguments)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def patience() -> float:
    """Seconds in which a study has to end: five, and as much longer as other work takes the cores from it."""
    return 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def stopped_by(work: Callable[[], object]) -> OSError | MedsaliencyError | None:
    """What the command line tells in one line, where the work ends by it; None where it does not."""
    try:
        work()
    except (OSError, MedsaliencyError) as error:
        return error
    return None


def size_of(folder: Path) -> int:
    """Bytes that the files of a folder take on a disk with blocks of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
