"""Studies that are killed, and whether what they leave behind is what an undisturbed one does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medsaliency.study.config import Study, dump_study
from medsaliency.study.ledger import read_entry
from medsaliency.study.log import read
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.study.verify import verify

STUDY = """\
name: small
data: {size: 32, options: {training: 24, evaluation: 12}}
training: {epochs: 1}
explain:
  {images: 8, batch_size: 2, tune: false, maps: float16, methods: [gradient, grad_cam, edge, random]}
evaluate: {metrics: [pointing_game, lesion_overlap, gini], random_draws: 2}
statistics: {draws: 100, permutations: 100, mixed_models: []}
report: {cases: 2}
"""
"""A study of seconds with four shards."""
STAGES = (
    *("data", "training", "predicting", "calibrating", "testing geometry", "tuning"),
    *("explaining and evaluating", "joining the shards", "write statistics", "write report"),
)
"""The stages of that study, in order."""
TIMED = ("timings.parquet", "statistics/trust.parquet", "provenance.json", "report.html")
"""Products that hold seconds."""
NOT_COMPARED = ("log.jsonl", "run.lock", "ledger/products.json")
COMMAND = [sys.executable, "-c", "from medsaliency.cli import main; main()"]
POLL = 0.002


def fork(work: Callable[[], object], said: Path) -> int:
    """Do ``work`` in a copy of this process, which must have no second thread, and return its number.

    Args:
        work: Ends with exit code 1 if it raises.
        said: A file for what it says, an error's traceback among it.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # written down, and told by the exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_in_child(study: Study, folder: Path) -> int:
    """Run a study in a copy of this process, and return its number."""
    return fork(lambda: run_study(study, folder), folder.with_suffix(".txt"))


