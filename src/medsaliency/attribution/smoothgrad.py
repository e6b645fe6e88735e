"""SmoothGrad: Smilkov et al. 2017, arXiv:1706.03825, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.noise import OverNoise
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(OverNoise):
    """Mean gradient (or mean of another gradient method) over copies of the image with Gaussian noise.

    Costs ``samples`` times what the method costs: a forward and backward pass for the gradient.
    """

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Means (N, C, H, W); each image's generator draws its ``samples`` fields of noise."""
        return self.moments(probe, rngs, 1)[0]
