"""Tasks done by actors of a Ray cluster: one that is there, or one that is started on this machine."""

from __future__ import annotations

import logging
import os
import pickle  # nosec B403 # only between processes of one study
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from medsaliency.study.config import Study
from medsaliency.study.engines import AHEAD, TRIES, Found
from medsaliency.study.engines.actor import Actor, versions
from medsaliency.study.engines.processes import Refused
from medsaliency.study.engines.room import Node, Share, share
from medsaliency.study.engines.waiting import Waiting
from medsaliency.study.usage import cores
from medsaliency.study.work import Setup, Task
from medsaliency.types import MedsaliencyError

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as missing:
    raise MedsaliencyError('the engine ray needs the extra ray: pip install "medsaliency[ray]"') from missing

ANSWER = 30.0
"""Seconds in which a cluster is to answer."""
ASK = """
import sys, logging, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
"""What asks for it, in another process: Ray tries for many minutes, and may end the process that it runs in."""
LOOK = 5.0
"""Seconds after which it is looked again what room the cluster has."""
PATIENCE = 300.0
"""Seconds that are waited while the cluster has no room for a single worker."""
SHORT = 16
"""Characters of a folder below which Ray's sockets can be: their whole paths have 107 at most."""
PARTING = 2.0
"""Seconds that workers have to remove their files before they are ended."""


@dataclass(eq=False)
class _Member:
    """One actor: what becomes ready when it is set up, and its tasks by what becomes ready when each is done."""

    actor: Any
    attempt: int
    prepared: Any
    tasks: dict[Any, Task] = field(default_factory=dict)
    ready: bool = False
    company: int = 0
    """How many tasks it had when it ended; 0 while it lives."""


class Ray:
    """Workers on a Ray cluster, each an actor that holds the model.

    Where a cluster has GPUs all workers are on them, :data:`~medsaliency.study.engines.local.ON_A_GPU` on each; else
    there is one for each CPU. One that ends is replaced as soon as there is room for it, and nodes that join later get
    workers too. Where Ray is connected already, that connection is used, and left as it is.

    Args:
        address: Of the cluster: ``auto`` for one that runs on this machine, ``host:port`` or ``ray://host:port``. None
            starts one here, of this machine alone, which ends with this object.
        workers: Most workers; they then share all CPUs. None for as many as the cluster has room for.

    Raises:
        MedsaliencyError: If the cluster does not answer, or none can be started.
    """

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.limit = address, workers
        self._joined = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._setup: Setup | None = None
        self._stored: Any = None
        self._members: list[_Member] = []
        self._share = Share(1)
        self._looked = 0.0
        if address is not None:
            self._start()  # at once, so that one that is not there is told of before hours of training

    def workers(self, tasks: int) -> int:
        """As many as there are tasks, up to what the cluster has room for now."""
        self._start()
        nodes = _nodes()
        return max(1, min(tasks, self._most(nodes, share(nodes, gpus=_has_gpus(nodes), limit=self.limit))))

    def device(self, study: Study) -> str:
        """The kind of device on which models run: GPUs where the cluster has any."""
        self._start()
        wanted = study.device
        if _has_gpus(_nodes()) and (wanted is None or wanted.startswith("cuda")):
            return "cuda"
        if wanted is not None and wanted.startswith("cuda"):
            raise MedsaliencyError(f"device {wanted}: expected a GPU, the Ray cluster has none; set device to cpu")
        return "cpu" if wanted is None else wanted.partition(":")[0]

    def run(self, setup: Setup, tasks: Iterable[Task], count: int) -> Iterator[Found]:
        """Have tasks done (see :meth:`medsaliency.study.engines.Engine.run`). Steps come with their outcome."""
        if count == 0:
            return
        self._start()
        if self._setup is not setup:
            self._dismiss()
            self._take(setup)
        waiting = Waiting(tasks)
        flight: dict[Any, _Member] = {}
        served = time.monotonic()
        try:
            while True:
                self._grow(count)
                for _ in range(AHEAD):
                    for member in self._members:
                        if member.ready and (task := waiting.next(member.tasks.values())):
                            done = member.actor.do.remote(pickle.dumps(task))
                            member.tasks[done] = task
                            flight[done] = member
                if waiting.over and not flight:
                    return
                if any(member.ready for member in self._members):
                    served = time.monotonic()
                elif time.monotonic() - served > PATIENCE:
                    raise MedsaliencyError(self._no_room())
                unready = {member.prepared: member for member in self._members if not member.ready}
                for ref in ray.wait([*unready, *flight], num_returns=1, timeout=LOOK)[0]:
                    if ref in unready:
                        self._prepared(unready[ref])
                    else:
                        yield from self._found(ref, flight.pop(ref), waiting)
                    del ref  # or what it refers to stays in the object store
        finally:
            for member in self._members:
                member.tasks.clear()

    def close(self) -> None:
        """End the workers, whatever they do, and the cluster if it was started here."""
        self._dismiss()
        if self._joined:
            ray.shutdown()
            ray._private.worker._worker_logs_enabled = True
            self._joined = False
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> None:
        """Be connected: as it is already, to the cluster that is named, or to one that is started on this machine."""
        if ray.is_initialized():
            return
        if self.address is not None:
            _join(self.address)
            self._joined = True
            return
        place = tempfile.gettempdir()
        self._folder = tempfile.TemporaryDirectory(
            prefix="medsaliency-ray-",
            dir=place if len(place) <= SHORT else "/tmp",  # noqa: S108  # nosec B108 # a new folder of its own is made there
            ignore_cleanup_errors=True,
        )
        try:
            _connect(
                self._folder.name,
                address="local",
                num_cpus=max(cores(), self.limit or 0),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._folder.name,
            )
        except Exception as error:
            raise MedsaliencyError(f"Ray: could not start a cluster on this machine: {_line(error)}") from error
        self._joined = True

    def _take(self, setup: Setup) -> None:
        """Put what workers are made from into the object store, once for all of them."""
        self._share = share(_nodes(), gpus=self.device(setup.study) == "cuda", limit=self.limit)
        self._setup = setup
        self._stored = ray.put(pickle.dumps(replace(setup.packed(), threads=max(1, self._share.cpus))))

    def _most(self, nodes: Sequence[Node], each: Share) -> int:
        """How many workers there are to be, one at least: it waits for room where there is none."""
        return max(1, min(each.room(nodes), each.room(nodes) if self.limit is None else self.limit))

    def _grow(self, count: int) -> None:
        """Start workers where there is room for more, or some have ended."""
        if self._members and time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        for _ in range(len(self._members), min(count, self._most(_nodes(), self._share))):
            self._members.append(self._hire())

    def _hire(self, attempt: int = 1) -> _Member:
        assert self._setup is not None  # noqa: S101  # set before any is started
        device = "cuda" if self._share.gpus else self._setup.study.device or "cpu"
        worker: Any = ray.remote(Actor)  # without the types of its methods, which are called through Ray
        actor = worker.options(
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            memory=self._share.memory,
            max_concurrency=AHEAD + 1,  # one more, for its end
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        ).remote()
        return _Member(actor, attempt, actor.prepare.remote(self._stored, device, versions()))

    def _prepared(self, member: _Member) -> None:
        """A worker is set up, or will never be."""
        try:
            refused = ray.get(member.prepared)
        except RayError as error:
            self._members.remove(member)
            ray.kill(member.actor)
            if member.attempt >= TRIES:
                raise MedsaliencyError(
                    f"Ray: expected a worker to be set up, {TRIES} ended before they were: {_line(error)}; on every "
                    "node there must be medsaliency and memory for its workers, of which --workers may be fewer"
                ) from error
            self._members.append(self._hire(member.attempt + 1))
            return
        _raise(refused)
        member.ready = True

    def _found(self, ref: Any, member: _Member, waiting: Waiting) -> Iterator[Found]:
        """What became of a task."""
        task = member.tasks[ref]
        try:
            found = pickle.loads(ray.get(ref))  # noqa: S301  # nosec B301 # what a worker of ours has just made
        except RayTaskError as error:
            raise RuntimeError(str(error)) from error
        except RayError as error:
            if not member.company:
                member.company = len(member.tasks)
                self._members.remove(member)
                ray.kill(member.actor)
                self._looked = 0.0
            if lost := waiting.back(task, member.company, _line(error)):
                yield lost
            return
        finally:
            del member.tasks[ref]
        _raise(found)
        yield from found.steps
        yield found

    def _dismiss(self) -> None:
        """End all workers. They remove their files first, for which they do not wait until a task is done."""
        if ray.is_initialized():
            leaving = [member.actor.leave.remote() for member in self._members if member.ready]
            if leaving:
                ray.wait(leaving, num_returns=len(leaving), timeout=PARTING)
            for member in self._members:
                ray.kill(member.actor)
        self._members, self._setup, self._stored = [], None, None

    def _no_room(self) -> str:
        return (
            f"Ray: expected room for a worker ({self._share}) within {PATIENCE:.0f} s, the cluster has none free; see "
            "`ray status`, or give --workers another number"
        )


