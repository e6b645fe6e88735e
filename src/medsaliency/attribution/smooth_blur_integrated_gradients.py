"""SmoothGrad over Blur IG: Smilkov et al. 2017, arXiv:1706.03825, with one draw for noise and path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.blur_integrated_gradients import BlurPath, along_blur
from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.strata import path_mean
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class SmoothBlurIntegratedGradients(PerPixel):
    """Mean of Blur Integrated Gradients over noisy copies of the image, each copy seen in one part of its own path.

    The mean over noise and the integral over the path are one expectation. It is estimated by ``samples`` copies, each
    for a piece of the path, with more and shorter pieces where the gradient is noisier
    (:func:`~medsaliency.attribution.strata.path_mean`). Equal parts are equal in log(1 + blur). Costs ``samples``
    forward and backward passes an image.

    Args:
        samples: Copies. The noise of the estimate falls as one over their square root. Below 16 the spread is even.
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
        """Means (N, C, H, W); each image's generator draws places on the path and noise."""

        def rate(copies: Tensor, own: list[int], places: Tensor) -> Tensor:
            # The change over a whole piece, so that the pieces of a part add up to it.
            sharper, at, blurrier = ((1 + self.max_sigma) ** places.to(copies.device) - 1).T
            pieces = torch.arange(len(own), device=copies.device)
            values = along_blur(probe, copies, pieces, own, BlurPath(at, sharper, blurrier), pieces)
            return values / aligned(places[:, 2] - places[:, 0], copies).to(copies)

        return path_mean(probe, rngs, self.samples, self.noise, rate)
