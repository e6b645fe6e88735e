"""A worker in a process of a cluster, which is told what to do by calls of its methods."""

from __future__ import annotations

import importlib.metadata
import pickle  # nosec B403 # only between processes of one study
import platform
import tempfile
import threading
import traceback
from collections.abc import Mapping

from medsaliency.study.engines.processes import Refused
from medsaliency.study.work import Worker
from medsaliency.types import MedsaliencyError

SAME = ("medsaliency", "torch", "numpy", "scipy", "timm")
"""Packages on whose versions numbers depend: they are the same on all nodes."""


class Actor:
    """A worker in a process of the cluster. Two tasks may be with it: one is read while the other is worked on.

    Tasks and outcomes come and go as bytes: arrays that lie in the object store could not be written to, and would keep
    their place there for as long as anybody holds them.
    """

    def __init__(self) -> None:
        self._working = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="medsaliency-worker-", ignore_cleanup_errors=True)
        self._worker: Worker | None = None

    def prepare(self, packed: bytes, device: str, expected: Mapping[str, str]) -> Refused | None:
        """Build the worker.

        Args:
            packed: Its setup.
            device: Where the model runs.
            expected: What :func:`versions` gives where the study was started.

        Returns:
            Why it cannot be.
        """
        try:
            if versions() != expected:
                raise MedsaliencyError(
                    f"Ray: expected {_named(expected)} on every node, as where the study was started; "
                    f"{platform.node()} has {_named(versions())}"
                )
            tempfile.tempdir = self._folder.name  # so that all that is written is removed with it
            self._worker = Worker(pickle.loads(packed), device)  # noqa: S301  # nosec B301 # what the study's process has made
        except Exception as error:  # noqa: BLE001  # told to the study's process, which raises it
            return _refused(error)
        return None

    def do(self, packed: bytes) -> bytes:
        """Do a task, and give its outcome back."""
        assert self._worker is not None  # noqa: S101  # no task comes before it is there
        try:
            task = pickle.loads(packed)  # noqa: S301  # nosec B301 # what the study's process has just made
            read = self._worker.read(task)
            with self._working:
                *_, outcome = self._worker.work(task, read)
        except Exception as error:  # noqa: BLE001  # likewise
            return pickle.dumps(_refused(error))
        return pickle.dumps(outcome)

    def leave(self) -> None:
        """Remove what was written."""
        self._folder.cleanup()


def _refused(error: Exception) -> Refused:
    ours = isinstance(error, MedsaliencyError)
    return Refused(str(error) if ours else traceback.format_exc(), ours)


def versions() -> dict[str, str]:
    """Of Python and of :data:`SAME`, by name."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in SAME}}


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
