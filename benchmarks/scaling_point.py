"""One study in a process of its own, and what its log says that each stage took; `scaling.py` runs many of them."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from medsaliency.data.dataset import TRAINING, VALIDATION
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build
from medsaliency.study.cells import cells_of
from medsaliency.study.config import Study, load_study
from medsaliency.study.engines import make_engine
from medsaliency.study.log import NAME, read
from medsaliency.study.pipeline import run_study
from medsaliency.study.usage import PROCESSES, cpu_seconds
from medsaliency.types import generator, silent

T = TypeVar("T")
Result = dict[str, Any]
SIZE = 32
CLASSES = ("one", "other")
BATCH = 20
"""Images in a shard: every number of images that is measured is a multiple of it, so that all shards are full."""
METHODS = ("gradient", "random", "grad_cam", "edge", "input_x_gradient", "center_gaussian", "layer_cam", "hires_cam")
"""Fast ones, in the order in which a study takes them; a study of two has the first two."""
METRICS = ("gini", "effective_fraction")
OTHERS = {TRAINING: 4, VALIDATION: 40}
"""Images of the other splits. They are the same in every study, and so belong to what it takes to begin."""
LOOK = 0.1
"""Seconds between two looks at the memory of workers."""


@dataclass(frozen=True)
class Point:
    """What is measured.

    Args:
        images: That are explained.
        methods: How many explain them.
        workers: Processes that work.
        engine: "local" or "ray".
        whole: Whether statistics and report are made; else the study ends where they would begin.
    """

    images: int
    methods: int = 2
    workers: int = 1
    engine: str = "local"
    whole: bool = False


class _EnoughError(Exception):
    """Ends a study of which no more is measured."""


def write_images(root: Path, images: int) -> None:
    """Write noise of SIZE x SIZE pixels as PNG files, in a folder a split and class; those that are there are kept."""
    for split, count in {**OTHERS, "evaluation": images}.items():
        for number in range(count):
            file = root / split / CLASSES[number % 2] / f"{number:06d}.png"
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                values = generator(0, split, str(number)).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
                Image.fromarray(values).save(file)


def write_checkpoint(folder: Path) -> None:
    """Write an untrained network: what a pass costs does not depend on its weights."""
    module = build("small_cnn", classes=len(CLASSES), channels=1, size=SIZE, seed=0)
    classifier = Classifier(module, CLASSES, mean=0.5, std=0.3, channels=1, size=SIZE, device="cpu")
    checkpoint.save(classifier, folder, architecture="small_cnn")


def study_of(point: Point, images: Path, model: Path) -> Study:
    """The study of a point: cheap in all but what grows with images."""
    return load_study(
        None,
        **{
            "name": "scaling",
            "device": "cpu",
            "data.source": "folder",
            "data.root": str(images),
            "data.size": SIZE,
            "model.checkpoint": str(model),
            "explain.images": point.images,
            "explain.batch_size": BATCH,
            "explain.tune": False,
            "explain.methods": list(METHODS[: point.methods]),
            "evaluate.metrics": list(METRICS),
            "evaluate.random_draws": 2,
            "statistics.draws": 100,
            "statistics.permutations": 100,
            "statistics.mixed_models": [],
            "report.cases": 2,
        },
    )


def measure(point: Point, images: Path, model: Path, profile: Path | None = None) -> Result:
    """Run the study, and return wall clock, processor seconds and peak memory of every stage.

    Args:
        point: What is measured.
        images: Folder with as many images as it asks for; it may have no more in its evaluation split.
        model: The checkpoint.
        profile: A folder for what :mod:`cProfile` finds of this process; None for none.
    """
    study = study_of(point, images, model)
    engine = make_engine(point.engine, point.workers)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        begin, used = time.perf_counter(), cpu_seconds()
        engine.workers(1)  # a cluster that is not there yet is started now
        started = {"seconds": time.perf_counter() - begin, "cpu_seconds": cpu_seconds() - used}
        output = Path(folder) / "run"
        begin, used = time.perf_counter(), cpu_seconds()
        with _watched() as peaks, _profiled(profile), suppress(_EnoughError):
            run_study(study, output, silent if point.whole else _until_statistics, engine=engine)
        whole = {"seconds": time.perf_counter() - begin, "cpu_seconds": cpu_seconds() - used}
        events = list(read(output / NAME))
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        files = sum(path.is_file() for path in output.rglob("*"))
    stages = [event for event in events if event["event"] == "stage"]
    shards = [event for event in events if event["event"] == "shard"]
    assert sum(shard["images"] for shard in shards) == point.images, "not every image was explained"
    assert not any(event["event"] == "failure" for event in events), "something failed"
    known = [stage["peak_bytes"] for stage in stages if stage["peak_bytes"] is not None]
    return {
        **asdict(point),
        "cluster": started,
        "taken": whole,
        "parts": len(cells_of(study)),
        "stages": {s["name"]: {key: s[key] for key in ("seconds", "cpu_seconds", "peak_bytes")} for s in stages},
        "peak_bytes": max(known, default=None),
        "workers_peak_bytes": max(peaks, default=None),
        "shards": len(shards),
        "run_bytes": size,
        "run_files": files,
        "ray": version("ray") if point.engine == "ray" else None,
    }


def _until_statistics(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """A track (see :mod:`medsaliency.types`) that shows nothing, and ends the study before its statistics."""
    del total
    if description == "statistics and report":
        raise _EnoughError
    yield from items


@contextmanager
def _profiled(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    import cProfile

    profile = cProfile.Profile()
    with profile:
        yield
    profile.dump_stats(folder / "profile")


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Look at the memory of the workers, processes that this one or one of Ray has started; most of each one."""
    peaks: list[int] = []
    most: dict[int, int] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            for process in _workers():
                most[process] = max(most.get(process, 0), _resident(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()
        peaks.extend(most.values())


def _workers() -> list[int]:
    """Descendants of this process that work on shards."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for path in PROCESSES.glob("[0-9]*"):
        try:
            name, _, rest = (path / "stat").read_text().rpartition(")")
            parents[int(path.name)] = int(rest.split()[1])
            names[int(path.name)] = (path / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    found = []
    for process, name in names.items():
        above: int | None = process
        while above not in (None, os.getpid()):
            above = parents.get(above)
        if above is not None and process != os.getpid() and ("spawn_main" in name or name.startswith("ray::Actor")):
            found.append(process)
    return found


def _resident(process: int) -> int:
    try:
        pages = int((PROCESSES / str(process) / "statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one point, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("point", type=lambda text: Point(**json.loads(text)), help="as JSON")
    parser.add_argument("data", type=Path, help="folder for images and checkpoint; those that are there are used")
    parser.add_argument("output", type=Path, help="JSON file that is written")
    parser.add_argument("--profile", type=Path, help="folder for a profile of this process")
    given = parser.parse_args(arguments)
    images, model = given.data / f"images-{given.point.images}", given.data / "model"
    write_images(images, given.point.images)
    if not model.exists():
        write_checkpoint(model)
    given.output.write_text(json.dumps(measure(given.point, images, model, given.profile)))


if __name__ == "__main__":
    main()
