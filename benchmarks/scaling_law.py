"""From runs of studies to the law: what an image costs in each stage, what is there to begin with, and the goals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Result = dict[str, Any]
STREAMING = ("predicting", "explaining and evaluating", "joining the shards")
"""Stages whose work is done image by image."""
WORKING = STREAMING[1:2]
"""That in which an engine has nothing to do but to coordinate workers: the one before holds their start."""
BEFORE = ("data", "predicting", "calibrating", "testing geometry", "tuning", *STREAMING[1:])
"""Stages before the statistics."""
FLAT, MEMORY, RAY = 0.10, 0.10, 0.10
"""Most by which an image may cost more or less, memory may grow, and Ray may add."""
SMALL, LARGE = 1_000, 10_000
"""Images between which memory is compared."""


def runs_of(result: Result, **wanted: Any) -> list[Result]:
    """The runs of a point or of an axis, by their fields."""
    return [run for run in result["runs"] if all(run[name] == value for name, value in wanted.items())]


def seconds(runs: Iterable[Result], stages: Sequence[str], kind: str = "cpu_seconds") -> float:
    """The median over runs of what stages took together."""
    return median(sum(run["stages"][stage][kind] for stage in stages) for run in runs)


def costs(runs: Sequence[Result], stages: Sequence[str], kind: str = "cpu_seconds") -> dict[int, float]:
    """Seconds an image by number of images, what the smallest study takes subtracted.

    The smallest study has two full shards: after it a worker is set up, and everything has been used once. So
    ``(t(n) - t(smallest)) / (n - smallest)`` is what each further image costs.
    """
    counts = sorted({run["images"] for run in runs})
    taken = {n: seconds([run for run in runs if run["images"] == n], stages, kind) for n in counts}
    first = counts[0]
    return {n: (taken[n] - taken[first]) / (n - first) for n in counts[1:]}


def start(runs: Sequence[Result], stages: Sequence[str]) -> float:
    """Processor seconds that stages take whatever the images: those of the smallest study, less its images' own."""
    first = min(run["images"] for run in runs)
    own = costs(runs, stages)
    return seconds([run for run in runs if run["images"] == first], stages) - first * own[max(own)]


def local(result: Result) -> list[Result]:
    """The runs that differ in the number of images alone."""
    return runs_of(result, engine="local", workers=1, methods=result["settings"]["methods"])


def fit(result: Result) -> Result:
    """The law: processor seconds to begin, of an image, and of each of its parts, on this machine.

    A part is what one method, or one metric of one method's maps, gives (``medsaliency.study.cells``). The line over
    parts goes through the medians of the studies with fewest and with most methods.
    """
    runs, images = local(result), result["settings"]["axis"]
    first = result["settings"]["start"]
    of_methods = [run for run in runs_of(result, engine="local", workers=1) if run["images"] in (first, images)]
    by_parts: dict[int, float] = {}
    for parts in sorted({run["parts"] for run in of_methods}):
        own = [run for run in of_methods if run["parts"] == parts]
        if {run["images"] for run in own} == {first, images}:
            by_parts[parts] = costs(own, STREAMING)[images]
    few, many = min(by_parts), max(by_parts)
    slope = (by_parts[many] - by_parts[few]) / (many - few) if many > few else 0.0
    return {
        "start": start(runs, BEFORE),
        "image": by_parts[few] - slope * few,
        "part": slope,
        "by_parts": by_parts,
    }


def goals(result: Result) -> list[Result]:
    """Every goal with what was found; ``met`` is None where it was not measured."""
    found = []
    runs = local(result)
    whole = ("before the statistics", STREAMING)
    for name, stages in (whole, *((each, (each,)) for each in STREAMING)):
        own = costs(runs, stages)
        reference = own[max(own)]
        off = {n: cost / reference - 1 for n, cost in own.items()}
        worst = max(off, key=lambda n: abs(off[n]))
        text = f"{name}: an image costs the same at every number of images, within {FLAT:.0%}"
        found.append(_goal(text, f"{off[worst]:+.1%} at {worst:,} images", abs(off[worst]) <= FLAT))
    for name in ("before the statistics", "of the whole study"):
        peaks = {n: _peak(runs, n, whole=name == "of the whole study") for n in (SMALL, LARGE)}
        text = f"peak memory {name} at {LARGE:,} images is that at {SMALL:,}, within {MEMORY:.0%}"
        if None in peaks.values():
            found.append(_goal(text, "not measured", None))
        else:
            growth = peaks[LARGE] / peaks[SMALL] - 1
            found.append(_goal(text, f"{growth:+.1%}", growth <= MEMORY))
    text = f"Ray with one worker costs at most {RAY:.0%} more processor seconds than one local worker"
    added = ray_overhead(result)
    found.append(
        _goal(text, "not measured" if added is None else f"{added:+.1%}", None if added is None else added <= RAY)
    )
    return found


def ray_overhead(result: Result) -> float | None:
    """What Ray adds to what an image costs where workers explain, at one worker; None where not measured."""
    images, methods = result["settings"]["axis"], result["settings"]["methods"]
    first = result["settings"]["start"]
    by_engine = {}
    for engine in ("local", "ray"):
        runs = runs_of(result, engine=engine, workers=1, methods=methods)
        runs = [run for run in runs if run["images"] in (first, images)]
        if {run["images"] for run in runs} != {first, images}:
            return None
        by_engine[engine] = costs(runs, WORKING)[images]
    return by_engine["ray"] / by_engine["local"] - 1


def peak_before(run: Result) -> int | None:
    """The most memory of the stages before the statistics, in bytes."""
    known = [run["stages"][stage]["peak_bytes"] for stage in BEFORE]
    return None if None in known else max(known)


def _peak(runs: Sequence[Result], images: int, *, whole: bool) -> float | None:
    own = [run for run in runs if run["images"] == images and (run["whole"] or not whole)]
    known = [run["peak_bytes"] if whole else peak_before(run) for run in own]
    return median(known) if known and None not in known else None


def _goal(text: str, found: str, met: bool | None) -> Result:
    return {"goal": text, "found": found, "met": met}
