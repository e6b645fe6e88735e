"""HiResCAM: Draelos & Carin 2020, arXiv:2011.08891."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import Signed, at_image_size
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class HiResCAM(Signed):
    """Feature maps of the target layer times their gradient, position by position; the sum, upsampled.

    Where one linear layer follows the feature maps, the values on the layer's grid add up to the logit less its bias.
    Costs one forward pass and a backward pass down to the layer, shared through the probe.

    Args:
        sign: Taken on the layer's grid, before upsampling; the paper's is "signed", without which nothing adds up.
    """

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), signed; nothing is drawn."""
        del rngs
        features = probe.features
        return at_image_size(probe, self.of_map((features.activations * features.gradients).sum(dim=1)))
