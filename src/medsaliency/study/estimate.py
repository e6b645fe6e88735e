"""The time that a study's steps will still take, from what steps of the same name took."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step that is done.

    Args:
        name: Of its method, metric or check.
        fresh: Whether it was done now, and not found as done before.
    """

    name: str
    fresh: bool = True


@dataclass(frozen=True)
class Progressed:
    """What a bar shows beside itself: the ``name`` of the step done, and the ``seconds_left``, None while unknown."""

    name: str
    seconds_left: float | None


def estimated(steps: Iterable[Step], plan: Sequence[str]) -> Iterator[Progressed]:
    """Time steps as they are done, and say what is left.

    A metric costs nearly the same for every method, so that one is enough to know what it will cost for all. A name
    that has not come yet is taken to cost what the others do on average.

    Args:
        steps: As they are done, those found done before included.
        plan: The names of all of them, in any order.
    """
    left = Counter(plan)
    took: dict[str, list[float]] = defaultdict(list)
    begin = time.perf_counter()
    for step in steps:
        end = time.perf_counter()
        if step.fresh:
            took[step.name].append(end - begin)
        begin = end
        left[step.name] -= 1
        yield Progressed(step.name, _left(left, took))


def _left(left: Counter[str], took: dict[str, list[float]]) -> float | None:
    if not took:
        return None
    means = {name: sum(seconds) / len(seconds) for name, seconds in took.items()}
    unknown = sum(means.values()) / len(means)
    return sum(many * means.get(name, unknown) for name, many in left.items())
