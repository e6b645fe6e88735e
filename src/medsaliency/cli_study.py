"""Running a study from the command line: how it ends, and what is then said."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from medsaliency.progress import bars
from medsaliency.terminal import out, print_end, print_failures

if TYPE_CHECKING:
    from medsaliency.study.config import Study
    from medsaliency.study.engines import Engine
    from medsaliency.study.store import Store

FAILURES, INTERRUPTED = 3, 130
"""Exit codes of a study that is finished though something failed in it, and of one that was stopped."""


def run_to_the_end(
    study: Study,
    output: Path,
    engine: Engine,
    *,
    strict: bool = False,
    profile: bool = False,
    after: Callable[[Store], str] | None = None,
) -> None:
    """Run a study and say how it went; the process ends with a code where something failed or it was stopped.

    Args:
        study: Its configuration.
        output: Its folder.
        engine: Has the workers.
        strict: Whether the first failure ends it.
        profile: Whether traces are written.
        after: Called with the finished run; gives the id under which it is known elsewhere.
    """
    from medsaliency.study.pipeline import Stopped, run_study

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends jobs of a cluster is answered like Ctrl-C
    try:
        store = run_study(study, output, bars, engine=engine, strict=strict, profile=profile)
    except Stopped as error:
        sys.stderr.write(f"medsaliency: {error}\n")
        sys.exit(INTERRUPTED)
    print_end(store)
    if after is not None:
        out.print(f"MLflow run: {after(store)}", highlight=False)
    if print_failures(store):
        sys.exit(FAILURES)
