"""What a pass of a classifier gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
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

    @classmethod
    def joined(cls, parts: Sequence[Pass]) -> Pass:
        """The pass of all images, of those of its micro-batches."""
        features = [part.features for part in parts if part.features is not None]
        gradients = [part.input_gradients for part in parts if part.input_gradients is not None]
        return cls(
            torch.cat([part.logits for part in parts]),
            tuple(target for part in parts for target in part.targets),
            torch.cat(gradients) if gradients else None,
            Features(torch.cat([f.activations for f in features]), torch.cat([f.gradients for f in features]))
            if features
            else None,
        )
