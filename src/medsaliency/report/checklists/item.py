"""An item of a checklist: what the study knows of it, and what a human must add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from medsaliency.report.wording import without_folders

Status = Literal["filled", "partly", "gap", "not applicable"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Item:
    """One item, in this project's own short words.

    The status follows from the texts, so that an item cannot be called filled without something known.

    Args:
        number: As the checklist counts.
        section: Where it stands in the checklist.
        topic: What is asked.
        known: What the study knows, "" for nothing.
        missing: What a human must add, "" for nothing.
        unneeded: Why the item does not apply here, "" where it does.
    """

    number: str
    section: str
    topic: str
    known: str = ""
    missing: str = ""
    unneeded: str = ""

    @property
    def status(self) -> Status:
        """Return how far the study fills the item."""
        if self.unneeded:
            return "not applicable"
        if not self.known:
            return "gap"
        return "partly" if self.missing else "filled"


@dataclass(frozen=True)
class Checklist:
    """A published checklist as far as one study fills it.

    Args:
        title: Its name.
        source: The paper, with its doi.
        items: In its own order.
        note: What there is to know before it is used.
    """

    title: str
    source: str
    items: tuple[Item, ...]
    note: str = ""

    def count(self, status: Status) -> int:
        """Return how many items have a status."""
        return sum(item.status == status for item in self.items)


def of_section(section: str, *items: Item) -> tuple[Item, ...]:
    """Put items that name no section into ``section``, and leave folders out of what they say."""
    return tuple(
        Item(
            item.number, section, item.topic, without_folders(item.known), without_folders(item.missing), item.unneeded
        )
        for item in items
    )


def enough(number: int | str, topic: str, known: str, otherwise: str) -> Item:
    """Return an item that is filled by what is ``known``; without it, a human must do what ``otherwise`` says."""
    return Item(str(number), "", topic, known, "" if known else otherwise)


def begun(number: int | str, topic: str, known: str, missing: str) -> Item:
    """Return an item that a human has to complete in any case."""
    return Item(str(number), "", topic, known, missing)


def open_item(number: int | str, topic: str, missing: str) -> Item:
    """Return an item of which no study of this kind knows anything."""
    return Item(str(number), "", topic, missing=missing)


def unneeded(number: int | str, topic: str, why: str) -> Item:
    """Return an item that does not apply."""
    return Item(str(number), "", topic, unneeded=why)
