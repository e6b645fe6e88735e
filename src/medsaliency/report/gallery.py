"""The cases of the gallery, with their pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsaliency.report.contents import Case, Contents, Strip
from medsaliency.report.curves import Style
from medsaliency.report.overlay import (
    STEP_SIDE,
    colorize,
    data_uri,
    encode,
    legend_gradient,
    outline_path,
    photograph,
    signed_methods,
)
from medsaliency.report.wording import class_name, count, method_label, number, percent, without_folders
from medsaliency.types import BoolArray, FloatArray

MOST_CLASSES = 5
"""Classes listed of a case; of more, the most probable ones, and always the true and the explained one."""

UNKNOWN_STYLE = Style("#6b7480", control=False)


@dataclass(frozen=True)
class Bar:
    """The model's output for one class; ``width`` and ``tick``, the calibrated output, are in percent of the bar."""

    label: str
    text: str
    width: float
    tick: float | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """One method's map over the image; ``source`` is the overlay as an address that the page holds itself."""

    name: str
    method: str
    style: Style
    signed: bool
    source: str


@dataclass(frozen=True)
class Step:
    """What the model saw when so much was shown, and its score."""

    shown: str
    score: str
    source: str


@dataclass(frozen=True)
class StripView:
    """The steps by which one method's map shows the image; ``why`` is why this method."""

    method: str
    style: Style
    why: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class CaseView:
    """One case as shown; ``outline`` and ``marker`` are the ``d`` of SVG paths, empty where there is nothing.

    ``plane`` is the slice of a volume in words, which ``why`` also ends with, and empty for an image.
    """

    number: int
    sample: str
    why: str
    plane: str
    truth: str
    predicted: str
    explained: str
    correct: bool | None
    width: int
    height: int
    source: str
    outline: str
    marker: str
    bars: tuple[Bar, ...]
    hidden_classes: int
    tiles: tuple[Tile, ...]
    strips: tuple[StripView, ...]


@dataclass(frozen=True)
class Gallery:
    """All cases and what they share: the methods, as (name, label, style), the color scales and the explanations."""

    cases: tuple[CaseView, ...]
    methods: tuple[tuple[str, str, Style], ...]
    sequential: str
    diverging: str
    calibration: str

    @property
    def outlines(self) -> bool:
        """Whether any case has a lesion's outline."""
        return any(case.outline for case in self.cases)

    @property
    def markers(self) -> bool:
        """Whether any case has a planted marker's outline."""
        return any(case.marker for case in self.cases)

    @property
    def strips(self) -> bool:
        """Whether any case shows what the model saw."""
        return any(case.strips for case in self.cases)

    @property
    def volumes(self) -> bool:
        """Whether any case is a slice of a volume."""
        return any(case.plane for case in self.cases)

    @property
    def calibrated(self) -> bool:
        """Whether any case has a calibrated probability."""
        return any(bar.tick is not None for case in self.cases for bar in case.bars)

    @property
    def errors(self) -> bool:
        """Whether some cases are errors and others are not, so that choosing among them makes sense."""
        return len({case.correct for case in self.cases} & {True, False}) == 2


def gallery(contents: Contents, drawn: Mapping[str, Style]) -> Gallery:
    """Return the gallery in order, with every picture encoded; a scale that no map uses is empty.

    Raises:
        ValueError: If a map, an image or a strip does not have the shape that ``Case`` declares.
    """
    signed = signed_methods([case.maps for case in contents.cases])
    names = tuple(dict.fromkeys(name for case in contents.cases for name in case.maps))
    as_share = _are_shares([strip for case in contents.cases for strip in case.strips])
    return Gallery(
        cases=tuple(
            _view(case, place, contents.classes, drawn, signed, as_share=as_share)
            for place, case in enumerate(contents.cases, 1)
        ),
        methods=tuple((name, method_label(name), drawn.get(name, UNKNOWN_STYLE)) for name in names),
        sequential=legend_gradient(signed=False) if set(names) - signed else "",
        diverging=legend_gradient(signed=True) if signed else "",
        calibration=_calibration(contents),
    )


def predicted_class(case: Case) -> int | None:
    """Return the index of the highest output, or None where an output is not a number."""
    outputs = np.asarray(case.probabilities, dtype=np.float64)
    return int(outputs.argmax()) if outputs.size and np.isfinite(outputs).all() else None


