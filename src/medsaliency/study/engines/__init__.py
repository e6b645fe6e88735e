"""What gives tasks to workers: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from medsaliency.study.config import Study
from medsaliency.study.estimate import Step
from medsaliency.study.work import Lost, Outcome, Setup, Task

AHEAD = 2
"""Tasks a worker has at a time: the images of one are read while the model works on the other."""
TRIES = 2
"""Times that a task is given out, where the worker that has it ends."""
Found = Step | Outcome | Lost


class Engine(Protocol):
    """Has workers, and gives them tasks. It is closed when a study is over.

    What is found does not depend on it: not on the number of workers, the order in which they are done, or a worker
    that ends and is replaced.
    """

    @property
    def name(self) -> str:
        """As a log and a report call it."""

    def workers(self, tasks: int) -> int:
        """How many of so many tasks are done at a time."""

    def device(self, study: Study) -> str:
        """The kind of device on which a study's models run: "cuda" or "cpu", on which the last digits depend."""

    def run(self, setup: Setup, tasks: Iterable[Task], count: int) -> Iterator[Found]:
        """Have tasks done.

        Args:
            setup: What the workers are made from. Those that are there go on where it is the same object.
            tasks: Taken as they are needed, :data:`AHEAD` a worker at most before their outcomes are there.
            count: How many there are.

        Yields:
            Every step when it is done, and every outcome, in any order. A task whose worker ended :data:`TRIES` times
            is lost.

        Raises:
            MedsaliencyError: If a worker cannot be set up, or anything is wrong that is not of a single image.
        """

    def close(self) -> None:
        """End the workers, whatever they do."""


def make_engine(name: Literal["local", "ray"], workers: int | None = None, address: str | None = None) -> Engine:
    """The engine of a name.

    Args:
        name: "local" or "ray".
        workers: Most of them; None for as many as there is room for.
        address: Of a Ray cluster; None starts one here.

    Raises:
        MedsaliencyError: If Ray is not installed.
    """
    if name == "local":
        from medsaliency.study.engines.local import Local

        return Local(workers)
    from medsaliency.study.engines.ray import Ray

    return Ray(address, workers)
