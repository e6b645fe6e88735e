"""LayerCAM: Jiang et al. 2021, doi:10.1109/TIP.2021.3089943."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class LayerCAM(Signed):
    """Feature maps of the target layer, each position weighted by its own positive gradient; the sum, upsampled.

    Costs one forward pass and a backward pass down to the layer, shared through the probe.

    Args:
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".
    """

    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        features = probe.features
        return at_image_size(probe, self.of_map((features.activations * features.gradients.relu()).sum(dim=1)))
