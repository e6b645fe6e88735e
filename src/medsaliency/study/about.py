"""What ``medsaliency explain`` writes beside its maps, checked when it is read again: a stranger may have given it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medsaliency.data.geometry import MAX_VALUES
from medsaliency.data.untrusted import parse_json, read_text, unfit, visible
from medsaliency.model.description import Finite, Positive, ReadingSection
from medsaliency.types import MedsaliencyError

MOST_BYTES = 4 << 20
"""Of a file; one of a volume of 1,000 slices has some 200,000."""

Count = Annotated[int, Field(ge=0, le=MAX_VALUES)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=4_096)]
MethodName = Annotated[str, Field(pattern="^[a-z0-9_]{1,80}$")]
"""Files of an export are named after it."""


class _Section(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Turn(_Section):
    step: Literal["turn"]
    axes: list[int]
    backwards: list[bool]

    def walk(self, shape: list[int]) -> list[int]:
        """The sides after the step."""
        if sorted(self.axes) != list(range(len(shape))) or len(self.backwards) != len(shape):
            raise ValueError(f"expected a turn of {len(shape)} axes, got {str(self.axes)[:80]}")
        return [shape[axis] for axis in self.axes]


class _Change(_Section):
    step: Literal["pad", "crop", "resize"]
    before: list[Count]
    after: list[Count]

    def walk(self, shape: list[int]) -> list[int]:
        """The sides after the step."""
        if len(self.before) != len(shape) or len(self.after) != len(shape):
            raise ValueError(f"expected a {self.step} of {len(shape)} axes, got {len(self.before)}")
        if self.step == "resize":
            if self.before != shape:
                raise ValueError(f"expected a resize from {shape}, got one from {self.before}")
            return list(self.after)
        sign = 1 if self.step == "pad" else -1
        return [side + sign * (one + two) for side, one, two in zip(shape, self.before, self.after, strict=True)]


class _Slice(_Section):
    axis: int = Field(ge=0, le=2)
    index: Count
    shape: list[Count] = Field(min_length=3, max_length=3)


class _Geometry(_Section):
    """Where a map lies, as :func:`medsaliency.data.geometry.to_dict` writes it."""

    native_size: list[Count] = Field(min_length=2, max_length=3)
    steps: list[Annotated[_Turn | _Change, Field(discriminator="step")]] = Field(max_length=16)
    spacing: list[Positive] | None
    source: Text
    affine: list[list[Finite]] | None
    slice: _Slice | None
    spacing_known: bool

    @model_validator(mode="after")
    def _sound(self) -> _Geometry:
        shape = self.native_size
        _require_sides(shape)
        for step in self.steps:
            shape = step.walk(shape)
            _require_sides(shape)
        if self.spacing is not None and len(self.spacing) != len(self.native_size):
            raise ValueError(f"spacing: expected {len(self.native_size)} numbers, got {len(self.spacing)}")
        if self.affine is not None and [len(row) for row in self.affine] != [4] * 4:
            raise ValueError("affine: expected 4 rows of 4 numbers")
        if self.slice is not None:
            place = self.slice
            _require_sides(place.shape)
            rest = [side for axis, side in enumerate(place.shape) if axis != place.axis]
            if rest != self.native_size or place.index >= place.shape[place.axis]:
                raise ValueError(f"slice: expected a plane of {self.native_size} pixels, got {place}")
        return self


def _require_sides(shape: list[int]) -> None:
    if min(shape) < 1 or math.prod(shape) > MAX_VALUES:
        raise ValueError(f"expected sides of at least 1 and at most {MAX_VALUES:,} pixels, got {str(shape)[:80]}")


class _Model(_Section):
    architecture: Text
    weights: Text


class _About(_Section):
    sample: Text
    source: Text | None
    parts: list[Text] | None = None
    sha256: list[Digest] = []
    plane: Count | None
    reading: ReadingSection | None = None
    geometry: _Geometry
    classes: list[Text] = Field(min_length=1)
    probabilities: list[Annotated[float, Field(ge=0, le=1)]]
    target: int = Field(ge=0)
    explains: Text
    methods: dict[MethodName, Text]
    model: _Model
    medsaliency: Text

    @model_validator(mode="after")
    def _sound(self) -> _About:
        if len(self.probabilities) != len(self.classes) or self.target >= len(self.classes):
            raise ValueError(
                f"expected a probability of each of {len(self.classes)} classes and a target among them, got "
                f"{len(self.probabilities)} and {str(self.target)[:80]}"
            )
        texts = (self.sample, self.source or "", *(self.parts or ()), *self.classes, *self.methods)
        if any(unfit(text) for text in texts):
            raise ValueError("expected names and paths without control and invisible characters")
        return self


def read_about(path: Path) -> dict[str, Any]:
    """The plain data of a file, each value known to be of its kind.

    Raises:
        MedsaliencyError: If it is none that ``medsaliency explain`` writes; the field is named.
    """
    text = read_text(path, MOST_BYTES)
    try:
        about: dict[str, Any] = parse_json(text, "the file")
        _About.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault: Any = error.errors()[0]
        where = ".".join(str(part)[:80] for part in fault["loc"]) or "the file"
        raise _another(path, f"{where}: {str(fault['msg']).removeprefix('Value error, ')}") from error
    except MedsaliencyError as error:
        raise _another(path, str(error)) from error
    return about


def _another(path: Path, said: str) -> MedsaliencyError:
    return MedsaliencyError(
        f"{visible(str(path))}: expected what `medsaliency explain` writes beside its maps, got something else "
        f"({visible(said)[:300]}); explain the image again"
    )
