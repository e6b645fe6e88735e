"""What a MONAI bundle's list of transforms does to an image, put into a mean, a std, a size and an order of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from medsaliency.types import MedsaliencyError

WITHOUT_EFFECT = {
    "EnsureChannelFirst", "AsChannelFirst", "AddChannel", "RepeatChannel", "EnsureType", "CastToType", "ToTensor",
    "ToDevice", "Identity",
}  # fmt: skip
"""Transforms that change how numbers are stored, and nothing else that matters here."""
OUR_AXES = "SPL"
"""Axes of a volume on the model's grid as MONAI spells them: to superior, to posterior, to the patient's left."""


@dataclass(frozen=True)
class Preparation:
    """How a bundle's network is given an image.

    Args:
        scale: (C,) or (1,): a display value v in [0, 1] becomes ``scale * v + shift``; None where nothing is said.
        shift: Likewise.
        window: (center, width) of the file's values that become [0, 1]; None for the image's own.
        size: Of the network's input in its own order of axes, one number for all sides; None where nothing is said.
        loaded: Whether a file is read by MONAI's readers, which put the horizontal axis first.
        swapped: Whether the two axes of an image are the other way round than (H, W).
        axes: Of volumes, as codes; None where nothing is said.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    window: tuple[float, float] | None = None
    size: int | tuple[int, ...] | None = None
    loaded: bool = False
    swapped: bool = False
    axes: str | None = None

    def at(self, low: float, high: float) -> Preparation:
        """The display range put to ``low`` and ``high``."""
        return replace(self, scale=torch.tensor([high - low]), shift=torch.tensor([low]))

    def then(self, scale: Tensor, shift: Tensor, name: str) -> Preparation:
        """What comes of it when ``scale * x + shift`` follows."""
        if self.scale is None or self.shift is None:
            raise MedsaliencyError(
                f"{name} works on the file's own values; expected a ScaleIntensity before it, or wrap the network in "
                "Classifier with your own mean and std"
            )
        return replace(self, scale=self.scale * scale, shift=self.shift * scale + shift)


def prepare(transforms: Sequence[Mapping[str, Any]], key: str) -> Preparation:
    """Follow transforms, each with ``_target_`` and literal arguments, as they act on the image named ``key``.

    Raises:
        MedsaliencyError: If one of them is unknown here, or does what no mean and std can.
    """
    found = Preparation()
    for transform in transforms:
        given = {name: value for name, value in transform.items() if not name.startswith("_")}
        keys = given.pop("keys", key)
        if key in ([keys] if isinstance(keys, str) else keys) and not transform.get("_disabled_"):
            found = _follow(found, _name(transform), given)
    return found


def matters(transform: Mapping[str, Any]) -> bool:
    """Whether a transform changes what the network sees; what does not need not be read any further."""
    return _name(transform) not in WITHOUT_EFFECT


def _name(transform: Mapping[str, Any]) -> str:
    """The transform's name without the ending of its dictionary version."""
    name = str(transform.get("_target_", "")).rsplit(".", 1)[-1]
    for ending in ("Dict", "D", "d"):
        bare = name.removesuffix(ending)
        if bare in WITHOUT_EFFECT or bare in FOLLOWED:
            return bare
    return name


def _follow(now: Preparation, name: str, given: Mapping[str, Any]) -> Preparation:
    if name in WITHOUT_EFFECT:
        return now
    if name not in FOLLOWED:
        raise MedsaliencyError(
            f"the transform {name or 'without a name'} cannot be followed; known are "
            f"{', '.join(sorted([*FOLLOWED, *WITHOUT_EFFECT]))}: wrap the network in Classifier and prepare images "
            "yourself"
        )
    try:
        return FOLLOWED[name](now, given)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MedsaliencyError(f"the transform {name} has arguments that cannot be followed ({error!r})") from error


def _load(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    pillow = given.get("reader") in (None, "PILReader", "pilreader")
    swapped = given.get("reverse_indexing", True) if pillow else not given.get("reverse_indexing", False)
    return replace(now, loaded=True, swapped=bool(swapped))


def _transpose(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    if list(given["indices"]) != [0, 2, 1]:
        raise ValueError(f"expected indices [0, 2, 1] of an image, got {given['indices']}")
    return replace(now, swapped=not now.swapped)


def _orientation(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    return replace(now, axes=str(given["axcodes"]))


def _resize(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    size = given["spatial_size"]
    sides = tuple(size) if isinstance(size, list) else (size,)
    if given.get("size_mode", "all") != "all" or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"expected all sides in pixels, got {size}")
    return replace(now, size=sides if isinstance(size, list) else size)


def _scale(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    low, high = given.get("minv", 0.0), given.get("maxv", 1.0)
    if low is None or high is None or given.get("factor") is not None or given.get("channel_wise"):
        raise ValueError("expected minv and maxv, the same for all channels")
    if not high > low:
        raise ValueError(f"expected maxv above minv, got {low} and {high}")
    return now.at(float(low), float(high))


def _scale_range(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    start, end = float(given["a_min"]), float(given["a_max"])
    low, high = given.get("b_min"), given.get("b_max")
    low, high = (0.0, 1.0) if low is None or high is None else (float(low), float(high))
    if not (end > start and high > low):
        raise ValueError(f"expected maxima above minima, got {start} to {end} and {low} to {high}")
    if now.scale is None:  # the first to see the file's values: a window, unless it is that of all 8-bit images
        window = None if (start, end) == (0.0, 255.0) else ((start + end) / 2, end - start)
        return replace(now.at(low, high), window=window)
    factor = (high - low) / (end - start)
    return now.then(torch.tensor([factor]), torch.tensor([low - start * factor]), "ScaleIntensityRange")


def _normalize(now: Preparation, given: Mapping[str, Any]) -> Preparation:
    mean, std = given.get("subtrahend"), given.get("divisor")
    if mean is None or std is None or given.get("nonzero"):
        raise ValueError("expected subtrahend and divisor; without them each image is normalized by its own")
    means, stds = (torch.as_tensor(value, dtype=torch.float32).flatten() for value in (mean, std))
    return now.then(1 / stds, -means / stds, "NormalizeIntensity")


FOLLOWED = {
    "LoadImage": _load,
    "Transpose": _transpose,
    "Orientation": _orientation,
    "Resize": _resize,
    "ScaleIntensity": _scale,
    "ScaleIntensityRange": _scale_range,
    "NormalizeIntensity": _normalize,
}
"""What each transform makes of a preparation, given its arguments."""