def _view(
    case: Case,
    place: int,
    classes: tuple[str, ...],
    drawn: Mapping[str, Style],
    signed: frozenset[str],
    *,
    as_share: bool,
) -> CaseView:
    predicted = predicted_class(case)
    bars = _bars(case, classes, predicted)
    height, width = case.image.shape[-2:]
    return CaseView(
        number=place,
        sample=without_folders(case.sample),
        why=without_folders("; ".join(text for text in (case.why, case.plane) if text)),
        plane=case.plane,
        truth=class_name(case.label, classes),
        predicted=class_name(predicted, classes),
        explained=class_name(case.target, classes),
        correct=None if case.label is None or predicted is None else case.label == predicted,
        width=int(width),
        height=int(height),
        source=data_uri(encode(photograph(case.image))),
        outline=_outline(case.lesion),
        marker=_outline(case.marker),
        bars=bars,
        hidden_classes=len(case.probabilities) - len(bars),
        tiles=tuple(
            Tile(
                name=name,
                method=method_label(name),
                style=drawn.get(name, UNKNOWN_STYLE),
                signed=name in signed,
                source=data_uri(encode(colorize(saliency, signed=name in signed, contrast=case.contrasts.get(name)))),
            )
            for name, saliency in case.maps.items()
        ),
        strips=tuple(_strip(strip, drawn, as_share=as_share) for strip in case.strips),
    )


def _outline(mask: BoolArray | None) -> str:
    return "" if mask is None else outline_path(mask)


def _bars(case: Case, classes: tuple[str, ...], predicted: int | None) -> tuple[Bar, ...]:
    outputs = np.nan_to_num(np.asarray(case.probabilities, dtype=np.float64), nan=-np.inf)
    order = np.argsort(-outputs, kind="stable").tolist()
    shown = [index for place, index in enumerate(order) if place < MOST_CLASSES or index in (case.label, case.target)]
    named = (("predicted", predicted), ("true", case.label), ("explained", case.target))
    bars = []
    for index in shown:
        value = float(case.probabilities[index])
        text, tick = percent(value, 1), None
        if case.calibrated is not None and math.isfinite(value):
            calibrated = float(case.calibrated[index])
            text += f" (calibrated {percent(calibrated, 1)})"
            tick = _width(calibrated) if math.isfinite(calibrated) else None
        roles = tuple(role for role, of in named if of == index)
        bars.append(Bar(class_name(index, classes), text, _width(value), tick, roles))
    return tuple(bars)


def _width(share: float) -> float:
    return round(100 * min(max(share, 0.0), 1.0), 1) if math.isfinite(share) else 0.0


def _are_shares(strips: Sequence[Strip]) -> bool:
    """Whether all scores can be probabilities; a logit anywhere makes logits of all."""
    scores = np.array([score for strip in strips for score in strip.scores], dtype=np.float64)
    return bool(((scores >= 0) & (scores <= 1) | ~np.isfinite(scores)).all())


def _strip(strip: Strip, drawn: Mapping[str, Style], *, as_share: bool) -> StripView:
    pictures: FloatArray = strip.pictures
    steps = tuple(
        Step(
            # A share below one percent keeps its decimals: 0.5% is not 0%.
            shown=f"{100 * shown:.2g}%" if shown < 0.1 else percent(shown),
            score=percent(score, 1) if as_share else number(score, 2),
            source=data_uri(encode(photograph(picture), STEP_SIDE)),
        )
        for shown, score, picture in zip(strip.shares, strip.scores, pictures, strict=True)
    )
    return StripView(
        method_label(strip.method), drawn.get(strip.method, UNKNOWN_STYLE), without_folders(strip.why), steps
    )


def _calibration(contents: Contents) -> str:
    """What "calibrated" means in the cases, or why it is missing; empty where nothing was asked."""
    known = contents.inference.calibration
    if all(case.calibrated is None for case in contents.cases):
        reason = without_folders(known.get("reason") or "")
        return f"Probabilities are not calibrated: {reason}." if reason else ""
    fitted = "After temperature scaling"
    if temperature := known.get("temperature"):
        fitted += f" with T = {number(float(temperature), 2)}"
    if images := known.get("images"):
        fitted += f", fitted on {count(images, 'validation image')}"
    return f"{fitted}: of answers given with 80%, about 80% should be right. It is the upright line on each bar."