def run_command(config: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Run a study with the command line, in a group of processes of its own."""
    said = folder.with_suffix(".txt").open("wb")
    with said:
        return subprocess.Popen(  # noqa: S603 # nosec B603 # no shell, and our own command
            [*COMMAND, "study", str(config), "--output", str(folder), *more],
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def write_config(study: Study, path: Path) -> Path:
    """Write a study as YAML, for the command line."""
    path.write_text(dump_study(study))
    return path


def ended(process: int) -> int | None:
    """The exit code of a child, negative for a signal; None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return None if found == 0 else os.waitstatus_to_exitcode(status)


def wait(process: int) -> int:
    """Wait for a child, and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def descendants(process: int) -> list[int]:
    """All processes below one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # it has just ended
            continue
    found, level = [], [process]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def workers_of(process: int) -> list[int]:
    """The worker processes of a study, without the one that counts resources for Python."""
    return [child for child in descendants(process) if b"spawn_main" in _command_of(child)]


def alive(process: int) -> bool:
    """Whether a process, which is no child of this one, does or waits for something."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end_of(processes: list[int], seconds: float) -> tuple[float, list[int]]:
    """Wait until all processes are gone; the seconds it took, and those that are still there when time is over."""
    begin = time.perf_counter()
    while (left := [process for process in processes if alive(process)]) and time.perf_counter() - begin < seconds:
        time.sleep(0.02)
    return time.perf_counter() - begin, left


def _command_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


class Watch:
    """The log of a run, from a point on.

    Args:
        folder: Of the run; it need not exist yet.
        skipped: Events that are left out; None for all that there are now.
    """

    def __init__(self, folder: Path, skipped: int | None = None) -> None:
        self.path = folder / "log.jsonl"
        self.skipped = len(list(self._events())) if skipped is None else skipped

    def _events(self) -> Iterator[dict[str, Any]]:
        if self.path.is_file():
            yield from read(self.path)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The events since then, of these kinds."""
        return [event for event in list(self._events())[self.skipped :] if event["event"] in names]

    def stages(self) -> list[str]:
        """The stages that have ended since then."""
        return [event["name"] for event in self.events("stage")]


def stage_reached(done: list[str], fresh: bool) -> str:
    """The stage in which a run was when these stages had ended."""
    order = [name for name in STAGES if fresh or name != "training"]
    return order[len(done)] if len(done) < len(order) else "sealing"


@dataclass(frozen=True)
class Reported:
    """The shards that a run had committed at some moment, with the bytes of their entries.

    Args:
        entries: By the shard's number.
        events: How many events ``shard`` its log held.
    """

    entries: dict[int, bytes]
    events: int

    @classmethod
    def of(cls, folder: Path) -> Reported:
        """What a folder holds now."""
        store = Store(folder)
        paths = sorted((folder / "ledger").glob("[0-9]*.json"))
        entries = {int(path.stem): path.read_bytes() for path in paths if read_entry(store, int(path.stem)) is not None}
        events = Watch(folder, 0).events("shard")
        missing = {event["number"] for event in events} - set(entries)
        entries.update(dict.fromkeys(missing, b""))  # told to be done, and not there: lost
        return cls(entries, len(events))

    def lost(self, folder: Path) -> list[int]:
        """The shards that were done again since then, or whose entry is another now."""
        now = Reported.of(folder)
        again = {event["number"] for event in Watch(folder, 0).events("shard")[self.events :]}
        changed = {number for number, content in self.entries.items() if now.entries.get(number) != content}
        return sorted((again & set(self.entries)) | changed)


def differences(expected: Path, folder: Path) -> list[str]:
    """In what a finished run differs from another of the same study, in words; nothing where it does not."""
    found = []
    ours, theirs = _files(folder), _files(expected)
    found += [f"{name} is missing" for name in sorted(theirs - ours)]
    found += [f"{name} should not be there" for name in sorted(ours - theirs)]
    for name in sorted(theirs & ours):
        top = name.split("/")[0]
        if name in (*NOT_COMPARED, *TIMED) or top in ("maps.zarr", "shards"):
            continue
        same = _content(folder, name) == _content(expected, name)
        if not same:
            found.append(f"{name} is another")
    for name in ("timings.parquet", "statistics/trust.parquet"):
        one, other = (_without_seconds(pd.read_parquet(place / name)) for place in (folder, expected))
        if not one.equals(other):
            found.append(f"{name} is another")
    found += _maps_that_differ(expected, folder)
    verdict = verify(folder)
    return found + ([] if verdict.whole else verdict.lines())


def _files(folder: Path) -> set[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    # Tables of shards are named by their content, which holds seconds.
    return {re.sub(r"-[0-9a-f]{12}\.parquet$", "", name) for name in files}


def _content(folder: Path, name: str) -> object:
    if re.fullmatch(r"ledger/\d+\.json", name):
        entry = read_entry(Store(folder), int(Path(name).stem))
        assert entry is not None
        of_maps = {file: known for file, known in entry.files.items() if file.startswith("maps.zarr")}
        return entry.basis, entry.cells, entry.failed, of_maps, sorted(entry.tables)
    return (folder / name).read_bytes()


def _without_seconds(table: pd.DataFrame) -> pd.DataFrame:
    table = table[[name for name in table if name not in ("seconds", "peak_bytes")]]
    return table[table["criterion"] != "affordable"] if "criterion" in table else table


def _maps_that_differ(expected: Path, folder: Path) -> list[str]:
    ours, theirs = (Store(place).maps() for place in (folder, expected))
    if ours.samples != theirs.samples or sorted(ours.methods) != sorted(theirs.methods):
        return ["maps.zarr is of other images or methods"]
    names = ["image", "lesion", "has_lesion", *(f"maps/{name}" for name in theirs.methods)]
    names += [f"scales/{name}" for name in theirs.methods if f"scales/{name}" in theirs.group]
    arrays = ((name, ours.group[name][...], theirs.group[name][...]) for name in names)
    return [f"maps.zarr: {name} differs" for name, one, other in arrays if one.tobytes() != other.tobytes()]


def kill(process: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def said(folder: Path) -> str:
    """What a run has written to the terminal."""
    return folder.with_suffix(".txt").read_text(errors="replace")


def seconds_of_stages(folder: Path) -> dict[str, float]:
    """How long the stages of a run took that was not disturbed."""
    return {event["name"]: event["seconds"] for event in Watch(folder, 0).events("stage")}
