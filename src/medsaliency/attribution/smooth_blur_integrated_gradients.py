"""SmoothGrad over Blur IG: Smilkov et al. 2017, arXiv:1706.03825, with one draw for noise and path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.blur_integrated_gradients import along_blur, blur_path
from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.noise import noisy_copies
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class SmoothBlurIntegratedGradients(PerPixel):
    """Mean of Blur Integrated Gradients over noisy copies of the image, each copy seen in one part of its own path.

    The mean over noise and the integral over the path are one expectation. It is estimated by ``samples`` copies, one
    for each of as many parts of the path. Costs ``samples`` forward and backward passes an image.

    Args:
        samples: Copies, and parts of the path. The noise of the estimate falls as one over their square root.
        noise: Standard deviation of the noise as a share of the image's range; 0.15 in Brima & Atemkeng 2024.
        max_sigma: Standard deviation, in pixels, of the blur at which the path starts; 50 in the authors' code.
        sign: Of the mean; see :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples``, ``noise`` or ``max_sigma`` is out of range.
    """

    samples: int = 100
    noise: float = 0.15
    max_sigma: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.noise < 0 or self.max_sigma <= 0:
            raise MedsaliencyError(
                "smooth_blur_integrated_gradients: expected samples >= 1, noise >= 0 and max_sigma above 0, "
                f"got {self}; change them"
            )

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Means (N, C, H, W); each image's generator draws a field of noise for every two copies."""
        path = blur_path(self.max_sigma, self.samples, "midpoint", probe.images.device)
        total = torch.zeros_like(probe.images)
        # Neighbors on the path have the same noise with opposite signs: what is linear in it nearly cancels.
        for own, numbers, copies in noisy_copies(probe, rngs, self.samples, self.noise, antithetic=True):
            which, parts = torch.tensor([own, numbers], device=total.device)
            total.index_add_(0, which, along_blur(probe, copies, own, path, parts))
        return total
