"""VarGrad: Adebayo et al. 2018, arXiv:1810.03307, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.noise import OverNoise
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class VarGrad(OverNoise):
    """Variance of the gradient (or of another gradient method) over copies of the image with Gaussian noise.

    Costs ``samples`` times what the method costs: a forward and backward pass for the gradient.

    Args:
        antithetic: Take the noise in pairs of opposite sign. They spread alike, so that half as many tell of the
            variance, and it is biased: not by default here.
    """

    antithetic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise MedsaliencyError(f"vargrad: expected samples >= 2, to have a variance, got {self.samples}")

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Variances (N, C, H, W), at least 0, without pairs unbiased; an image's generator draws the noise."""
        mean, square = self.moments(probe, rngs, 1, 2)
        return (square - mean.square()).clamp(min=0) * (self.samples / (self.samples - 1))
