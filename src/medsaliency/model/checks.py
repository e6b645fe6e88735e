"""What a classifier refuses: images and preprocessing that do not fit it, and logits that cannot be right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medsaliency.types import MedsaliencyError


def check_images(images: Tensor, channels: int) -> None:
    """Raise MedsaliencyError unless ``images`` is (N, ``channels``, H, W), N at least 1, and finite."""
    if images.ndim != 4 or images.shape[1] != channels or len(images) == 0:
        raise MedsaliencyError(
            f"classifier: expected images of shape (N, {channels}, H, W) with N at least 1, "
            f"got {tuple(images.shape)}; a model of {channels} channel(s) takes images of as many"
        )
    bad = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero()
    if len(bad):
        raise MedsaliencyError(
            f"classifier: expected finite pixels, got NaN or infinity in image {int(bad[0])} of the batch; mend it"
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
