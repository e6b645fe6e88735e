"""What damaged and hostile image files do to the readers: thousands of mutants of pydicom's and nibabel's test files.

Each mutant is read in a process of its own that is watched: it must end within five seconds, in less than a gigabyte,
as an image or with a MedsaliencyError of one line, and write nothing. Anything else is a fault and is listed with the
seed file and the number that makes the mutant again.

Run, about ten minutes on two cores:

    python benchmarks/hostile_files.py --mutants 6000 --json runs/hostile_files.json
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from medsaliency.types import generator
from mutants import mutate, seeds

SECONDS, BYTES = 5.0, 2**30
"""Limits of one reading."""
ADDRESS_SPACE = 6 * 2**30
"""Of a reading process, so that a fault here does not take the machine."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    seed: str
    number: int
    change: str
    kind: str
    said: str
    seconds: float
    bytes: int

    @property
    def fault(self) -> bool:
        """Whether it is none of what may be."""
        return self.kind not in ("read", "refused")


def _work(connection: Connection) -> None:
    """Read the files whose paths arrive; answer with kind, words and peak memory."""
    import medsaliency.data.formats  # noqa: F401  # before memory is measured
    from medsaliency.data.formats import FORMATS

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    written: list[str] = []
    sys.addaudithook(lambda event, given: written.append(str(given[0])) if _writes(event, given) else None)
    for name in FORMATS:
        _attempt(Path(os.devnull), name)  # what a reader imports is not what it needs
    while True:
        path, kind = connection.recv()
        written.clear()
        Path("/proc/self/clear_refs").write_text("5")  # peak memory from here on
        written.clear()
        before = _peak()
        answer = _attempt(Path(path), kind)
        if written:
            answer = ("wrote", f"{written[:3]}")
        connection.send((*answer, _peak() - before))


