"""The start of a worker process, which ends when the study's process does, also while it still loads its libraries."""

from __future__ import annotations

import multiprocessing
import os
import pickle  # nosec B403 # only between processes of one study
import threading
from multiprocessing.connection import Connection


def start(pipe: Connection, packed: bytes) -> None:
    """Watch the process that started this one, and serve it (:func:`medsaliency.study.engines.processes.serve`).

    This module imports nothing that takes long, and what is ``packed`` is opened here only, so that the watch begins
    before the seconds in which libraries are loaded.

    Args:
        pipe: To the study's process.
        packed: The other arguments, pickled.
    """
    threading.Thread(target=_watch, daemon=True).start()
    from medsaliency.study.engines.processes import serve

    serve(pipe, *pickle.loads(packed))  # noqa: S301  # nosec B301 # what the study's process has just made


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # this one was started by it
    parent.join()
    os._exit(1)  # nobody waits for what this one does
