"""The central types and the names of shapes, shared by every layer.

Shapes are written with these letters throughout: ``N`` images of a batch, ``C`` channels of the model's input, ``H``
and ``W`` pixels of the model's grid (and ``D`` slices of a volume's), ``K`` classes or (for a layer) feature channels.
Where a docstring says (N, C, H, W), a volume has (N, C, D, H, W), unless it says otherwise.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
T = TypeVar("T")
Family = Literal["faithfulness", "information", "localization", "complexity", "randomization", "stability", "other"]
"""What a measure asks: does the model follow the map (``faithfulness``; by information curves, ``information``), does
the map lie on the lesion, how concentrated is it, does it change with the model's weights, does it stay for the same
image.
"""


class MedsaliencyError(Exception):
    """What a user can mend: the message says what was expected, what was got, where, and what to do.

    It is one line, whatever names of files are in it: what cannot be printed is written as an escape.
    """

    def __str__(self) -> str:
        said = super().__str__()
        if said.isprintable():
            return said
        words = " ".join(said.split())
        return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in words)


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``options``, or a list of them where none is close."""
    name, known = name[:100], sorted(options)  # to compare a text without end takes as long
    likeness = {option: difflib.SequenceMatcher(None, name, option).ratio() for option in known}
    best = max(likeness.values(), default=0.0)
    close = sorted((o for o in known if likeness[o] >= max(0.5, best - 0.1)), key=lambda o: -likeness[o])[:3]
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "; known: " + ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")


def make(kind: str, factories: Mapping[str, Callable[..., T]], name: str, parameters: Mapping[str, Any] | None) -> T:
    """Build what ``name`` stands for: a dataclass of ``factories``, with its parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    if name not in factories:
        raise MedsaliencyError(f"unknown {kind} {name!r}{nearest(name, factories)}")
    known = [field.name for field in fields(factories[name])]  # type: ignore[arg-type]
    for parameter in parameters or {}:
        if parameter not in known:
            hint = nearest(parameter, known) if known else "; it has none"
            raise MedsaliencyError(f"{kind} {name!r} has no parameter {parameter!r}{hint}")
    return factories[name](**(parameters or {}))


class Track(Protocol):
    """Shows the progress of a loop: ``for item in track(items, "training", total)``."""

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """Yield every item of ``items`` unchanged."""


def silent(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Track nothing: the default where the caller shows no progress."""
    del description, total
    return items


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the random generator of one use, derived from the study's seed and what it is for.

    The stream depends on ``seed`` and ``names`` (a sample's id, a method's name) and on nothing else, so any order,
    batch size or worker draws the same numbers. No global random state is read or set.
    """
    digest = hashlib.sha256("\x1f".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32).tolist())


def torch_seed(seed: int, *names: str) -> int:
    """The seed of a torch generator for one use, derived as :func:`generator` derives its stream."""
    return int(generator(seed, *names).integers(2**62))


Generators = Sequence[np.random.Generator]
"""One generator an image of the batch, made by :func:`generator` from (seed, sample id, use)."""


@dataclass(frozen=True)
class Turn:
    """Axes taken in another order and some of them reversed, as a view of patients needs it.

    Args:
        axes: For each new axis, the one before that it was.
        backwards: For each new axis, whether it runs the other way.
    """

    axes: tuple[int, ...]
    backwards: tuple[bool, ...]


@dataclass(frozen=True)
class Pad:
    """Pixels of background added at the start and at the end of each axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Crop:
    """Pixels cut off at the start and at the end of each axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Resize:
    """A change of grid from ``before`` to ``after``, each (H, W) or (D, H, W)."""

    before: tuple[int, ...]
    after: tuple[int, ...]


Step = Turn | Pad | Crop | Resize


@dataclass(frozen=True)
class Slice:
    """The plane of a stored volume (a slice or a frame) that an image is.

    Args:
        axis: Of the stored array; it is left out of the image's axes, the others stay in their order.
        index: Place on that axis, from 0.
        shape: Of the stored array.
    """

    axis: int
    index: int
    shape: tuple[int, ...]


Affine = tuple[tuple[float, float, float, float], ...]
"""4 x 4: from indices of a stored array and 1 to millimeters in a patient, RAS+ (right, anterior, superior)."""


@dataclass(frozen=True)
class Geometry:
    """Where an image on the model's grid comes from, so that a map can be put back on the native pixels.

    Native pixels are those of the file, in the file's own order of axes: no flip, no turn.

    Args:
        native_size: (H, W) of the source image, or (D, H, W) (three axes in the file's order) of a volume.
        steps: What was done from native to model grid, in order.
        spacing: Distance of pixel centers along each native axis in millimeters, or None where unknown. Where only a
            ratio is known (PixelAspectRatio), that ratio in no unit, and ``spacing_known`` is False.
        source: The file the image was read from, relative to its root, or a name for a made image.
        affine: From indices of the stored array, (row, column, 0) for an image that is no plane of a volume, or None
            where the file does not say where in the patient it lies.
        slice: The plane of the stored volume that the native pixels are, or None where they are all there is.
        spacing_known: Whether ``spacing`` is in millimeters.
    """

    native_size: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    spacing: tuple[float, ...] | None = None
    source: str = ""
    affine: Affine | None = None
    slice: Slice | None = None
    spacing_known: bool = True


@dataclass(frozen=True)
class Sample:
    """One image as the model's user sees it, before the model's normalization.

    Args:
        id: Unique in its dataset.
        image: (C, H, W) or, for a volume, (C, D, H, W) float32 in display range [0, 1].
        label: Index into the dataset's classes, or None where unknown.
        patient: Unit of splitting and of resampling; the id where unknown.
        lesion: (H, W) or (D, H, W) bool, True on the lesion, or None where no mask is given.
        geometry: The way back to native pixels.
        native_lesion: The mask as it was drawn, on the native pixels of ``geometry``, or None where none is given.
    """

    id: str
    image: FloatArray
    label: int | None
    patient: str
    lesion: BoolArray | None
    geometry: Geometry
    native_lesion: BoolArray | None = None


@dataclass(frozen=True)
class Curve:
    """A curve by its points: ``x`` and ``y``, each a tuple of the same length."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """The value of one measure for one image and map.

    Args:
        value: NaN where the measure is undefined.
        reason: Why it is undefined; empty exactly where ``value`` is a number.
        curve: The curve behind the value, where there is one.

    Raises:
        ValueError: If a value is infinite, NaN without a reason, or a number with one.
    """

    value: float
    reason: str = ""
    curve: Curve | None = None

    def __post_init__(self) -> None:
        if np.isfinite(self.value) == bool(self.reason) or np.isinf(self.value):
            raise ValueError(f"a Score is a number or a reason, got value={self.value} and reason={self.reason!r}")

    @classmethod
    def undefined(cls, reason: str) -> Score:
        """A score that could not be had, and why."""
        return cls(float("nan"), reason)


@dataclass(frozen=True)
class Measure:
    """What a column of scores means.

    Args:
        name: As in the table of scores.
        higher_is_better: The direction.
        bounds: Lowest and highest possible value.
        description: One line for lists and the report.
        family: What it asks; the report and the trust card read measures of one family together.
    """

    name: str
    higher_is_better: bool
    bounds: tuple[float, float]
    description: str
    family: Family = "other"
