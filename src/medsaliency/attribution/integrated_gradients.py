"""Integrated Gradients: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, equation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import over_channels
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True)
class IntegratedGradients:
    """Gradient integrated along the straight line from a baseline to the image, times their difference.

    Signed maps sum to the logit at the image less the logit at the baseline (completeness), up to the error of the
    integral. The integral is a Gauss-Legendre sum, exact for polynomials of degree ``2 * steps - 1``.
    Costs ``steps`` forward and backward passes an image.

    Args:
        steps: Points of the sum; 25 in Brima & Atemkeng 2024.
        baseline: Display-range value of every baseline pixel; 0 is black.
        absolute: Magnitudes summed over channels instead of the signed sum, which alone is complete.

    Raises:
        MedsaliencyError: If ``steps`` is below 1.
    """

    steps: int = 25
    baseline: float = 0.0
    absolute: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise MedsaliencyError(f"integrated_gradients: expected steps >= 1, got {self.steps}")

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); nothing is drawn."""
        del rngs
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        position = torch.tensor((nodes + 1) / 2, dtype=torch.float32, device=probe.images.device)[:, None, None, None]
        weight = torch.tensor(weights / 2, dtype=torch.float32, device=probe.images.device)
        attributions = torch.empty_like(probe.images)
        for i, image in enumerate(probe.images):
            difference = image - self.baseline
            path = self.baseline + position * difference
            gradients = probe.classifier.input_gradients(path, probe.targets[i].expand(self.steps))
            attributions[i] = difference * torch.einsum("s,schw->chw", weight, gradients)
        return over_channels(attributions, absolute=self.absolute)
