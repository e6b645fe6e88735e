"""What a classifier refuses: images and preprocessing that do not fit it, and logits that cannot be right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError


def check_images(images: Tensor, channels: int) -> None:
    """Raise MedsaliencyError unless ``images`` is (N, ``channels``, H, W) or (N, ``channels``, D, H, W), and finite."""
    if images.ndim not in (4, 5) or images.shape[1] != channels or 0 in images.shape:
        raise MedsaliencyError(
            f"classifier: expected images of shape (N, {channels}, H, W) or volumes (N, {channels}, D, H, W) with N at "
            f"least 1, got {tuple(images.shape)}; a model of {channels} channel(s) takes images of as many"
        )
    bad = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero()
    if len(bad):
        raise MedsaliencyError(
            f"classifier: expected finite pixels, got NaN or infinity in image {int(bad[0])} of the batch; mend it"
        )


def check_size(size: int | Sequence[int] | None) -> None:
    """Raise MedsaliencyError unless ``size`` is None, a side in pixels, or the three sides (D, H, W) of a volume."""
    sides = () if size is None else (size,) if isinstance(size, int) else tuple(size)
    if (not isinstance(size, int | None) and len(sides) != 3) or any(side < 1 for side in sides):
        raise MedsaliencyError(
            f"classifier: expected size as one side in pixels, as (D, H, W) of a volume, or None, got {size!r}"
        )


def check_axes(module: nn.Module, images: Tensor) -> None:
    """Raise MedsaliencyError if all convolutions of a module take volumes and it was given images, or the other way.

    For a module that could not run: convolutions say what they were given in words of their own, each kind another.
    """
    taken = {2 + len(layer.kernel_size) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)}
    if len(taken) == 1 and images.ndim not in taken:
        flat, deep = "images (N, C, H, W)", "volumes (N, C, D, H, W)"
        expected, got = (flat, deep) if images.ndim == 5 else (deep, flat)
        raise MedsaliencyError(
            f"classifier: expected {expected}, as the convolutions of {type(module).__name__} take them, got {got}, "
            f"shape {tuple(images.shape)}; choose a model for those"
        )


def check_logits(logits: object, rows: int, width: int, classes: Sequence[str], output: str) -> Tensor:
    """Logits (``rows``, ``width``) as float32.

    Raises:
        MedsaliencyError: If a module put out something else, or a value that is not finite.
    """
    if not isinstance(logits, Tensor) or logits.shape != (rows, width):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise MedsaliencyError(
            f"classifier: expected logits of shape ({rows}, {width}) for classes {list(classes)} and "
            f"output {output!r}, got {got}; name as many classes as the model has outputs"
        )
    bad = (~torch.isfinite(logits)).any(dim=1).nonzero()
    if len(bad):
        raise MedsaliencyError(
            f"classifier: expected finite logits, got NaN or infinity for image {int(bad[0])} of the batch; "
            "check the weights and that images are in the range the model was trained on"
        )
    return logits.float()


def per_channel(value: float | Sequence[float], channels: int, device: torch.device, name: str) -> Tensor:
    """One value or C as (C, 1, 1) float32.

    Raises:
        MedsaliencyError: If there are neither one nor C.
    """
    values = torch.as_tensor(value, dtype=torch.float32, device=device).flatten()
    if len(values) not in (1, channels):
        raise MedsaliencyError(f"classifier: expected {name} with 1 or {channels} values, got {len(values)}")
    return values.expand(channels)[:, None, None].clone()
