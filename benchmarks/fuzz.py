"""Coverage-guided fuzzing of everything that reads what a user gives: atheris changes inputs, and watches the branches.

Each target runs in a process of its own, from seeds that are made here, and each input must be read, or be refused by a
MedsaliencyError of one line, within five seconds of the processor and a gigabyte, with nothing written or started
outside the input's own folder. Anything else is a fault: it is listed, and the input is kept.

Run, some twenty minutes on two cores:

    python benchmarks/fuzz.py --runs 20000 --seconds 60 --output runs/fuzz --json runs/fuzz.json
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fuzz_targets import SELF_TESTS, TARGETS, Target

SECONDS, BYTES = 5.0, 2**30
"""Limits of one input: seconds of the processor, and memory beside what the process had before."""
STUCK = 60
"""Seconds of one input after which a process that cannot be interrupted is ended."""
ADDRESS_SPACE = 24 * 2**30
"""Of a process, so that a fault here does not take the machine."""
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
STARTS = 5
"""Most times that a process is started again after it died."""
COUNTS = ("executions", "read", "refused", "faults")
EXTREME = (
    b"NaN", b"1e999", b"-1", b"9" * 30, b"null", b"true", b"[]", b"{}", b'""', b"../", b"/etc/passwd", b"\\u0000",
    b"\\ud800", b"\xe2\x80\xae", b"\x00" * 8, b"\xff" * 8, b"<script>", b"&lt;", b"\r\n", b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f", b"&a *a", b"!!python/name:os.system", b"0x7fffffffffffffff", b"1_0", b"0o7", b"''",
)  # fmt: skip
"""Put into inputs."""
WATCHED = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo")


@dataclass
class Row:
    """What became of one target's inputs.

    Args:
        target: Its name.
        executions: Inputs given.
        read: Of these, taken.
        refused: Of these, refused in one line.
        faults: Of these, neither.
        edges: Branches of Python that were reached, as atheris counts them.
        features: Those, and how often in one run.
        seconds: Of the processes, with their start.
        found: Of each kind of fault one: what it is, and the file of its input.
    """

    target: str
    executions: int = 0
    read: int = 0
    refused: int = 0
    faults: int = 0
    edges: int = 0
    features: int = 0
    seconds: float = 0.0
    found: list[dict[str, str]] = field(default_factory=list)


class Slow(BaseException):
    """An input that takes too long; no reader catches it."""


class Guarded:
    """A target as atheris calls it: counts what becomes of an input, and keeps it where that may not be.

    Args:
        target: What reads.
        folder: Of its own, in which it may write.
        output: Where inputs of faults are kept.
        counts: Shared with the process that watches, so that they survive this one.
    """

    def __init__(self, target: Target, folder: Path, output: Path, counts: mmap.mmap) -> None:
        self.target, self.folder, self.output, self.counts = target, folder, output, counts
        self.numbers = dict(zip(COUNTS, struct.unpack("<4Q", counts[:32]), strict=True))
        self.written: list[str] = []
        self.armed = False
        self.base = 0

    def arm(self) -> None:
        """Watch what is written from here on; imports, which come before, write caches of their own."""
        self.base = _held("VmRSS")
        signal.signal(signal.SIGPROF, _too_slow)
        sys.addaudithook(self._heard)

    def __call__(self, data: bytes) -> None:
        """Read one input."""
        self.written.clear()
        CLEAR.write_text("5")  # the peak begins anew
        self.armed = True
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS, 1)  # again where a library has caught it
        try:
            kind, said = self._outcome(data)
        except Slow:
            kind, said = "hang", ""
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.armed = False
        if (took := time.process_time() - begin) >= SECONDS:
            kind, said = "hang", f"{took:.1f} s of the processor; {kind}: {said}"
        if (most := _held("VmHWM") - self.base) > BYTES:
            kind, said = "memory", f"{most / 2**30:.2f} GiB; {kind}: {said}"
        if self.written:
            kind, said = "wrote", f"{self.written[:3]}; {kind}: {said}"
        self._count(kind if kind in COUNTS else "faults")
        if kind not in COUNTS:
            self._keep(data, kind, said)
        self._empty()

    def _outcome(self, data: bytes) -> tuple[str, str]:
        from medsaliency.data.untrusted import unfit
        from medsaliency.types import MedsaliencyError

        try:
            self.target.read(data, self.folder)
        except MedsaliencyError as error:
            text = str(error)
            if unfit(text) or not 0 < len(text) < 2000:
                return "error not of one line", text[:3000]
            return "refused", text
        except Slow:
            raise
        except AssertionError as error:
            return "wrong", _last_lines(error)
        except BaseException as error:  # noqa: BLE001  # that it is caught here is what is measured
            return f"raised {type(error).__name__}", _last_lines(error)
        return "read", ""

    def _count(self, kind: str) -> None:
        self.numbers["executions"] += 1
        self.numbers[kind] += 1
        self.counts[:32] = struct.pack("<4Q", *self.numbers.values())

    def _keep(self, data: bytes, kind: str, said: str) -> None:
        """One input of each kind of fault, by where it arose."""
        where = "".join(re.findall(r'File "[^"]*", line \d+', said)[-2:]) or kind
        name = f"{re.sub('[^a-z]+', '-', kind.lower())}-{hashlib.sha256((kind + where).encode()).hexdigest()[:10]}"
        if not (self.output / f"{name}.json").exists():
            (self.output / name).write_bytes(data)
            (self.output / f"{name}.json").write_text(json.dumps({"kind": kind, "said": said, "input": name}))

    def _empty(self) -> None:
        with os.scandir(self.folder) if self.folder.is_dir() else _nothing() as entries:
            for entry in entries:
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else Path(entry.path).unlink()
        self.folder.mkdir(exist_ok=True)

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in STARTED:
            self.written.append(f"{event} {given[0]!s:.80}")
        elif event == "open" or event in WATCHED:
            path = given[0]
            if event != "open" or _for_writing(given[1], given[2]):
                own = isinstance(path, str | bytes | os.PathLike) and self._within(os.fsdecode(path), event)
                if not own and path != os.devnull:
                    self.written.append(f"{event} {path!s:.80}")

    def _within(self, path: str, event: str) -> bool:
        own, path = str(self.folder), os.path.abspath(path)  # noqa: PTH100  # a name that need not exist
        return path.startswith(own + os.sep) and event != "os.symlink"


def _held(field: str) -> int:
    """Bytes of memory: ``VmRSS`` those held, ``VmHWM`` the most; ``ru_maxrss`` would begin with that of the parent."""
    with STATUS.open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _too_slow(_signal: int, _frame: object) -> None:
    raise Slow


@contextmanager
def _nothing() -> Iterator[list[Any]]:
    yield []


def _for_writing(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _last_lines(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-1500:]


def work(given: argparse.Namespace) -> None:
    """Fuzz one target in this process, until its runs or seconds are over; never returns."""
    import atheris

    sys.dont_write_bytecode = True
    target, folder = TARGETS[given.work], Path(given.folder) / "own"
    folder.mkdir(exist_ok=True)
    corpus = Path(given.folder) / "corpus"
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with (Path(given.folder) / "counts").open("r+b") as file:
        counts = mmap.mmap(file.fileno(), 32)
    guarded = Guarded(target, folder, Path(given.output), counts)
    with atheris.instrument_imports(include=list(target.instrument)) if target.instrument else _nothing():
        seeds = target.seeds()
        if given.work not in SELF_TESTS:
            _warm(target, seeds, folder)
    if not any(corpus.iterdir()):
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
    words = Path(given.folder) / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in _words(seeds)))
    guarded._empty()
    guarded.arm()
    options = [
        f"-runs={given.runs}", f"-max_total_time={given.seconds}", f"-seed={given.seed + 1}", f"-timeout={STUCK}",
        f"-max_len={max(target.longest, *(len(seed) for seed in seeds))}", "-rss_limit_mb=8192", "-len_control=0",
        f"-dict={words}",
        f"-artifact_prefix={given.output}/process-", "-print_final_stats=1", f"-report_slow_units={STUCK}",
    ]  # fmt: skip
    atheris.Setup(["fuzz", *options, str(corpus)], guarded)
    atheris.Fuzz()


def _words(seeds: Sequence[bytes]) -> list[bytes]:
    """What is put into inputs beside single bytes: words of the seeds, and values that are rarely expected."""
    found = {word for seed in seeds for word in re.findall(rb"[A-Za-z_][A-Za-z_ ]{2,30}", seed)}
    return [*sorted(found)[:300], *EXTREME]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _warm(target: Target, seeds: Sequence[bytes], folder: Path) -> None:
    """Read each seed once, which imports what reads it; a seed may be one that is refused."""
    from medsaliency.types import MedsaliencyError

    for seed in seeds:
        try:
            target.read(seed, folder)
        except MedsaliencyError:
            continue


def fuzz(name: str, runs: int, seconds: int, output: Path, seed: int = 0) -> Row:
    """Fuzz one target in a process of its own, and in another where that dies.

    Args:
        name: Of the target.
        runs: Inputs.
        seconds: After which no more are given, the start not counted.
        output: Folder for the inputs of faults, in one of the target's name.
        seed: Of the changes.
    """
    kept = output / name.replace(" ", "-")
    kept.mkdir(parents=True, exist_ok=True)
    begin, row = time.perf_counter(), Row(name)
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "work"
        (folder / "corpus").mkdir(parents=True)
        (folder / "counts").write_bytes(b"\0" * 32)
        left, until = runs, seconds
        for start in range(STARTS):
            log, code, took = _process(name, left, until, folder, kept, seed + start)
            values = struct.unpack("<4Q", (folder / "counts").read_bytes())
            row.executions, row.read, row.refused, row.faults = values
            for edges, features in re.findall(r"cov: (\d+) ft: (\d+)", log):
                row.edges, row.features = max(row.edges, int(edges)), max(row.features, int(features))
            left, until = runs - row.executions, until - int(took)
            if code == 0:
                break
            if not row.executions and not any(kept.glob("process-*")):
                raise RuntimeError(f"{name}: ended before the first input: {log[-1500:]}")
            row.executions, row.faults = row.executions + 1, row.faults + 1  # the one that it died of
            counted = struct.pack("<4Q", row.executions, row.read, row.refused, row.faults)
            (folder / "counts").write_bytes(counted)
            row.found.append({"kind": f"crash, exit code {code}", "said": log[-1500:], "input": _died_of(kept)})
            if left < 1 or until < 1:
                break
    row.found += [json.loads(path.read_text()) for path in sorted(kept.glob("*.json"))]
    row.seconds = round(time.perf_counter() - begin, 1)
    if not any(kept.iterdir()):
        kept.rmdir()
    return row


def _died_of(kept: Path) -> str:
    left = sorted(kept.glob("process-*"), key=lambda path: path.stat().st_mtime)
    return left[-1].name if left else ""


def _process(name: str, runs: int, seconds: int, folder: Path, kept: Path, seed: int) -> tuple[str, int, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--work", name, "--runs", str(runs), "--seconds"]
    command += [str(seconds), "--seed", str(seed), "--folder", str(folder), "--output", str(kept.resolve())]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parent)}
    begin = time.perf_counter()
    with (folder / "log").open("w+b") as log:
        # No shell, and our own command.
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)  # noqa: S603  # nosec B603
        try:
            code = process.wait(seconds + STUCK + 240)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    return text, code, time.perf_counter() - begin


def table(rows: Sequence[Row]) -> str:
    """A line for each target."""
    names = ("executions", "read", "refused", "faults", "edges", "features", "seconds")
    lines = [f"{'target':<18}" + "".join(f"{name:>12}" for name in names)]
    for row in rows:
        values = [getattr(row, name) for name in names]
        lines.append(f"{row.target:<18}" + "".join(f"{value:>12,}" for value in values))
    totals = [sum(getattr(row, name) for row in rows) for name in names[:4]]
    lines.append(f"{'all':<18}" + "".join(f"{total:>12,}" for total in totals))
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and every fault, and end with 1 where there is one."""
    every = [name for name in TARGETS if name not in SELF_TESTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="inputs of each target")
    parser.add_argument("--seconds", type=int, default=60, help="of each target at most, its start not counted")
    parser.add_argument("--targets", default=",".join(every), help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"), help="where inputs of faults are kept")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given)
    if find_spec("atheris") is None:
        sys.exit(
            "fuzz: expected the package atheris, got none; install it, which needs a Python that it has a wheel for"
        )
    wanted = given.targets.split(",")
    if unknown := [name for name in wanted if name not in TARGETS]:
        sys.exit(f"fuzz: expected targets among {', '.join(every)}, got {', '.join(unknown)}; correct --targets")
    with ThreadPoolExecutor(given.processes) as pool:
        rows = list(pool.map(lambda name: fuzz(name, given.runs, given.seconds, given.output, given.seed), wanted))
    print(table(rows))
    for row in rows:
        for found in row.found:
            print(f"{row.target}: {found['kind']} ({found['input']}): {found['said'][-600:]}")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    sys.exit(any(row.faults for row in rows))


if __name__ == "__main__":
    main()
