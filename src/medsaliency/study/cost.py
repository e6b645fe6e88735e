"""What a step costs: seconds, and memory at its peak above what was held before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from medsaliency.study.usage import CLEAR, forget, give_back, resident


@dataclass
class Cost:
    """Filled in when the step is done.

    Args:
        seconds: Wall clock.
        peak_bytes: Most memory of the device held at any time of the step, less what was held when it began; of a CPU
            the process's resident memory. None where the system does not tell, as outside Linux.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None


@contextmanager
def measured(device: torch.device) -> Iterator[Cost]:
    """Measure what is done within, one step of a process at a time.

    Yields:
        The cost, known when the step is over.
    """
    cost = Cost()
    before = _begin(device)
    begin = time.perf_counter()
    yield cost
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    cost.seconds = time.perf_counter() - begin
    peak = _peak(device)
    cost.peak_bytes = None if before is None or peak is None else max(0, peak - before)


def _begin(device: torch.device) -> int | None:
    """Bytes held now, the peak begun anew."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        forget()
        return torch.cuda.memory_allocated(device)
    if device.type != "cpu" or not CLEAR.exists():
        return None
    give_back()  # what the allocator keeps would hide a peak that fits into it
    forget()
    return resident("VmRSS")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident("VmHWM") if device.type == "cpu" else None
