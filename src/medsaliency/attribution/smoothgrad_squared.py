"""SmoothGrad squared: Hooker et al. 2019, arXiv:1806.10758, section 2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.noise import OverNoise
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class SmoothGradSquared(OverNoise):
    """Mean square of the gradient (or of another gradient method) over copies of the image with Gaussian noise.

    Costs ``samples`` times what the method costs: a forward and backward pass for the gradient.
    """

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Mean squares (N, C, H, W), at least 0; each image's generator draws its ``samples`` fields of noise."""
        return self.moments(probe, rngs, 2)[0]
