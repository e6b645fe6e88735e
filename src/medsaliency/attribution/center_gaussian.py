"""Center Gaussian: a control that looks at neither the model nor the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class CenterGaussian:
    """A Gaussian bump in the middle of the image (Zhang et al. 2016, arXiv:1608.00507, use the center likewise).

    A method that scores no better than this may owe its score to findings being photographed in the middle. Costs no
    model pass.

    Args:
        sigma: Standard deviation as a share of the image's side, along each axis of its own.

    Raises:
        MedsaliencyError: If ``sigma`` is not above 0.
    """

    sigma: float = 0.25

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise MedsaliencyError(f"center_gaussian: expected sigma above 0, a share of the side, got {self.sigma}")

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W) in (0, 1], the same for every image; nothing is drawn."""
        del rngs
        profiles = [self._profile(side).to(probe.images.device) for side in probe.images.shape[2:]]
        bump = reduce(lambda before, profile: before[..., None] * profile, profiles)
        return bump.repeat(len(probe), *(1,) * bump.ndim)

    def _profile(self, side: int) -> Tensor:
        """(side,) values along one side, by the distance of a pixel's middle from the image's."""
        distance = (torch.arange(side) - (side - 1) / 2) / side
        return torch.exp(-0.5 * (distance / self.sigma) ** 2)
