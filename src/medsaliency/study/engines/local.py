"""Tasks done on this machine: in this process where one worker is enough, else in several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from medsaliency.study.config import Study
from medsaliency.study.engines import Found
from medsaliency.study.engines.processes import Crew
from medsaliency.study.reading import default_device
from medsaliency.study.usage import available, cores
from medsaliency.study.work import Read, Setup, Task, Worker

ON_A_GPU = 2
"""Workers on one GPU: while one codes images, triangulates or reads, the other's model runs."""
BYTES = 2 * 2**30
"""Memory that a worker is reckoned to take, most of it libraries."""


class Local:
    """Workers on this machine.

    Args:
        limit: Most of them; None for one a core, or :data:`ON_A_GPU` on each GPU where there are any, as far as memory
            goes.
    """

    name = "local"

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._crew: Crew | None = None
        self._worker: tuple[Setup, Worker] | None = None

    def workers(self, tasks: int) -> int:
        """As many as there are tasks, up to the limit."""
        return max(1, min(tasks, self.limit if self.limit is not None else _room()))

    def device(self, study: Study) -> str:
        """The kind of device on which models run."""
        return torch.device(study.device or default_device()).type

    def run(self, setup: Setup, tasks: Iterable[Task], count: int) -> Iterator[Found]:
        """Have tasks done (see :meth:`medsaliency.study.engines.Engine.run`)."""
        if count == 0:
            return
        wanted = self.workers(count)
        if wanted == 1 and self._crew is None:
            yield from self._here(setup, iter(tasks))
            return
        if self._crew is None or self._crew.size < wanted:  # one of fewer tasks before was smaller
            self.close()
            self._crew = Crew(wanted)
        yield from self._crew.run(setup, tasks)

    def close(self) -> None:
        """End the processes."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
        self._worker = None

    def _here(self, setup: Setup, tasks: Iterator[Task]) -> Iterator[Found]:
        """Do tasks in this thread; a second one reads the images of the next."""
        if self._worker is None or self._worker[0] is not setup:
            self._worker = setup, Worker(setup)
        worker = self._worker[1]
        worker.give_up(False)
        pool = ThreadPoolExecutor(1)
        try:
            task = next(tasks, None)
            ahead: Future[Read] | None = None
            while task is not None:
                read = worker.read(task) if ahead is None else ahead.result()
                following = next(tasks, None)
                ahead = None if following is None else pool.submit(worker.read, following)
                yield from worker.work(task, read)
                task = following
        finally:
            worker.give_up()  # Python waits for threads before it ends
            pool.shutdown(wait=False, cancel_futures=True)


def _room() -> int:
    """How many workers this machine has cores, GPUs and memory for."""
    if torch.cuda.is_available():
        return ON_A_GPU * torch.cuda.device_count()
    free = available()
    return cores() if free is None else max(1, min(cores(), free // BYTES))
