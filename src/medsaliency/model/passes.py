"""What a pass of a classifier gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from medsaliency.model.targets import Target, Targets

Choose = Callable[[Tensor], Targets]
"""Gives the targets of logits (N, K): how the predicted class is explained within one pass."""


@dataclass(frozen=True)
class Features:
    """A layer's feature maps and the target's gradient there, both (N, K, h, w) float32."""

    activations: Tensor
    gradients: Tensor


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass gives.

    Args:
        logits: (N, K) float32.
        targets: What was differentiated, one an image.
        input_gradients: (N, C, H, W) float32, by the image in display range; None where not asked for.
        features: Of the target layer; None where not asked for.
    """

    logits: Tensor
    targets: tuple[Target, ...]
    input_gradients: Tensor | None
    features: Features | None
