"""SmoothGrad: Smilkov et al. 2017, arXiv:1706.03825, section 3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import over_channels
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True)
class SmoothGrad:
    """Mean gradient over copies of the image with Gaussian noise.

    Costs ``samples`` forward and backward passes an image.

    Args:
        samples: Noisy copies; 25 in Brima & Atemkeng 2024.
        noise: Standard deviation of the noise as a share of the image's range (its maximum less its minimum).
        absolute: Magnitudes of the mean gradient summed over channels instead of the signed sum.

    Raises:
        MedsaliencyError: If ``samples`` is below 1 or ``noise`` negative.
    """

    samples: int = 25
    noise: float = 0.15
    absolute: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0:
            raise MedsaliencyError(f"smoothgrad: expected samples >= 1 and noise >= 0, got {self}")

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); each image's generator draws its ``samples`` fields of noise."""
        shape = tuple(probe.images.shape[1:])
        spread = self.noise * (probe.images.amax(dim=(1, 2, 3)) - probe.images.amin(dim=(1, 2, 3)))
        gradients = torch.empty_like(probe.images)
        for i, (image, rng) in enumerate(zip(probe.images, rngs, strict=True)):
            drawn = torch.from_numpy(rng.standard_normal((self.samples, *shape), dtype=np.float32))
            noisy = image + spread[i] * drawn.to(probe.images.device)
            targets = probe.targets[i].expand(self.samples)
            gradients[i] = probe.classifier.input_gradients(noisy, targets).mean(dim=0)
        return over_channels(gradients, absolute=self.absolute)
