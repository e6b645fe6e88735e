"""What this process uses: processor time, and memory at its peak."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS, CLEAR, PROCESSES = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc")
MEMORY = Path("/proc/meminfo")
RESET_PEAK = "5"
"""What, written to ``clear_refs``, makes Linux forget the peak of the resident memory."""


@dataclass(eq=False)
class Peak:
    """The most memory held in a :func:`watched` block. All are None where the system does not tell.

    Args:
        resident: Bytes of resident memory of this process, what it held before included.
        cuda: Bytes that PyTorch had allocated on the GPU where they were most; None in a process that used no GPU.
        device: Name of that GPU.
    """

    resident: int | None = None
    cuda: int | None = None
    device: str | None = None


# The system keeps one mark for the whole process, so that one list of its readers serves the whole process.
_WATCHES: list[Peak] = []
_LOCK = threading.Lock()


@contextmanager
def watched() -> Iterator[Peak]:
    """Watch the peak of the memory. Blocks may lie within each other, and run in several threads.

    Yields:
        The peak, complete when the block is left.
    """
    forget()
    peak = Peak()
    with _LOCK:
        _WATCHES.append(peak)
    try:
        yield peak
    finally:
        with _LOCK:
            _see()
            _WATCHES.remove(peak)


def forget() -> None:
    """Let the system's mark of the peak begin anew, once every open :func:`watched` block has seen it."""
    with _LOCK:
        _see()
        if os.access(CLEAR, os.W_OK):
            CLEAR.write_text(RESET_PEAK)
        for gpu in _gpus():
            torch.cuda.reset_peak_memory_stats(gpu)


def give_back() -> None:
    """Return freed memory, which allocators keep for the next that ask for some, to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def resident(field: str) -> int | None:
    """Bytes of resident memory: ``VmRSS`` those held now, ``VmHWM`` the most; None where the system does not tell."""
    for line in STATUS.read_text().splitlines() if STATUS.exists() else ():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available() -> int | None:
    """Bytes that new processes can have without others being moved to disk; None where the system does not tell."""
    for line in MEMORY.read_text().splitlines() if MEMORY.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def cpu_seconds() -> float:
    """Processor time of this process and all its children so far; on Linux also of children that still run."""
    ended = os.times()  # in hundredths of a second, as that of children that run; this process's own time is finer
    running = sum(_ticks(process) for process in _descendants(os.getpid()))
    return time.process_time() + ended.children_user + ended.children_system + running / _ticks_a_second()


def _see() -> None:
    """Bring every open watch up to the mark."""
    mark = resident("VmHWM")
    gpus = {gpu: torch.cuda.max_memory_allocated(gpu) for gpu in _gpus()}
    most = max(gpus, key=lambda gpu: gpus[gpu], default=None)
    for peak in _WATCHES:
        if mark is not None:
            peak.resident = max(mark, peak.resident or 0)
        if most is not None and (peak.cuda is None or gpus[most] > peak.cuda):
            peak.cuda, peak.device = gpus[most], torch.cuda.get_device_name(most)


def _gpus() -> range:
    """The GPUs of a process that uses any; asking another would make it hold memory on them."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)


def _descendants(process: int) -> Iterator[int]:
    """Children, and theirs, that have not ended."""
    # A process may end while it is looked at: its time is then with its parent, or with nobody.
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in (PROCESSES / str(process) / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in (thread / "children").read_text().split():
                    yield int(child)
                    yield from _descendants(int(child))


def _ticks(process: int) -> int:
    """Processor time of a process and of those children of its that it has waited for, in ticks of the system."""
    with suppress(FileNotFoundError, ProcessLookupError):
        # The name, in parentheses, may hold anything; utime, stime, cutime and cstime are fields 14 to 17 of proc(5).
        after_name = (PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:15]))
    return 0


def _ticks_a_second() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 1
