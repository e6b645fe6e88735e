"""The log of a run folder: one event a line, as JSON, that a killed process cannot spoil."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import torch

from medsaliency.study.profiling import Trace
from medsaliency.study.provenance import LIBRARIES
from medsaliency.study.store import plain
from medsaliency.study.usage import cpu_seconds, watched

NAME = "log.jsonl"
"""Of the log within a run folder."""
EVENTS = {
    "created": ("run",),
    "start": ("versions", "seed", "engine", "workers", "threads", "pid"),
    "stage": (
        *("name", "seconds", "cpu_seconds", "peak_bytes", "cuda_peak_bytes", "cuda_device"),
        *("failed", "error"),
    ),
    "shard": ("number", "images", "computed", "seconds", "peak_bytes", "worker"),
    "failure": ("stage", "sample", "kind", "name", "method"),
    "stale": ("what",),
    "damaged": ("file",),
    "mlflow": ("run_id",),
    "end": ("status", "seconds", "error"),
}
"""Every event and its fields, beside ``time`` and ``event``.

Logs are collected and passed on. So none holds an id of an image or patient, nor the text of an error, which may name a
file: an image is its row in ``splits.csv``, from 0.
"""


class Log:
    """Appends events to a log, each by one write of a whole line.

    Whatever was there is kept; a line that was cut short is ended first, so that the next event is a line of its own.

    Args:
        path: The file; its folder must exist.
        trace: Is also told of every stage.

    Attributes:
        run: What the run folder is known by, whatever it is called and wherever it lies: a random text, drawn with the
            first event of its log.
        seconds: Wall clock of the stages that this object has measured, by name, those of one name added up.

    Raises:
        OSError: If the file cannot be opened or written, here and in every method.
    """

    def __init__(self, path: Path, trace: Trace | None = None) -> None:
        self.path, self.trace = path, trace
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()
        self._lock = Lock()
        self._file = path.open("a+b", buffering=0)
        known = next((event["run"] for event in read(path) if event["event"] == "created"), None)
        # No number of a study depends on this choice, which must not be the same for two folders of one study.
        self.run: str = known or uuid4().hex
        if known is None:
            self.event("created", run=self.run)

    def event(self, event: str, /, **fields: Any) -> None:
        """Append one event.

        Args:
            event: A key of :data:`EVENTS`.
            fields: Its fields; a value that is not a finite number becomes null.

        Raises:
            ValueError: If the event or a field is unknown, or a field is missing.
        """
        if event not in EVENTS:
            raise ValueError(f"expected one of the events {', '.join(EVENTS)}, got {event!r}")
        if set(fields) != set(EVENTS[event]):
            wanted, given = ", ".join(EVENTS[event]), ", ".join(fields) or "none"
            raise ValueError(f"event {event!r}: expected the fields {wanted}, got {given}")
        line = json.dumps(plain({"time": _now(), "event": event, **fields}), allow_nan=False).encode() + b"\n"
        with self._lock:
            size = os.fstat(self._file.fileno()).st_size
            if size and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
                line = b"\n" + line
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def start(self, seed: int, engine: str, workers: int) -> None:
        """Log that a study begins, with the versions of what computes it."""
        own = {"medsaliency": version("medsaliency"), "python": platform.python_version()}
        versions = {**own, **{library: version(library) for library in LIBRARIES}}
        threads = torch.get_num_threads()
        about = {"engine": engine, "workers": workers, "threads": threads, "pid": os.getpid()}
        self.event("start", versions=versions, seed=seed, **about)

    def end(self, status: Literal["done", "failed", "stopped"], error: BaseException | None = None) -> None:
        """Log how it ended, the class of an error, and the seconds since this object was made."""
        name = None if error is None else type(error).__name__
        self.event("end", status=status, seconds=round(time.perf_counter() - self._begin, 3), error=name)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage and log it, also one that fails. Stages may lie within each other.

        ``cpu_seconds`` are of this process and its children, ``peak_bytes`` and ``cuda_peak_bytes`` of this process.
        """
        began, begin, used = time.time(), time.perf_counter(), cpu_seconds()
        error: BaseException | None = None
        try:
            with watched() as peak:
                yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.perf_counter() - begin
            self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
            if self.trace is not None:
                self.trace.span(name, began, began + seconds)
            try:
                self.event(
                    "stage",
                    name=name,
                    seconds=round(seconds, 3),
                    cpu_seconds=round(max(0.0, cpu_seconds() - used), 3),
                    peak_bytes=peak.resident,
                    cuda_peak_bytes=peak.cuda,
                    cuda_device=peak.device,
                    failed=error is not None,
                    error=None if error is None else type(error).__name__,
                )
            except OSError as unwritten:
                if error is None:
                    raise
                error.add_note(f"the log could not be written: {unwritten}")  # what failed first is what is told

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a log, in order, also while it is written.

    A line that a killed process or a full disk cut short is left out, as is an empty one.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
