"""Where the time of a study goes: a trace of its stages and steps, and the operators of a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from medsaliency.study.estimate import Step
from medsaliency.study.store import write_text

DRIVER = "driver"
"""The row of the process that a user started."""
MOST = 100_000
"""Spans that a trace keeps, of some hundred bytes each."""
SECONDS = 1.0
"""After which the recording of operators ends with the step that is being done; to write it takes longer."""


class Trace:
    """Spans of time, written as a file that https://ui.perfetto.dev and ``chrome://tracing`` show.

    Used as a context manager it is written when the block is left, also by an error.

    Args:
        path: The JSON file; its folder is made.
        most: Spans that are kept. Of the driver all are; of others those after them are counted in
            ``otherData.left_out``.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self.path, self.most = path, most
        self.left_out = 0
        self._spans: list[tuple[str, float, float, str]] = []
        self._lock = Lock()

    def span(self, name: str, begin: float, end: float, worker: str | int = DRIVER) -> None:
        """Keep a span.

        Args:
            name: Shown on it.
            begin: Seconds since 1970, or since any moment that is the same for all spans.
            end: Likewise. A clock that was set back meanwhile leaves a span without length.
            worker: Its row. Spans of one row lie beside or within each other.
        """
        with self._lock:
            if worker != DRIVER and len(self._spans) >= self.most:
                self.left_out += 1
            else:
                self._spans.append((name, begin, max(begin, end), str(worker)))

    def shard(self, number: int, began: float, seconds: float, steps: Iterable[Step], worker: str | int) -> None:
        """Keep a shard and, one after the other within it, the steps that were computed."""
        self.span(f"shard {number}", began, began + seconds, worker)
        at = began
        for step in steps:
            if step.seconds is not None:
                self.span(step.name, at, min(at + step.seconds, began + seconds), worker)
                at += step.seconds

    def write(self) -> None:
        """Write what was kept, whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        with self._lock:
            spans = sorted(self._spans, key=lambda span: (span[1], -span[2]))
        origin = spans[0][1] if spans else 0.0
        rows = {DRIVER: 0}
        events: list[dict[str, Any]] = []
        for name, begin, end, worker in spans:
            row = rows.setdefault(worker, len(rows))
            start, stop = _microseconds(begin - origin), _microseconds(end - origin)
            events.append({"name": name, "ph": "X", "ts": start, "dur": stop - start, "pid": 0, "tid": row})
        names = [{"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "medsaliency"}}]
        used = {event["tid"] for event in events}
        for worker, row in rows.items():
            if row in used:
                label = worker if worker == DRIVER or not worker.isdigit() else f"worker {worker}"
                names.append({"name": "thread_name", "ph": "M", "pid": 0, "tid": row, "args": {"name": label}})
        about = {"begin": origin, "left_out": self.left_out}
        content = {"traceEvents": [*names, *events], "displayTimeUnit": "ms", "otherData": about}
        write_text(self.path, json.dumps(content, allow_nan=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.write()


@contextmanager
def operators(folder: Path, *, seconds: float = SECONDS, most: int = MOST) -> Iterator[Callable[[], None]]:
    """Record PyTorch's operators, and on a GPU its kernels, in this thread.

    Writes into ``folder``, when the block is left without an error:

    - ``operators.json``, a trace of the first ``most`` calls, a row for each thread and each stream of a GPU;
    - ``operators.csv``, a row an operator over the whole recording: ``operator``, ``calls``, ``self_cpu_ms`` (without
      the operators that it calls), ``cuda_ms`` (of the kernels that it launches), the longest first.

    Args:
        folder: Is made.
        seconds: How long is recorded.
        most: See above.

    Yields:
        To be called after each step: it ends the recording once ``seconds`` are over, since a recording takes memory
        for every call.

    Raises:
        OSError: If a file cannot be written.
    """
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    found = profile(activities=kinds)
    running = True

    def step() -> None:
        nonlocal running
        if running and perf_counter() - begin >= seconds:
            running = False
            found.stop()

    found.start()
    begin = perf_counter()  # to start takes seconds itself
    try:
        yield step
    finally:
        if running:
            running = False
            found.stop()
    _write_table(found, folder / "operators.csv")
    _write_calls(found, folder / "operators.json", most)


def _write_table(found: profile, path: Path) -> None:
    rows = [
        (row.key, row.count, row.self_cpu_time_total / 1000, row.self_device_time_total / 1000)
        for row in found.key_averages()
        if row.device_type.name == "CPU"  # kernels are counted with the operators that launch them
    ]
    table = pd.DataFrame(rows, columns=["operator", "calls", "self_cpu_ms", "cuda_ms"])
    order = (table["self_cpu_ms"] + table["cuda_ms"]).sort_values(ascending=False, kind="stable").index
    write_text(path, table.loc[order].to_csv(index=False, float_format="%.3f"))


def _write_calls(found: profile, path: Path, most: int) -> None:
    trace = Trace(path, most)
    for call in sorted(found.events(), key=lambda call: call.time_range.start):
        on_cpu = call.device_type.name == "CPU"
        row = f"thread {call.thread}" if on_cpu else f"GPU {call.device_index}, stream {call.device_resource_id}"
        trace.span(call.name, call.time_range.start / 1e6, call.time_range.end / 1e6, row)
    trace.write()


def _microseconds(seconds: float) -> float:
    return round(seconds * 1e6, 3)
