"""The page of how studies scale, from the numbers that `scaling.py` has measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from medsaliency.study.store import write_text
from scaling_law import BEFORE, STREAMING, WORKING, costs, local, peak_before, runs_of, seconds, start
from scaling_page_estimate import estimate

Result = dict[str, Any]
LAST = ("write statistics", "write report")
INTRODUCTION = """# How studies scale

What an image of a study costs as there are more images, methods and workers, whether memory stays the same, and what
follows for large data sets. `benchmarks/scaling.py` measured this and wrote this page: run it again rather than edit
it."""
READING = """## How costs are read

- **Costs are processor seconds**, user and system, of the study's process and all its children. Other work on the
  machine stretches wall clock as it likes; processor seconds it changes by the caches that it takes. Flatness and the
  overhead of Ray are judged by them.
- **What is there to begin with is subtracted**: the smallest study has two full shards, after which every worker is
  set up and everything was used once. With t(n) for a study of n images, an image costs (t(n) - t(smallest)) /
  (n - smallest), in each stage by itself.
- **Flat** means that this cost is, at every number of images, within the goal of what it is at the largest.
- **Peak memory** is the resident memory of the process where it was highest, libraries included.
- All numbers of images are multiples of a shard, so that all shards are full."""


def write_page(result: Result, page: Path) -> None:
    """Write the Markdown page."""
    parts = [INTRODUCTION, _conditions(result), READING, _goals(result), _images(result), _methods(result)]
    parts += [_workers(result), _start(result)]
    if "cost" in result:
        parts += estimate(result)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, "\n\n".join(part for part in parts if part) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)])


def _conditions(result: Result) -> str:
    machine, used = result["machine"], result["settings"]
    ray = next((run["ray"] for run in result["runs"] if run["ray"]), None)
    rows = {
        "Machine": f"{machine['architecture']}, {machine['cores']} cores, shared with other work",
        "Software": f"Python {machine['python']}, PyTorch {machine['torch']}" + (f", Ray {ray}" if ray else ""),
        "Study": f"noise of {used['size']} x {used['size']} pixels as PNG, an untrained `small_cnn`, {used['methods']} "
        f"methods, {used['metrics']} metrics and one further random map, shards of {used['shard']} images",
        "Runs": ", ".join(f"{len(runs_of(result, images=n))} of {n:,} images" for n in _counts(result["runs"])),
    }
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["## Conditions\n", "| | |", "|---|---|", *lines])


def _goals(result: Result) -> str:
    met = {True: "met", False: "**missed**", None: "not measured"}
    rows = [f"| {goal['goal']} | {goal['found']} | {met[goal['met']]} |" for goal in result["goals"]]
    return "\n".join(["## Goals\n", "| goal | found | |", "|---|---:|---|", *rows])


def _images(result: Result) -> str:
    runs = local(result)
    of_stages = {stage: costs(runs, [stage]) for stage in STREAMING}
    rows = []
    for n in _counts(runs)[1:]:
        own = [run for run in runs if run["images"] == n]
        wall = seconds(own, STREAMING, "seconds")
        peaks = [peak for run in own if (peak := peak_before(run)) is not None]
        cells = [f"{1000 * of_stages[stage][n]:.2f}" for stage in STREAMING]
        memory = f"{median(peaks) / 2**20:.0f}" if peaks else "unknown"
        rows.append((f"{n:,}", *cells, f"{n / wall:.1f}", memory, f"{own[0]['run_bytes'] / n / 1000:.1f}"))
    head = ("images", *(f"{stage}, ms/image" for stage in STREAMING), "images/s (wall clock)", "peak, MiB", "kB/image")
    text = table(head, rows)
    whole = [run for run in runs if run["whole"]]
    last = [
        (f"{run['images']:,}", *(f"{run['stages'][stage]['cpu_seconds']:.1f}" for stage in LAST), _mib(run))
        for run in sorted(whole, key=lambda run: run["images"])
    ]
    other = table(("images", "statistics, s", "report, s", "peak, MiB"), last)
    return (
        f"## More images\n\nBefore the statistics, with one local worker:\n\n{text}\n\n"
        "Statistics and report are made once, from the tables of all images. They hold these tables in memory, so that "
        f"a part of their cost grows with images; processor seconds, and the peak of the whole study:\n\n{other}"
    )


def _mib(run: Result) -> str:
    return "unknown" if run["peak_bytes"] is None else f"{run['peak_bytes'] / 2**20:.0f}"


def _methods(result: Result) -> str:
    law, axis = result["law"], result["settings"]["axis"]
    rows = [
        (parts, f"{1000 * cost:.2f}") for parts, cost in sorted(law["by_parts"].items(), key=lambda each: int(each[0]))
    ]
    return (
        "## More methods\n\nA part is what one method gives, or one metric of one method's maps. Streaming stages "
        f"together, {axis:,} images, studies of one method and more:\n\n{table(('parts', 'ms/image'), rows)}\n\n"
        f"The line through the first and the last: {1000 * law['image']:.2f} ms for an image, and "
        f"{1000 * law['part']:.2f} ms for each of its parts. That is what a study does around methods and metrics that "
        "cost next to nothing themselves: it reads, draws up tables, compresses, hashes, writes and joins."
    )


def _workers(result: Result) -> str:
    axis, methods = result["settings"]["axis"], result["settings"]["methods"]
    first, rows = result["settings"]["start"], []
    for engine, workers in sorted({(run["engine"], run["workers"]) for run in result["runs"]}):
        runs = runs_of(result, engine=engine, workers=workers, methods=methods)
        runs = [run for run in runs if run["images"] in (first, axis)]
        if {run["images"] for run in runs} != {first, axis}:
            continue
        own = [run for run in runs if run["images"] == axis]
        speed = axis / seconds(own, WORKING, "seconds")
        begun = median(run["cluster"]["cpu_seconds"] for run in own)
        clock = median(run["cluster"]["seconds"] for run in own)
        of_workers = [run["workers_peak_bytes"] for run in own if run["workers_peak_bytes"]]
        memory = f"{median(of_workers) / 2**20:.0f}" if of_workers else "within"
        cells = (f"{1000 * costs(runs, WORKING)[axis]:.2f}", f"{speed:.1f}", f"{begun:.1f}", f"{clock:.1f}", memory)
        rows.append((engine, workers, *cells))
    head = ("engine", "workers", "ms/image", "images/s", "cluster, CPU s", "cluster, s", "peak of a worker, MiB")
    return (
        f"## More workers\n\nExplaining and evaluating, {axis:,} images: the workers are there by then. What a cluster "
        f"takes to be started is told by itself.\n\n{table(head, rows)}"
    )


def _start(result: Result) -> str:
    runs = local(result)
    rows = [(stage, f"{start(runs, [stage]):.2f}") for stage in BEFORE]
    return "## To begin with\n\nProcessor seconds of each stage whatever the images:\n\n" + table(("stage", "s"), rows)


def _counts(runs: Iterable[Result]) -> list[int]:
    return sorted({run["images"] for run in runs})
