"""The time that a study's steps will still take, from what steps of the same name took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step that is done.

    Args:
        name: Of its method, metric or check.
        seconds: What it took; None where it was found done.
    """

    name: str
    seconds: float | None = None


@dataclass(frozen=True)
class Progressed:
    """What a bar shows beside itself: the ``name`` of the step done, and the ``seconds_left``, None while unknown."""

    name: str
    seconds_left: float | None


def estimated(steps: Iterable[Step], plan: Mapping[str, int], workers: int = 1) -> Iterator[Progressed]:
    """Say what is left as steps are done.

    A metric costs nearly the same for every method, so that one is enough to know what it will cost for all. A name
    that has not come yet is taken to cost what the others do on average.

    Args:
        steps: As they are done, those found done before included.
        plan: How many steps of each name there are.
        workers: How many steps are done at a time.
    """
    left = Counter(plan)
    took: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for step in steps:
        if step.seconds is not None:
            took[step.name][0] += step.seconds
            took[step.name][1] += 1
        left[step.name] -= 1
        yield Progressed(step.name, _left(left, took, workers))


def _left(left: Counter[str], took: Mapping[str, list[float]], workers: int) -> float | None:
    if not took:
        return None
    means = {name: seconds / count for name, (seconds, count) in took.items()}
    unknown = sum(means.values()) / len(means)
    return sum(many * means.get(name, unknown) for name, many in left.items()) / workers