def _writes(event: str, given: tuple[Any, ...]) -> bool:
    if event != "open" or given[0] in (os.devnull, 2):
        return event in ("os.remove", "os.rename", "os.mkdir", "subprocess.Popen", "socket.connect", "os.system")
    mode, flags = given[1], given[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _hang(path: Path) -> None:
    del path
    while True:
        pass


def _crash(path: Path) -> None:
    del path
    os.kill(os.getpid(), signal.SIGSEGV)


def _eat(path: Path) -> None:
    del path
    np.ones(BYTES + 100_000_000, np.uint8)


SELF_TESTS: dict[str, Callable[[Path], object]] = {
    "self-test hang": _hang,
    "self-test crash": _crash,
    "self-test memory": _eat,
    "self-test write": lambda path: path.with_suffix(".left").write_text("x"),
    "self-test raise": lambda path: path.stat().st_size // 0,
}
"""What a reader must not do, in place of one: the harness has to see it."""


def _attempt(path: Path, kind: str) -> tuple[str, str]:
    """Read one file as its format's reader is used, sliced and, for a stack, whole; what came of it."""
    from medsaliency.data.dataset import Record
    from medsaliency.data.formats import FORMATS
    from medsaliency.data.reading import Reading
    from medsaliency.types import MedsaliencyError

    record = Record("mutant", 0, "mutant", image=path)
    try:
        if kind in SELF_TESTS:
            SELF_TESTS[kind](path)
            return "read", ""
        reading = Reading(planes="all")
        stack = FORMATS[kind].stack(path, "mutant", reading)
        planes = [None] if stack is None else [stack.count // 2]
        for plane in planes:
            own = Record("mutant", 0, "mutant", image=path, plane=plane)
            wrong = _wrong(FORMATS[kind].read(own, reading).pixels)
            if wrong:
                return "wrong", wrong
        if stack is not None:
            wrong = _wrong(FORMATS[kind].read(record, Reading(volume=True)).pixels)
            if wrong:
                return "wrong", wrong
    except MedsaliencyError as error:
        text = str(error)
        plain = "\n" not in text and text.startswith("mutant") and len(text) < 1000
        return ("refused", text) if plain else ("error not of one line that names the file", text)
    except BaseException as error:  # noqa: BLE001  # that it is caught here is what is measured
        return f"raised {type(error).__name__}", str(error)[:300]
    return "read", ""


def _wrong(pixels: np.ndarray) -> str:
    if pixels.dtype != np.float32 or pixels.ndim not in (3, 4) or pixels.size == 0 or len(pixels) not in (1, 3):
        return f"{pixels.dtype} {pixels.shape}"
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        return f"values from {pixels.min()} to {pixels.max()}"
    return ""


class Reader:
    """A watched process that reads files one after the other, and a new one where it dies or hangs."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self.connection, other = self.context.Pipe()
        self.process = self.context.Process(target=_work, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def read(self, path: Path, kind: str) -> tuple[str, str, float, int]:
        """Kind of outcome, words, seconds and bytes of memory."""
        begin = time.perf_counter()
        self.connection.send((str(path), kind))
        # A new process imports first, and a busy machine must not look like a hang: the clock is the process's own.
        limit = time.perf_counter() + 60
        used = self._cpu()
        while not self.connection.poll(0.05):
            if self._cpu() - used > SECONDS or time.perf_counter() > limit or not self.process.is_alive():
                break
        try:
            if self.connection.poll(0):
                outcome, said, peak = self.connection.recv()
                seconds = min(time.perf_counter() - begin, max(0.0, self._cpu() - used))
                if peak > BYTES:
                    outcome, said = "memory", f"{peak / 2**30:.2f} GiB; {said}"
                return outcome, said, seconds, peak
            outcome = "hang"
        except EOFError:
            outcome = "crash"
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self._start()
        self._ready()
        return outcome, f"exit code {code}", time.perf_counter() - begin, 0

    def _ready(self) -> None:
        """Wait for a new process to have imported what it needs."""
        self.connection.send((os.devnull, "picture"))
        self.connection.recv()

    def _cpu(self) -> float:
        try:
            parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def _run_part(numbers: Sequence[int], seed: int, folder: str) -> list[Outcome]:
    files = seeds()
    reader, found = Reader(), []
    reader._ready()
    path = Path(folder) / f"mutant-{os.getpid()}"
    for number in numbers:
        kind = list(files)[number % len(files)]
        file = files[kind][number // len(files) % len(files[kind])]
        change, data = mutate(file.read_bytes(), kind, files[kind], generator(seed, "mutant", str(number)))
        path.write_bytes(data)
        found.append(Outcome(file.name, number, change, *reader.read(path, kind)))
    path.unlink()
    reader.stop()
    return found


def run(mutants: int, seed: int = 0, processes: int = 2) -> list[Outcome]:
    """Read ``mutants`` files, each made of a seed file and a number."""
    from concurrent.futures import ThreadPoolExecutor

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        inner = Path(folder) / "inner"
        inner.mkdir()
        parts = [range(start, mutants, processes) for start in range(processes)]
        folders = [inner / str(i) for i in range(processes)]
        for each in folders:
            each.mkdir()
        found = [
            outcome for part in pool.map(lambda g: _run_part(*g), _given(parts, seed, folders)) for outcome in part
        ]
        left = sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
        if left:
            raise RuntimeError(f"readers left files behind: {left[:5]}")
    return sorted(found, key=lambda outcome: outcome.number)


def _given(parts: Sequence[range], seed: int, folders: Sequence[Path]) -> list[tuple[range, int, str]]:
    return [(part, seed, str(folder)) for part, folder in zip(parts, folders, strict=True)]


def table(found: Sequence[Outcome]) -> str:
    """Mutants by change and outcome."""
    kinds = sorted({outcome.kind for outcome in found})
    counts = Counter((outcome.change, outcome.kind) for outcome in found)
    lines = [f"{'change':<20}" + "".join(f"{kind:>12}" for kind in kinds)]
    for change in sorted({outcome.change for outcome in found}):
        lines.append(f"{change:<20}" + "".join(f"{counts[change, kind]:>12,}" for kind in kinds))
    total = Counter(outcome.kind for outcome in found)
    lines.append(f"{'all':<20}" + "".join(f"{total[kind]:>12,}" for kind in kinds))
    slowest, largest = max(o.seconds for o in found), max(o.bytes for o in found)
    lines.append(
        f"slowest {slowest:.2f} s, most memory {largest / 2**20:.0f} MiB, faults {sum(o.fault for o in found)}"
    )
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and every fault, and end with 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = run(given.mutants, given.seed, given.processes)
    print(table(found))
    faults = [outcome for outcome in found if outcome.fault]
    for fault in faults:
        print(f"{fault.seed} #{fault.number} ({fault.change}): {fault.kind}: {fault.said}")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(outcome) for outcome in found], indent=1) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
