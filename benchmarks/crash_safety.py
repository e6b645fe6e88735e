"""A study that is killed at random moments and goes on: does it end as if nothing had happened?

A small study is run once undisturbed. Then it is run in other folders and killed by SIGKILL, up to ten times in one
folder, and at last runs to its end. A moment is drawn as a stage and a time within it, evenly over the stages and
twice as often in that which explains and evaluates. Of the moments, those of ``--commands`` are of the command line
with worker processes, of which the study's process alone, one worker, or all are killed; the others are of copies of
this process, which have imported everything.

At the end of each folder its tables and maps are compared with the undisturbed ones bit for bit (what holds seconds
without them), the lists of files as well, and ``medsaliency verify`` has to find it whole. No shard that was committed
before a kill may have been done again. After a kill no worker may be alive for longer than five seconds.

Run, about half an hour on two cores; it ends with exit code 1 on a fault:

    python benchmarks/crash_safety.py --moments 100 --json runs/crash_safety.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import killed_runs as runs
from medsaliency.study.config import Study, load_study
from medsaliency.types import generator

KILLS = 10
"""Most kills of one folder."""
PATIENCE = 600.0
"""Seconds that a run may take before it counts as stuck."""
ORPHAN = 5.0
"""Seconds that a worker may live without the process of its study."""
WHO = ("the study", "a worker", "all")


@dataclass
class Moment:
    """One kill, and what came of it.

    Args:
        number: From 0.
        folder: Of the run; several moments may have one.
        how: Who was killed: "a copy" of this process, or of the command line "the study", "a worker" or "all".
        stage: In which the study was.
        seconds: Since the process was started.
        committed: Shards that were committed before.
        parts_left: Files that the killed process had begun to write.
        orphans: Seconds until the last worker was gone; None where there was none.
        lost: Of the committed shards, those that were done again or differ.
        differences: In what the finished run differs from the undisturbed one.
    """

    number: int
    folder: str
    how: str
    stage: str
    seconds: float
    committed: int
    parts_left: int
    orphans: float | None = None
    lost: list[int] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def fault(self) -> bool:
        """Whether anything is not as it has to be."""
        return bool(self.lost or self.differences or (self.orphans or 0) > ORPHAN)


class Harness:
    """Kills one study again and again.

    Args:
        work: A folder for all runs.
        seed: Draws the moments.
    """

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.rng = work, generator(seed, "moments")
        self.config = work / "study.yaml"
        self.config.write_text(runs.STUDY)
        self.study: Study = load_study(self.config)
        self.expected = work / "undisturbed"
        self.moments: list[Moment] = []
        self._unjudged: list[tuple[Moment, runs.Reported]] = []

    def prepare(self) -> None:
        """Run the study undisturbed, import what it has imported, and run it once more to know how long it takes.

        The seconds of its stages are then those of a process that has everything in memory, as its copies have.
        """
        listed = self.work / "modules.txt"

        def first() -> None:
            runs.run_study(self.study, self.expected)
            listed.write_text("\n".join(sys.modules))

        _expect_success(runs.wait(runs.fork(first, self.expected.with_suffix(".txt"))), self.expected)
        for name in listed.read_text().splitlines():
            try:
                importlib.import_module(name)
            except ImportError:  # made by another module, not by a file
                continue
        again = self.work / "again"
        _expect_success(runs.wait(runs.run_in_child(self.study, again)), again)
        assert not runs.differences(self.expected, again), "two undisturbed runs differ"
        self.seconds = runs.seconds_of_stages(again)
        shutil.rmtree(again)

    def kill_copies(self, count: int) -> None:
        """Kill copies of this process, several in one folder."""
        while count:
            folder = self.work / f"run-{len(self.moments):03d}"
            for _ in range(min(count, int(self.rng.integers(1, KILLS + 1)))):
                killed = False
                while not killed:
                    fresh = not (folder / "model").exists()
                    watch = runs.Watch(folder)
                    process = runs.run_in_child(self.study, folder)
                    killed = self._kill(process, watch, fresh, folder, "a copy", lambda process=process: [process])
                count -= 1
            self._finish(folder)

    def kill_commands(self, count: int) -> None:
        """Kill the command line with two workers: its process, one of its workers, or all of them."""
        for number in range(count):
            folder, who = self.work / f"command-{number:03d}", WHO[number % len(WHO)]
            killed = False
            while not killed:
                fresh = not (folder / "model").exists()
                watch = runs.Watch(folder)
                started = runs.run_command(self.config, folder, "--workers", "2")
                killed = self._kill(started.pid, watch, fresh, folder, who, self._chosen(started.pid, who))
                code = started.wait(PATIENCE)
                if who == "a worker" or not killed:
                    _expect_success(code, folder)
            self._finish(folder)

    def _chosen(self, process: int, who: str) -> Callable[[], list[int]]:
        def chosen() -> list[int]:
            workers = runs.workers_of(process)
            if who == "a worker":
                return [int(self.rng.choice(workers))] if workers else []
            return [process, *workers] if who == "all" else [process]

        return chosen

    def _kill(
        self, process: int, watch: runs.Watch, fresh: bool, folder: Path, how: str, chosen: Callable[[], list[int]]
    ) -> bool:
        """Wait for a moment and kill; False where the run ended before."""
        begin = time.perf_counter()
        stages = [name for name in runs.STAGES if fresh or name != "training"]
        weights = np.array([2.0 if name == "explaining and evaluating" else 1.0 for name in stages])
        if how in ("a worker", "all"):
            weights = np.array([float(name == "explaining and evaluating") for name in stages])
        stage = str(self.rng.choice(stages, p=weights / weights.sum()))
        share = float(self.rng.uniform())
        before = stages.index(stage)
        while not ((stage == "data" and watch.path.exists()) or len(watch.stages()) >= before > 0):
            if _over(process, how, folder):
                return False
            time.sleep(runs.POLL)
        while how == "a worker" and not runs.workers_of(process):
            if _over(process, how, folder):
                return False
            time.sleep(runs.POLL)
        # Workers take seconds to be there.
        most = self.seconds[stage] if how == "a copy" else max(self.seconds[stage], 10.0)
        time.sleep(share * most)
        if _over(process, how, folder) or not (targets := chosen()):
            return False
        workers = runs.workers_of(process)
        for target in targets:
            runs.kill(target)
        moment = self._note(watch, fresh, folder, how, time.perf_counter() - begin)
        if how == "a copy":
            runs.wait(process)
        elif how != "a worker":
            seconds, left = runs.end_of(workers, 60.0)
            moment.orphans = round(seconds, 2) if workers else None
            for each in left:
                runs.kill(each)
        if how != "a worker":
            self._unjudged[-1] = (moment, runs.Reported.of(folder))
        return True

    def _note(self, watch: runs.Watch, fresh: bool, folder: Path, how: str, seconds: float) -> Moment:
        reported = runs.Reported.of(folder)
        begun = [path for path in folder.rglob("*") if path.name[0] == "." or path.suffix == ".partial"]
        moment = Moment(
            len(self.moments),
            folder.name,
            how,
            runs.stage_reached(watch.stages(), fresh),
            round(seconds, 3),
            len(reported.entries),
            len(begun),
        )
        self.moments.append(moment)
        self._unjudged.append((moment, reported))
        return moment

    def _finish(self, folder: Path) -> None:
        """Run a folder's study to its end, and judge the moments that it had."""
        code = runs.wait(runs.run_in_child(self.study, folder))
        found = runs.differences(self.expected, folder) if code == 0 else [f"it did not go on: {runs.said(folder)}"]
        for moment, reported in self._unjudged:
            moment.lost, moment.differences = reported.lost(folder), found
            shown = "; ".join([*moment.differences, *(f"shard {number} was lost" for number in moment.lost)]) or "equal"
            print(f"{moment.number:4d}  {moment.how:10} {moment.stage:26} {shown[-2000:]}", flush=True)
        if not any(moment.fault for moment, _ in self._unjudged):
            shutil.rmtree(folder)
        self._unjudged.clear()


