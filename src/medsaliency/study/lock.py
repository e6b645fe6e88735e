"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medsaliency.types import MedsaliencyError

LOCK = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process.

    The system's own lock of a file is taken, which goes with the process however it ends: none is left behind.

    Raises:
        MedsaliencyError: If another process holds it, or nothing can be written into it.
    """
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MedsaliencyError(
            f"{folder}: expected a folder that can be written to, got: {error.strerror}; make it writable, or choose "
            "another --output"
        ) from error
    try:
        if not _take(handle):
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            raise MedsaliencyError(
                f"{folder}: expected a run that no other process works on, process {holder} does; wait for it or stop "
                "it, or choose another --output"
            )
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        try:
            yield
            os.ftruncate(handle, 0)
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # also where a child that is just being started still has the file
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
