"""The cases of the gallery, with their pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsaliency.report.contents import Case, Contents
from medsaliency.report.curves import Style
from medsaliency.report.overlay import (
    colorize,
    data_uri,
    encode,
    outline_path,
    photograph,
    signed_methods,
)
from medsaliency.report.wording import class_name, method_label, percent, without_folders

MOST_CLASSES = 5
"""Classes listed of a case; of more, the most probable ones, and always the true and the explained one."""


@dataclass(frozen=True)
class Bar:
    """The model's output for one class; ``width`` is in percent."""

    label: str
    text: str
    width: float
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """One method's map over the image; ``source`` is the overlay as an address that the page holds itself."""

    method: str
    style: Style
    signed: bool
    source: str


@dataclass(frozen=True)
class CaseView:
    """One case as shown; ``outline`` is the ``d`` of an SVG path, empty without a lesion."""

    number: int
    sample: str
    why: str
    truth: str
    predicted: str
    explained: str
    correct: bool | None
    width: int
    height: int
    source: str
    outline: str
    bars: tuple[Bar, ...]
    hidden_classes: int
    tiles: tuple[Tile, ...]


def case_views(contents: Contents, drawn: Mapping[str, Style]) -> list[CaseView]:
    """Return the gallery in order, with every picture encoded."""
    signed = signed_methods([case.maps for case in contents.cases])
    return [_view(case, number, contents.classes, drawn, signed) for number, case in enumerate(contents.cases, 1)]


def predicted_class(case: Case) -> int | None:
    """Return the index of the highest output, or None where an output is not a number."""
    outputs = np.asarray(case.probabilities, dtype=np.float64)
    return int(outputs.argmax()) if outputs.size and np.isfinite(outputs).all() else None


def _view(
    case: Case, number: int, classes: tuple[str, ...], drawn: Mapping[str, Style], signed: frozenset[str]
) -> CaseView:
    predicted = predicted_class(case)
    bars = _bars(case, classes, predicted)
    height, width = case.image.shape[-2:]
    return CaseView(
        number=number,
        sample=without_folders(case.sample),
        why=without_folders(case.why),
        truth=class_name(case.label, classes),
        predicted=class_name(predicted, classes),
        explained=class_name(case.target, classes),
        correct=None if case.label is None or predicted is None else case.label == predicted,
        width=int(width),
        height=int(height),
        source=data_uri(encode(photograph(case.image))),
        outline=outline_path(case.lesion) if case.lesion is not None else "",
        bars=bars,
        hidden_classes=len(case.probabilities) - len(bars),
        tiles=tuple(
            Tile(
                method=method_label(name),
                style=drawn.get(name, Style("#6b7480", control=False)),
                signed=name in signed,
                source=data_uri(encode(colorize(saliency, signed=name in signed))),
            )
            for name, saliency in case.maps.items()
        ),
    )


def _bars(case: Case, classes: tuple[str, ...], predicted: int | None) -> tuple[Bar, ...]:
    outputs = np.nan_to_num(np.asarray(case.probabilities, dtype=np.float64), nan=-np.inf)
    order = np.argsort(-outputs, kind="stable").tolist()
    shown = [index for place, index in enumerate(order) if place < MOST_CLASSES or index in (case.label, case.target)]
    bars = []
    for index in shown:
        value = float(case.probabilities[index])
        roles = [
            role
            for role, of in (("predicted", predicted), ("true", case.label), ("explained", case.target))
            if of == index
        ]
        width = 100 * min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
        bars.append(Bar(class_name(index, classes), percent(value, 1), round(width, 1), tuple(roles)))
    return tuple(bars)
