"""What is explained: one number made of what a model says of an image."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.types import MedsaliencyError


@runtime_checkable
class Target(Protocol):
    """A number to be explained, of each row of outputs. Hashable; equal targets are computed together.

    ``index`` is the class it speaks for, which metrics follow and reports name.
    """

    @property
    def index(self) -> int:
        """Class it speaks for."""

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Score (n,) of logits and probabilities, both (n, K), differentiable in them."""


@dataclass(frozen=True)
class Logit:
    """The logit of a class: what the literature's methods explain, and what a whole number as a target means."""

    index: int

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Column ``index`` of the logits (n, K)."""
        del probabilities
        return logits[:, self.index]


@dataclass(frozen=True)
class Probability:
    """The probability of a class: under a softmax it falls where another class rises.

    Its gradient vanishes where the model is sure, so that maps of confident predictions may be faint or rounded to 0.
    """

    index: int

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Column ``index`` of the probabilities (n, K)."""
        del logits
        return probabilities[:, self.index]


@dataclass(frozen=True)
class Contrast:
    """Why this class and not that one: the difference of two logits (for a softmax, the log of their odds)."""

    index: int
    against: int

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Logit ``index`` less logit ``against``."""
        del probabilities
        return logits[:, self.index] - logits[:, self.against]


Targets = Tensor | NDArray[Any] | Sequence["Target | int"]
"""One target an image: whole numbers stand for the logit of that class."""


def as_targets(targets: Targets, count: int, classes: int) -> tuple[Target, ...]:
    """One target object an image.

    Args:
        targets: (N,) tensor or array of class indices, or a sequence of class indices and target objects.
        count: N, the number of images.
        classes: K of the model.

    Raises:
        MedsaliencyError: If there are not ``count`` of them, or one is not a class of the model.
    """
    if isinstance(targets, np.ndarray):
        targets = torch.as_tensor(targets) if np.issubdtype(targets.dtype, np.number) else targets.tolist()
    if isinstance(targets, Tensor):
        if targets.is_floating_point():
            raise MedsaliencyError(f"expected whole numbers as targets (class indices), got {targets.dtype}")
        if targets.ndim != 1:
            raise MedsaliencyError(f"expected one target an image, {count} in all, got shape {tuple(targets.shape)}")
        targets = targets.tolist()
    if len(targets) != count:
        raise MedsaliencyError(f"expected one target an image, {count} in all, got {len(targets)}")
    return tuple(_target(target, i, classes) for i, target in enumerate(targets))


def score(targets: Sequence[Target], logits: Tensor, probabilities: Tensor) -> Tensor:
    """Score (n,) of each row by its own target."""
    rows: dict[Target, list[int]] = {}
    for row, target in enumerate(targets):
        rows.setdefault(target, []).append(row)
    if len(rows) == 1:
        return _column(targets[0], logits, probabilities)
    parts = [_column(target, logits[own], probabilities[own]) for target, own in rows.items()]
    order = torch.tensor([row for own in rows.values() for row in own], device=logits.device)
    return torch.cat(parts)[order.argsort()]


def _column(target: Target, logits: Tensor, probabilities: Tensor) -> Tensor:
    found = target(logits, probabilities)
    if not isinstance(found, Tensor) or found.shape != logits.shape[:1]:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise MedsaliencyError(f"target {target!r}: expected one score a row, shape ({len(logits)},), got {got}")
    return found


def _target(given: object, image: int, classes: int) -> Target:
    target = given if isinstance(given, Target) else _logit(given)
    if target is None:
        raise MedsaliencyError(
            f"target of image {image}: expected whole numbers as targets (class indices) or target objects, got "
            f"{given!r}"
        )
    if not isinstance(target, Hashable):
        raise MedsaliencyError(
            f"target of image {image}: expected a target that can be hashed, got {given!r}; freeze its dataclass"
        )
    for name in ("index", "against"):
        index = getattr(target, name, 0)
        if not 0 <= index < classes:
            raise MedsaliencyError(
                f"target of image {image}: expected 0 to {classes - 1}, a class of the model, got {index}"
            )
    if getattr(target, "against", None) == target.index:
        raise MedsaliencyError(f"target of image {image}: expected two different classes to contrast, got {given!r}")
    return target


def _logit(given: Any) -> Logit | None:
    """What a class index means; None for what is none."""
    try:
        return None if isinstance(given, bool) else Logit(operator.index(given))
    except TypeError:
        return None
