"""Grad-CAM++: Chattopadhay et al. 2018, arXiv:1710.11063, equations 10, 15 and 19."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, weighted_sum
from medsaliency.model.grids import places
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class GradCAMPlusPlus(Signed):
    """Like Grad-CAM, with each position's positive gradient weighted so that several instances count alike.

    The score is taken as the exponential of the logit, which makes the higher derivatives powers of the gradient g:
    alpha = g^2 / (2 g^2 + sum(A) g^3), the factor exp(logit) being left out as it only scales a map. Costs one forward
    pass and a backward pass down to the layer, shared through the probe.

    Args:
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".
    """

    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        features = probe.features
        gradients = features.gradients
        axes = places(gradients)
        mass = features.activations.sum(dim=axes, keepdim=True)
        # alpha with g^2 divided out; where g is 0 its weight is multiplied by relu(g) = 0 below.
        denominator = 2 + mass * gradients
        alpha = torch.where(denominator != 0, 1 / denominator, 0.0)
        weights = (alpha * gradients.relu()).sum(dim=axes)
        return at_image_size(probe, self.of_map(weighted_sum(features.activations, weights)))
