"""Published checklists, filled as far as a study knows itself; what it does not know is marked for humans."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from medsaliency.report.checklists.claim import claim
from medsaliency.report.checklists.clinical_xai import clinical_xai
from medsaliency.report.checklists.item import STATUSES, Checklist, Item, Status
from medsaliency.report.checklists.metrics import metrics
from medsaliency.report.contents import Contents
from medsaliency.report.spreadsheet import harmless

__all__ = ["CHECKLISTS", "STATUSES", "Checklist", "Item", "Status", "as_csv", "checklists", "filled"]

CHECKLISTS: dict[str, Callable[[Contents], Checklist]] = {
    "claim": claim,
    "metrics": metrics,
    "clinical_xai": clinical_xai,
}
"""Every checklist by name; each takes the report's contents."""
COLUMNS = ("checklist", "number", "section", "topic", "status", "known", "missing")


def filled(contents: Contents) -> dict[str, Checklist]:
    """Return every checklist by name, as far as the study fills it."""
    return {name: make(contents) for name, make in CHECKLISTS.items()}


def checklists(contents: Contents) -> dict[str, Any]:
    """Return every checklist as plain data: title, source, note, and items with number, topic, status and texts."""
    return {
        name: {
            "title": own.title,
            "source": own.source,
            "note": own.note,
            "items": [
                {
                    "number": item.number,
                    "section": item.section,
                    "topic": item.topic,
                    "status": item.status,
                    "known": item.known or item.unneeded,
                    "missing": item.missing,
                }
                for item in own.items
            ],
        }
        for name, own in filled(contents).items()
    }


def as_csv(contents: Contents) -> str:
    """Return every checklist as one CSV, one row an item.

    No cell is one that a spreadsheet would take for a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, own in checklists(contents).items():
        for item in own["items"]:
            writer.writerow([name, *(harmless(str(item[column])) for column in COLUMNS[1:])])
    return text.getvalue()
