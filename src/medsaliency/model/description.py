"""What ``model.json`` of a checkpoint says, checked: whoever gives it may be a stranger."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medsaliency.data.geometry import MAX_VALUES, Fit
from medsaliency.data.reading import Planes, View
from medsaliency.data.untrusted import parse_json, require_name, visible
from medsaliency.model.classifier import Output, Size
from medsaliency.types import MedsaliencyError

MOST_BYTES = 4 << 20
"""Of the file: the names of 20,000 classes take some 400,000."""
LONGEST = 255
"""Characters of a name."""
LARGEST_SIDE = 8_000
"""Pixels a side: no larger image is read either."""
LARGEST_FACTOR = 1e30
"""Of mean and std, the inverse of the smallest: beyond, float32 soon has no numbers."""

Finite = Annotated[float, Field(ge=-LARGEST_FACTOR, le=LARGEST_FACTOR)]
Positive = Annotated[float, Field(ge=1 / LARGEST_FACTOR, le=LARGEST_FACTOR)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class MetricsSection(_Section):
    """Performance, for the record; one of them is shown with a study."""

    training_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


class TrainedOnSection(_Section):
    """What it was trained on, for the record; whether a study's labels were permuted by another seed is asked of it."""

    permutation: int | None = None


class ReadingSection(_Section):
    """How files were read, as :class:`~medsaliency.data.reading.Reading` has it, and how they were fitted."""

    window: tuple[Finite, Positive] | None = None
    view: View = "axial"
    planes: Planes | None = None
    volume: bool = False
    fit: Fit = "pad"

    @model_validator(mode="after")
    def _one_of_two(self) -> ReadingSection:
        if self.volume and self.planes is not None:
            raise ValueError("expected planes or a volume, got both")
        return self


class Description(BaseModel):
    """What is read of ``model.json``: what builds the model again, and its performance. The rest is for the record."""

    architecture: str
    classes: list[str] = Field(min_length=1)
    channels: int = Field(ge=1, le=1024)
    size: Size | None
    mean: list[Finite]
    std: list[Positive]
    output: Output
    target_layer: str | None = None
    trained_on: TrainedOnSection = TrainedOnSection()
    metrics: MetricsSection = MetricsSection()
    reading: ReadingSection = ReadingSection()

    @field_validator("architecture", "target_layer")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        return None if name is None else _named(name, "here")

    @field_validator("classes")
    @classmethod
    def _names(cls, classes: list[str]) -> list[str]:
        seen = set()
        for place, name in enumerate(classes):
            _named(name, f"number {place}")
            if name in seen:
                raise ValueError(f"number {place}: expected each name once, got {name[:80]!r} again")
            seen.add(name)
        return classes

    @field_validator("size")
    @classmethod
    def _sides(cls, size: Size | None) -> Size | None:
        sides = () if size is None else (size,) if isinstance(size, int) else size
        if any(not 1 <= side <= LARGEST_SIDE for side in sides) or math.prod(sides) > MAX_VALUES:
            raise ValueError(
                f"expected sides from 1 to {LARGEST_SIDE:,} pixels and at most {MAX_VALUES:,} pixels, got "
                f"{str(size)[:80]}"
            )
        return size

    @model_validator(mode="after")
    def _fitting(self) -> Description:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name}: expected 1 or {self.channels} values, one a channel, got {len(values)}")
        if self.output == "single_logit" and len(self.classes) != 2:
            raise ValueError(f"classes: expected 2 of a single logit (below, above), got {len(self.classes)}")
        return self


def _named(name: str, where: str) -> str:
    try:
        require_name(name, LONGEST, "a name", where)
    except MedsaliencyError as error:
        raise ValueError(str(error)) from error
    return name


def described(text: str, name: str) -> Description:
    """The description in a text.

    Args:
        text: JSON.
        name: Of the file, for errors.

    Raises:
        MedsaliencyError: If a value is missing, of another type, or cannot be; the field is named.
    """
    parse_json(text, name)  # refuses names that occur twice, and NaN
    try:
        return Description.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault: Any = error.errors()[0]
        where = visible(".".join(str(part)[:80] for part in fault["loc"]))
        said = visible(" ".join(str(fault["msg"]).removeprefix("Value error, ").split()))[:300]
        raise MedsaliencyError(
            f"{name}: {where}: {said}; `medsaliency train` writes a whole one"
            if where
            else f"{name}: {said}; `medsaliency train` writes a whole one"
        ) from error
