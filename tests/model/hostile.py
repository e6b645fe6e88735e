"""What tests of hostile checkpoints share: a checkpoint, and what it is to be refused."""

from __future__ import annotations

import pickle
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medsaliency.types import MedsaliencyError

SECONDS, BYTES = 5.0, 256 << 20
"""Limits of one refusal: seconds of the processor, and memory, which a network's own first use takes some of."""


class Harmful:
    """Runs code where it is unpickled in the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def assert_refused(folder: Path, *words: str) -> Iterator[None]:
    """What is in the block is refused: with these words, in a line, soon, in little memory, and nothing is written."""
    outside = folder.parents[1]
    before = sorted((path, path.lstat().st_mtime_ns) for path in outside.rglob("*"))
    Path("/proc/self/clear_refs").write_text("5")
    memory, begin = peak(), time.process_time()
    with pytest.raises(MedsaliencyError) as error:
        yield
    assert time.process_time() - begin < SECONDS
    assert peak() - memory < BYTES
    said = str(error.value)
    assert said.isprintable(), said
    assert len(said) < 2000
    for word in words:
        assert word in said
    assert sorted((path, path.lstat().st_mtime_ns) for path in outside.rglob("*")) == before


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
