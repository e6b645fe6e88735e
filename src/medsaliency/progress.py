"""Progress on a terminal: a bar for each stage, with the time that is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


def bars(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Show a bar on standard error while ``items`` are gone through; stays as one line when done."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def loading() -> Iterator[None]:
    """Say that libraries are being loaded, which takes seconds the first time."""
    with Console(stderr=True).status("loading"):
        yield
