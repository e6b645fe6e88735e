"""Workers in processes of their own, each with a pipe: tasks go in, steps and outcomes come out."""

from __future__ import annotations

import multiprocessing
import os
import pickle  # nosec B403 # only between processes of one study
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running

import torch

from medsaliency.study.engines import AHEAD, TRIES, Found
from medsaliency.study.engines.waiting import Waiting
from medsaliency.study.starting import start
from medsaliency.study.usage import cores
from medsaliency.study.work import Lost, Outcome, Read, Setup, Task, Worker
from medsaliency.types import MedsaliencyError


@dataclass(frozen=True)
class Ready:
    """A worker says that it is set up."""


@dataclass(frozen=True)
class Refused:
    """What a worker says when it cannot go on: a user's error, or a fault of the program with its traceback."""

    message: str
    ours: bool


@dataclass
class _Member:
    """One process, and the tasks that it has, the one it works on first."""

    number: int
    attempt: int
    process: SpawnProcess
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)
    ready: bool = False


class Crew:
    """Processes that work for one study. One that ends is replaced, and its tasks are given out again.

    Args:
        size: How many processes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._setup: Setup | None = None
        self._members: list[_Member] = []

    def run(self, setup: Setup, tasks: Iterable[Task]) -> Iterator[Found]:
        """Have tasks done (see :meth:`medsaliency.study.engines.Engine.run`)."""
        if self._setup is not setup:
            self.close()
            self._setup = setup
            self._members = [self._start(number, 1) for number in range(self.size)]
        waiting = Waiting(tasks)
        while True:
            for _ in range(AHEAD):
                for member in self._members:
                    if task := waiting.next(member.tasks):
                        member.tasks.append(task)
                        with suppress(BrokenPipeError, ConnectionResetError):  # its end is seen below
                            member.pipe.send(task)
            if not any(member.tasks for member in self._members):
                return
            for pipe in wait([member.pipe for member in self._members]):
                member = next(member for member in self._members if member.pipe is pipe)
                try:
                    found = member.pipe.recv()
                except (EOFError, OSError):  # at the end of an outcome, or in the middle of one
                    yield from self._replace(member, waiting)
                    continue
                if isinstance(found, Ready):
                    member.ready = True
                elif isinstance(found, Refused):
                    raise (MedsaliencyError if found.ours else RuntimeError)(found.message)
                else:
                    if isinstance(found, Outcome):
                        member.tasks.popleft()
                    yield found

    def close(self) -> None:
        """End the processes, whatever they do."""
        for member in self._members:
            member.process.kill()
            member.pipe.close()
        for member in self._members:
            member.process.join()
        self._members, self._setup = [], None

    def _start(self, number: int, attempt: int) -> _Member:
        assert self._setup is not None  # noqa: S101  # set before any is started
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        devices = torch.cuda.device_count()
        device = f"cuda:{number % devices}" if devices and self._setup.study.device in (None, "cuda") else None
        setup = replace(self._setup, threads=max(1, cores() // self.size))
        packed = pickle.dumps((setup, device))
        process = context.Process(target=start, args=(theirs, packed), name=f"medsaliency-worker-{number}", daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        return _Member(number, attempt, process, ours)

    def _replace(self, member: _Member, waiting: Waiting) -> Iterator[Lost]:
        """Start a process in the place of one that ended, and give its tasks out again or tell that one is lost."""
        member.process.join()
        code = member.process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not member.ready and member.attempt == TRIES:
            raise MedsaliencyError(
                f"expected a worker process to be set up, {TRIES} ended before they were ({how}); there may be too "
                "little memory for this many: give --workers a smaller number"
            )
        # One that was not ready yet has worked on none of its tasks.
        company = len(member.tasks) if member.ready else AHEAD
        for task in member.tasks:
            if lost := waiting.back(task, company, how):
                yield lost
        member.pipe.close()
        attempt = 1 if member.ready else member.attempt + 1
        self._members[self._members.index(member)] = self._start(member.number, attempt)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let a process that is started here not hear Ctrl-C, which is for this one to answer."""
    ensure_running()  # else it would be started below, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # not ignored: it is answered afterwards
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Connection, setup: Setup, device: str | None) -> None:
    """What a worker process runs: tasks from the pipe, until it is killed or the other end is gone."""
    try:
        worker = Worker(setup, device)
        pipe.send(Ready())
        tasks: queue.SimpleQueue[tuple[Task, Read] | BaseException] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(pipe, worker, tasks), daemon=True).start()
        while True:
            found = tasks.get()
            if isinstance(found, BaseException):
                raise found
            for each in worker.work(*found):
                pipe.send(each)
    except MedsaliencyError as error:
        pipe.send(Refused(str(error), ours=True))
    except BrokenPipeError:
        os._exit(1)
    except Exception:  # noqa: BLE001  # told to the process that waits for it, which raises it
        pipe.send(Refused(traceback.format_exc(), ours=False))


def _receive(pipe: Connection, worker: Worker, tasks: queue.SimpleQueue[tuple[Task, Read] | BaseException]) -> None:
    """Read the images of tasks as they come, while those before are worked on."""
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            os._exit(1)  # the study's process is gone: nobody waits for what this one does
        except Exception as error:  # noqa: BLE001  # raised in the thread that works
            tasks.put(error)
            return
        try:
            tasks.put((task, worker.read(task)))
        except Exception as error:  # noqa: BLE001  # raised in the thread that works
            tasks.put(error)
