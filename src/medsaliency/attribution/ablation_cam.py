"""Ablation-CAM: Desai & Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360, equations 3 and 4."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, weighted_sum
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators

ELEMENTS = 2**24
"""Most values of ablated activations held at once, 64 MiB: 167 copies of 2,048 maps of 7 x 7."""


@dataclass(frozen=True, kw_only=True)
class AblationCAM(Signed):
    """Feature maps weighted by the share of the score that is lost when each of them is set to zero; no gradient.

    A map that is zero everywhere loses nothing and is not tried. Costs a pass from the target layer on for every
    other feature map, and a pass up to it for every micro-batch of them.

    Args:
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".
    """

    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        activations = probe.features.activations
        weights = torch.stack([self._weights(probe, i, activations[i]) for i in range(len(probe))])
        return at_image_size(probe, self.of_map(weighted_sum(activations, weights)))

    def _weights(self, probe: Probe, index: int, activations: Tensor) -> Tensor:
        """(K,) weights of one image's feature maps (K, h, w)."""
        live = activations.flatten(1).any(dim=1).nonzero().flatten()
        kept = torch.ones(1 + len(live), len(activations), device=activations.device)
        # The first row keeps every map and gives the score itself.
        kept[torch.arange(1, len(kept), device=live.device), live] = 0
        together = max(1, ELEMENTS // activations.numel())
        tried = (activations * aligned(part, activations[None]) for part in kept.split(together))
        scores = torch.cat([probe.scores_from_layer(part, index) for part in tried])
        weights = torch.zeros(len(activations), device=activations.device)
        weights[live] = scores[0] - scores[1:]
        # By the score's magnitude: a score below zero, in the paper's formula, would turn the map upside down.
        return weights / scores[0].abs() if scores[0] != 0 else weights
