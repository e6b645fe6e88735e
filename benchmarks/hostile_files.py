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
import gzip
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
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from medsaliency.types import generator

SECONDS, BYTES = 5.0, 2**30
"""Limits of one reading."""
ADDRESS_SPACE = 6 * 2**30
"""Of a reading process, so that a fault here does not take the machine."""
LARGEST = 600_000
"""Bytes of a seed file: larger ones take longer and are hurt no differently."""
EXTREME = (0, 1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
DICOM_NUMBERS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel")
NIFTI_PLACES = {"dim": (40, 16), "datatype": (70, 2), "bitpix": (72, 2), "pixdim": (76, 32), "offset": (108, 4)}
NIFTI_PLACES |= {"slope": (112, 8), "codes": (252, 4), "affine": (280, 48), "magic": (344, 4), "size": (0, 4)}


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


def seeds() -> dict[str, list[Path]]:
    """The test files of pydicom, pydicom-data and nibabel that are small enough, by the format that reads them."""
    places = {
        name: Path(find_spec(name).submodule_search_locations[0]) for name in ("pydicom", "data_store", "nibabel")
    }
    dicom = [*(places["pydicom"] / "data" / "test_files").rglob("*"), *places["data_store"].rglob("*")]
    nifti = [*(places["nibabel"] / "tests" / "data").rglob("*.nii*")]
    small = {
        "dicom": [f for f in dicom if f.is_file() and f.read_bytes()[128:132] == b"DICM"],
        "nifti": nifti,
    }
    return {kind: sorted(f for f in files if f.stat().st_size <= LARGEST) for kind, files in small.items()}


def mutate(data: bytes, kind: str, others: Sequence[Path], rng: np.random.Generator) -> tuple[str, bytes]:
    """One change of a file, and its name."""
    packed = data[:2] == b"\x1f\x8b"
    if packed and rng.random() < 0.7:  # inside the compressed stream, where a header can be reached
        change, inner = mutate(gzip.decompress(data), kind, others, rng)
        return f"{change}, packed", gzip.compress(inner, 1, mtime=0)
    changes: list[Callable[[bytes, np.random.Generator], bytes]] = [_flip, _cut, _remove, _repeat, _extreme]
    name = rng.choice(["splice", "header", *(change.__name__.strip("_") for change in changes)])
    if name == "splice":
        other = others[int(rng.integers(len(others)))].read_bytes()
        at = int(rng.integers(1, len(data)))
        return str(name), data[:at] + other[min(at, len(other) - 1) :]
    if name == "header":
        return str(name), (_dicom_header if kind == "dicom" else _nifti_header)(data, rng)
    return str(name), {change.__name__.strip("_"): change for change in changes}[name](data, rng)


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bits, most of them near the start, where headers are."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 16))):
        at = int(len(found) * rng.random() ** 3)
        found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(len(data) * rng.random() ** 2)
    return data[:start] + data[start + int(rng.integers(1, 400)) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(len(data) * rng.random() ** 2)
    part = data[start : start + int(rng.integers(1, 400))]
    return data[:start] + part * int(rng.integers(2, 50)) + data[start:]


def _extreme(data: bytes, rng: np.random.Generator) -> bytes:
    """A number of two or four bytes at an even place replaced by one that is rarely expected."""
    found, width = bytearray(data), int(rng.choice([2, 4]))
    at = 2 * int(len(found) * rng.random() ** 3 / 2)
    found[at : at + width] = (int(rng.choice(EXTREME)) % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(found)


def _dicom_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A number that describes the pixels, or an element's declared length, replaced."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(str(rng.choice(DICOM_NUMBERS)))
    found = bytearray(data)
    at = found.find(tag.to_bytes(4, "little")[2:] + tag.to_bytes(4, "little")[:2])
    if at < 0:
        return _extreme(data, rng)
    value = int(rng.choice(EXTREME))
    if rng.random() < 0.2:
        found[at + 6 : at + 8] = (value % 2**16).to_bytes(2, "little")
    elif bytes(found[at + 4 : at + 6]) == b"IS":
        found[at + 8 : at + 8 + found[at + 6]] = str(value)[: found[at + 6]].ljust(found[at + 6]).encode()
    else:
        found[at + 8 : at + 10] = (value % 2**16).to_bytes(2, "little")
    return bytes(found)


def _nifti_header(data: bytes, rng: np.random.Generator) -> bytes:
    place, length = NIFTI_PLACES[str(rng.choice(list(NIFTI_PLACES)))]
    found = bytearray(data)
    at, width = place + 2 * int(rng.integers(length // 2)), int(rng.choice([2, 4]))
    how = rng.random()
    if how < 0.5:
        new = (int(rng.choice(EXTREME)) % 2 ** (8 * width)).to_bytes(width, "little")
    elif how < 0.75:
        new = np.float32(rng.choice([np.nan, np.inf, -1, 0, 1e30, 1e-30])).tobytes()
    else:
        new = rng.bytes(width)
    found[at : at + len(new)] = new
    return bytes(found)


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
