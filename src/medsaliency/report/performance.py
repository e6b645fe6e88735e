"""The classifier's own performance, as the report shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medsaliency.report.contents import Contents
from medsaliency.report.wording import UNDEFINED, interval, number, percent, percent_interval, without_folders

_TILES = (
    ("accuracy", "Accuracy", True, "higher is better"),
    ("macro_f1", "Macro F1", False, "higher is better"),
    ("expected_calibration_error", "Expected calibration error", False, "lower is better"),
)


@dataclass(frozen=True)
class Estimate:
    """A named number with its 95% interval; ``x``, ``low`` and ``high`` are its numbers, None if unknown."""

    name: str
    value: str
    interval: str
    note: str
    x: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ConfusionRow:
    """The images of one true class: (images, share of the row) for each predicted class."""

    label: str
    cells: tuple[tuple[int, float], ...]
    total: int


@dataclass(frozen=True)
class Performance:
    """Everything of the section on the model."""

    images: str
    patients: str
    tiles: tuple[Estimate, ...]
    auroc: tuple[Estimate, ...]
    confusion: tuple[ConfusionRow, ...]


def performance(contents: Contents) -> Performance:
    """Return the model's performance as finished text."""
    known = contents.performance
    tiles = []
    for key, name, as_percent, note in _TILES:
        score = known.get(key) or {}
        tiles.append(_estimate(name, score, note, as_percent=as_percent))
    auroc = tuple(_estimate(str(name), score, "") for name, score in (known.get("auroc") or {}).items())
    return Performance(
        images=_whole(known.get("images")),
        patients=_whole(known.get("patients")),
        tiles=tuple(tiles),
        auroc=auroc,
        confusion=_confusion(contents),
    )


@dataclass(frozen=True)
class Calibration:
    """What temperature scaling changed: (name, before, after) of each error, or why it was not fitted."""

    note: str
    rows: tuple[tuple[Estimate, Estimate], ...]


def calibration(contents: Contents) -> Calibration | None:
    """Return the errors before and after temperature scaling as finished text; None where nothing is known of it."""
    known = contents.inference.calibration
    if not known:
        return None
    if known.get("reason"):
        return Calibration(f"The model was not calibrated: {without_folders(known['reason'])}.", ())
    loss = [Estimate("Log loss", number(known.get(f"log_loss_{when}")), "", "") for when in ("before", "after")]
    error = [
        _estimate("Expected calibration error", known.get(f"error_{when}") or {}, "") for when in ("before", "after")
    ]
    fitted = known.get("validation_images")
    on = "other images" if fitted is None else f"{fitted:,} other images"
    note = (
        f"Temperature {number(known.get('temperature'), 2)}, fitted on {on}; errors on {_whole(known.get('images'))}."
    )
    return Calibration(note, ((error[0], error[1]), (loss[0], loss[1])))


def _whole(value: Any) -> str:
    return UNDEFINED if value is None or not math.isfinite(value) else f"{int(value):,}"


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _estimate(name: str, score: Mapping[str, Any], note: str, *, as_percent: bool = False) -> Estimate:
    value, low, high = (_finite(score.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return Estimate(name, UNDEFINED, "", note)
    if as_percent:
        return Estimate(name, percent(value, 1), percent_interval(low, high, 1), note, value, low, high)
    return Estimate(name, number(value), interval(low, high), note, value, low, high)


def _confusion(contents: Contents) -> tuple[ConfusionRow, ...]:
    rows = []
    for label, images in zip(contents.classes, contents.performance.get("confusion") or (), strict=False):
        total = int(sum(images))
        rows.append(ConfusionRow(label, tuple((int(n), n / total if total else 0.0) for n in images), total))
    return tuple(rows)