def _over(process: int, how: str, folder: Path) -> bool:
    """Whether a run has ended; a copy that failed ends the harness."""
    if how != "a copy":
        return not runs.alive(process)
    code = runs.ended(process)
    if code is not None:
        _expect_success(code, folder)
    return code is not None


def _expect_success(code: int, folder: Path) -> None:
    if code != 0:
        raise SystemExit(f"{folder}: expected a study that ends with exit code 0, got {code}:\n{runs.said(folder)}")


def table(moments: Sequence[Moment]) -> str:
    """How many moments fell into each stage, and what came of them."""
    rows = [f"{'stage':28}{'moments':>9}{'equal':>7}{'lost':>6}{'begun files':>13}"]
    for stage in (*runs.STAGES, "sealing", "all"):
        own = [moment for moment in moments if stage in (moment.stage, "all")]
        equal = sum(not moment.differences for moment in own)
        lost = sum(bool(moment.lost) for moment in own)
        rows.append(f"{stage:28}{len(own):9}{equal:7}{lost:6}{sum(moment.parts_left for moment in own):13}")
    waits = [moment.orphans for moment in moments if moment.orphans is not None]
    if waits:
        rows.append(f"Workers left behind: {len(waits)} times, gone after {max(waits):.2f} s at most")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, compare, print the table; 1 on a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--commands", type=int, help="of them, those of the command line; a tenth if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="new folder for the runs; those that are not at fault are removed")
    given = parser.parse_args(arguments)
    commands = -(-given.moments // 10) if given.commands is None else given.commands
    # The sums of a training depend on the threads, which are to be one in copies of this process and in commands.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    torch.set_num_threads(1)
    work = given.keep or Path(tempfile.mkdtemp(prefix="crash-safety-"))
    work.mkdir(parents=True, exist_ok=True)
    os.environ["MEDSALIENCY_CACHE"] = str(work / "cache")
    harness = Harness(work, given.seed)
    try:
        with threadpool_limits(1):
            harness.prepare()
            harness.kill_commands(commands)
            harness.kill_copies(given.moments - commands)
    finally:
        if given.keep is None:
            shutil.rmtree(work)
    print(table(harness.moments))
    if given.json:
        rows: list[dict[str, Any]] = [asdict(moment) for moment in harness.moments]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"seed": given.seed, "moments": rows}, indent=2) + "\n")
    return int(any(moment.fault for moment in harness.moments))


if __name__ == "__main__":
    sys.exit(main())
