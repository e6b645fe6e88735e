"""XGrad-CAM: Fu et al. 2020, arXiv:2008.02312, equations 7 and 8."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, weighted_sum
from medsaliency.model.grids import places
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class XGradCAM(Signed):
    """Like Grad-CAM, with the gradient averaged where a feature map is active: weighted by its activations.

    Costs one forward pass and a backward pass down to the layer, shared through the probe.

    Args:
        sign: Taken on the layer's grid, before upsampling; "positive" as in the authors' code.
    """

    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        activations, gradients = probe.features.activations, probe.features.gradients
        axes = places(activations)
        mass = activations.sum(dim=axes)
        # A map without mass is zero everywhere (behind a ReLU), and then any weight will do.
        weights = torch.where(mass != 0, (activations * gradients).sum(dim=axes) / mass, 0.0)
        return at_image_size(probe, self.of_map(weighted_sum(activations, weights)))
