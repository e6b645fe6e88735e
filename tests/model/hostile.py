"""What tests of hostile checkpoints share: a checkpoint, and what it is to be refused."""

from __future__ import annotations

import pickle
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medsaliency.study.usage import resident, watched
from medsaliency.types import MedsaliencyError

SECONDS, BYTES = 30.0, 256 << 20
"""Limits of one refusal, far below what a bomb takes: seconds of the processor, of which counting the lines that run
takes most, and memory, which a network's own first use takes some of."""


class Harmful:
    """Runs code where it is unpickled in the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@contextmanager
def assert_refused(folder: Path, *words: str) -> Iterator[None]:
    """What is in the block is refused: with these words, in a line, soon, in little memory, and nothing is written."""
    outside = folder.parents[1]
    before = sorted((path, path.lstat().st_mtime_ns) for path in outside.rglob("*"))
    held, begin = resident("VmRSS"), time.process_time()
    with watched() as peak, pytest.raises(MedsaliencyError) as error:
        yield
    assert time.process_time() - begin < SECONDS
    assert held is not None
    assert peak.resident is not None
    assert peak.resident - held < BYTES
    said = str(error.value)
    assert said.isprintable(), said
    assert len(said) < 2000
    for word in words:
        assert word in said
    assert sorted((path, path.lstat().st_mtime_ns) for path in outside.rglob("*")) == before


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