def _raise(found: object) -> None:
    if isinstance(found, Refused):
        raise (MedsaliencyError if found.ours else RuntimeError)(found.message)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _has_gpus(nodes: Iterable[Node]) -> bool:
    return any(node.get("GPU", 0) for node in nodes)


def _join(address: str) -> None:
    """Connect to a cluster, once it is known that there is one."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        if address != "auto" and (parts.scheme not in ("", "ray") or parts.hostname is None or parts.port is None):
            raise ValueError("no such form")
    except ValueError as error:  # of a port too
        raise MedsaliencyError(f"--address {address}: expected auto, host:port or ray://host:port") from error
    try:
        if address != "auto":
            socket.create_connection((parts.hostname or "", parts.port or 0), ANSWER).close()
        asked = [sys.executable, "-c", ASK, address]
        answer = subprocess.run(asked, timeout=ANSWER, capture_output=True, text=True)  # noqa: S603  # nosec B603 # no shell, our own
        if answer.returncode:
            raise ConnectionError(answer.stderr)
        _connect(None, address=address)
    except Exception as error:
        why = f"no answer in {ANSWER:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else _line(error)
        raise MedsaliencyError(
            f"--address {address}: expected a Ray cluster, got {why}; see `ray status` on its head node, or leave the "
            "address out to start a cluster here"
        ) from error


def _connect(folder: str | None, **options: Any) -> None:
    """Connect without a word on the terminal and without a report to Ray's makers; signals stay as they are.

    Args:
        folder: For temporary files of processes that are started now.
        options: Of ``ray.init``.
    """
    settings = {"RAY_USAGE_STATS_ENABLED": "0", **({} if folder is None else {"TMPDIR": folder})}
    with _environment(settings), _own_signals():
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    # What nodes tell of processes that ended would come into the midst of the display; there is no option for it.
    ray._private.worker._worker_logs_enabled = False


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts a handler of its own in the place of ours, where it is connected in the main thread."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _line(error: BaseException) -> str:
    """What an error says, in one line. Ray's are paragraphs, the last of which names the cause and then guesses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1].split(" Some common causes")[0].split(" There are some potential")[0] if lines else ""
    return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__
