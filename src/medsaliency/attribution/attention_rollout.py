"""Attention rollout: Abnar & Zuidema 2020, arXiv:2005.00928, section 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from medsaliency.attribution.method import at_image_size
from medsaliency.model.attention import patches_of, read_attention
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

Fusion = Literal["mean", "max", "min"]


@dataclass(frozen=True, kw_only=True)
class AttentionRollout:
    """The attention of all layers multiplied, shortcuts counted; it sees the model and the image, but no class.

    Row q of the product says how much of each token's input reaches token q, as far as attention moves it. The class
    token's row is the map, or the mean of the patches' rows where the head averages patches. Costs one forward pass.
    Needs a vision transformer whose attention is between all patches.

    Args:
        fusion: What is taken over heads; the paper's is "mean".
        discard: Share of a layer's weights, the lowest of each image, that are set to zero before the product, in
            [0, 1). The paper's is 0.

    Raises:
        MedsaliencyError: If an argument cannot be, or, when called, the module has no such attention.
    """

    fusion: Fusion = "mean"
    discard: float = 0.0

    def __post_init__(self) -> None:
        if self.fusion not in get_args(Fusion):
            raise MedsaliencyError(
                f"attention_rollout: expected fusion as one of {', '.join(get_args(Fusion))}, got {self.fusion!r}"
            )
        if not 0 <= self.discard < 1:
            raise MedsaliencyError(f"attention_rollout: expected discard in [0, 1), got {self.discard}; change it")

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0, the same for every target; nothing is drawn."""
        del rngs
        if not probe.classifier.differentiable:  # not torch's, so that nothing in it can be read
            probe.classifier.target_layer(probe.images)  # says why

        def row(layers: list[Tensor]) -> Tensor:
            """(n, T) of a micro-batch: what is kept of its n * T * T numbers a layer."""
            layout, reads_class = patches_of(probe.classifier, layers[0].shape[1], probe.images.shape)
            rolled = rollout(layers, self.discard)
            return rolled[:, 0].clone() if reads_class else rolled[:, layout.prefix or 0 :].mean(dim=1)

        rows = read_attention(probe.classifier, probe.images, self._fused, row)
        layout, _ = patches_of(probe.classifier, rows.shape[1], probe.images.shape)
        return at_image_size(probe, rows[:, layout.prefix or 0 :].unflatten(1, layout.grid))

    def _fused(self, weights: Tensor) -> Tensor:
        """(N, heads, T, T) to (N, T, T)."""
        if self.fusion == "mean":
            return weights.mean(dim=1)
        return weights.amax(dim=1) if self.fusion == "max" else weights.amin(dim=1)


def rollout(layers: list[Tensor], discard: float = 0.0) -> Tensor:
    """The product (N, T, T) of the layers' attention (N, T, T), the last from the left, each mixed with the identity.

    Args:
        layers: At least one, in the order in which they run.
        discard: See :class:`AttentionRollout`.
    """
    product = torch.eye(layers[0].shape[1], device=layers[0].device).expand_as(layers[0])
    for weights in layers:
        kept = weights.flatten(1).clone()
        lowest = kept.topk(int(discard * kept.shape[1]), dim=1, largest=False).indices
        mixed = kept.scatter(1, lowest, 0.0).view_as(weights) + torch.eye(weights.shape[1], device=weights.device)
        product = mixed / mixed.sum(dim=2, keepdim=True) @ product
    return product
