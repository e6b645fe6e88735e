"""Grad-CAM: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, weighted_sum
from medsaliency.model.grids import places
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class GradCAM(Signed):
    """Feature maps of the target layer weighted by their mean gradient; the positive part, upsampled.

    Costs one forward pass and a backward pass down to the layer, shared through the probe.

    Args:
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".
    """

    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        features = probe.features
        cam = weighted_sum(features.activations, features.gradients.mean(dim=places(features.gradients)))
        return at_image_size(probe, self.of_map(cam))
