"""Tasks that wait to be given out, among them those of workers that ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable

from medsaliency.study.engines import AHEAD, TRIES
from medsaliency.study.work import Lost, Task


class Waiting:
    """Tasks that wait. Those of a worker that ended come first, and each of them is then done alone.

    So it is known which task it is that ends workers, and the others that it took with it are not blamed.

    Args:
        tasks: Taken as they are needed.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._source = iter(tasks)
        self._dry = False
        self._suspects: deque[Task] = deque()
        self._suspected: set[int] = set()
        self._ends: Counter[int] = Counter()

    @property
    def over(self) -> bool:
        """Whether none is left."""
        return self._dry and not self._suspects

    def next(self, having: Collection[Task]) -> Task | None:
        """What a worker that has these tasks does next; None where it is to wait, or none is left."""
        if len(having) >= AHEAD or any(task.number in self._suspected for task in having):
            return None
        if self._suspects:
            return None if having else self._suspects.popleft()
        task = None if self._dry else next(self._source, None)
        self._dry = task is None
        return task

    def back(self, task: Task, company: int, why: str) -> Lost | None:
        """Take back a task of a worker that ended.

        Args:
            task: The task.
            company: How many tasks the worker had, this one among them.
            why: It ended.

        Returns:
            The task as lost, if a worker that had nothing else has ended :data:`~medsaliency.study.engines.TRIES`
            times; else None, and it will be given out again.
        """
        self._ends[task.number] += company == 1
        if self._ends[task.number] >= TRIES:
            return Lost(task, f"the worker ended {TRIES} times while it worked on nothing else, the last time: {why}")
        self._suspects.append(task)
        self._suspected.add(task.number)
        return None
