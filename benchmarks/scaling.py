"""How studies scale: what an image costs as there are more images, methods and workers, and what that means for large
data sets. It measures, computes the goals, and writes the page.

Each point is a study in a process of its own (`scaling_point.py`): a folder of small PNG files of noise, an untrained
network, methods and metrics that cost next to nothing, so that what is measured is what a study does around them.
Costs are processor seconds, of the process and its children, which other work on the machine changes less than wall
clock. The points take turns, and medians over rounds are compared.

Run, half an hour on two idle cores, most of it one study of 10,000 images:

    python benchmarks/scaling.py --json runs/scaling.json --page docs/explanation/scaling.md

Points that are in the JSON file already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import scaling_cost
import scaling_law
from medsaliency.study.store import write_text
from scaling_page import write_page
from scaling_point import BATCH, METRICS, SIZE, Point

Result = dict[str, Any]
HERE = Path(__file__).resolve().parent
START = 2 * BATCH
"""Images of the study whose cost is taken for what is there to begin with."""
SMALL = 3
"""Times as many rounds for small studies, whose differences are tenths of a second."""


def points(given: argparse.Namespace) -> Iterator[tuple[Point, int]]:
    """Every point, and how often it is measured: the large ones, which average over a long time, once."""
    counts = [START, *given.images]
    yield from ((Point(n, whole=n != START), 1) for n in counts)
    yield from ((Point(n), (SMALL if n <= given.axis else 1) * given.rounds - 1) for n in counts if n <= given.often)
    axis = (START, given.axis)
    yield from (
        (Point(n, methods=m), max(1, given.rounds - 1)) for m in given.methods if m != Point(1).methods for n in axis
    )
    if given.axis not in given.images:
        yield Point(given.axis), given.rounds
    for engine in given.engines:
        for workers in given.workers:
            if (engine, workers) != ("local", 1):
                yield from ((Point(n, workers=workers, engine=engine), given.rounds) for n in axis)


def rounds(given: argparse.Namespace, known: Sequence[Result]) -> list[Point]:
    """The points that are still to be measured, in turns; the largest first, beside which others then fit."""
    left: list[tuple[int, Point]] = []
    for point, times in points(given):
        there = sum({key: run[key] for key in asdict(point)} == asdict(point) for run in known)
        left += [(turn, point) for turn in range(there, times)]
    return [point for _, point in sorted(left, key=lambda each: (each[0], -each[1].images))]


def run(point: Point, data: Path) -> Result:
    """Measure one point in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        command = [sys.executable, str(HERE / "scaling_point.py"), json.dumps(asdict(point)), str(data), str(output)]
        # Threads that wait for each other would be counted as work where the machine has other work to do.
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=alone)  # noqa: S603 # nosec B603 # our own file, no shell
        found: Result = json.loads(output.read_text())
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, compute the goals, and write JSON and page."""
    given = _options().parse_args(arguments)
    result: Result = json.loads(given.json.read_text()) if given.json.is_file() else {"runs": []}
    result["settings"] = {
        "start": START,
        "axis": given.axis,
        "methods": Point(1).methods,
        "metrics": len(METRICS),
        "shard": BATCH,
        "size": SIZE,
        "rounds": given.rounds,
    }
    result["machine"] = {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        data = given.data or Path(folder)
        data.mkdir(parents=True, exist_ok=True)
        run(Point(START), data)  # writes the checkpoint, and fills the system's caches
        failed: list[str] = []
        running = [pool.submit(run, point, data) for point in rounds(given, result["runs"])]
        for done in as_completed(running):
            try:
                found = done.result()
            except subprocess.CalledProcessError as error:  # the others are not lost; the exit code tells of it
                failed.append(str(error.cmd[2]))
                continue
            result["runs"].append(found)
            given.json.parent.mkdir(parents=True, exist_ok=True)
            write_text(given.json, json.dumps(result, indent=1) + "\n")
            sys.stderr.write(f"{found['engine']} {found['images']} images {found['methods']} methods done\n")
    if "cost" not in result and not given.without_cost:
        result["cost"] = scaling_cost.measure(scaling_cost.Asked(size=given.cost_size), given.counted_at)
    result["law"], result["goals"] = scaling_law.fit(result), scaling_law.goals(result)
    write_text(given.json, json.dumps(result, indent=1) + "\n")
    for goal in result["goals"]:
        met = {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]
        sys.stdout.write(f"{met}: {goal['goal']}: {goal['found']}\n")
    if given.page is not None:
        write_page(result, given.page)
    if failed:
        sys.exit(f"{len(failed)} points failed, and are measured when this is run again: {'; '.join(failed)}")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300, 1_000, 3_000, 10_000])
    parser.add_argument("--methods", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=["local", "ray"])
    parser.add_argument("--axis", type=int, default=300, help="images where methods, workers or engines differ")
    parser.add_argument("--rounds", type=int, default=3, help="times that a point is measured")
    parser.add_argument("--often", type=int, default=1_000, help="most images of a study that is measured repeatedly")
    parser.add_argument("--jobs", type=int, default=1, help="studies that run at a time: with more, only in haste")
    parser.add_argument("--data", type=Path, help="folder where images and checkpoint are kept for other runs")
    parser.add_argument("--without-cost", action="store_true", help="leave out what an image costs on a GPU")
    parser.add_argument("--cost-size", type=int, default=scaling_cost.FULL, help="pixels a side of the estimate")
    parser.add_argument(
        "--counted-at", type=int, default=scaling_cost.FEW, help="pixels a side where passes are counted"
    )
    parser.add_argument("--json", type=Path, default=Path("runs/scaling.json"), help="measurements, kept and extended")
    parser.add_argument("--page", type=Path, help="Markdown page that is written")
    return parser


if __name__ == "__main__":
    main()
