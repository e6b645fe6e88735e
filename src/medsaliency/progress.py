"""Progress on a terminal: a bar for each stage, with the time that is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")
WIDE = 110
"""Characters of a terminal that has room for the name of what was done last."""


class Left(ProgressColumn):
    """The time left: what the items say of it themselves, or by the number of those that are done."""

    def __init__(self) -> None:
        self._by_number = TimeRemainingColumn()
        super().__init__()

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        seconds = task.fields.get("seconds_left")
        if seconds is None or task.finished:
            return self._by_number.render(task)
        minutes, rest = divmod(int(seconds), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}", style="progress.remaining")


def bars(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Show a bar on standard error while ``items`` are gone through; stays as one line when done.

    An item with a ``name`` and ``seconds_left`` (:class:`medsaliency.study.estimate.Progressed`) has them shown.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        Left(),
        *([TextColumn("{task.fields[name]}")] if console.width >= WIDE else []),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, name="")
        for item in items:
            if (left := getattr(item, "seconds_left", None)) is not None:
                progress.update(task, seconds_left=left, name=getattr(item, "name", ""))
            yield item
            progress.advance(task)
        progress.update(task, name="")


@contextmanager
def loading() -> Iterator[None]:
    """Say that libraries are being loaded, which takes seconds the first time."""
    with Console(stderr=True).status("loading"):
        yield
