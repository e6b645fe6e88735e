"""SmoothGrad over Integrated Gradients: Smilkov et al. 2017, arXiv:1706.03825, with one draw for noise and path."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.strata import path_mean
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class SmoothIntegratedGradients(PerPixel):
    """Mean of Integrated Gradients over noisy copies of the image, each copy seen at one point of its own path.

    The mean over noise and the integral over the path are one expectation. It is estimated from ``samples`` points in
    which both vary, more of them in the parts of the path where the gradient is noisier
    (:func:`~medsaliency.attribution.strata.path_mean`). Nested sums look at each draw of the noise at many points of
    its path, and learn less from a pass. Costs ``samples`` forward and backward passes an image.

    Args:
        samples: Points. The noise of the estimate falls as one over their square root. Below 16 the spread is even.
        noise: Standard deviation of the noise as a share of the image's range; 0.15 in Brima & Atemkeng 2024.
        antithetic: Take the noise in pairs of opposite sign: the same mean, mostly with less variance.
        baseline: Display-range value of every baseline pixel; 0 is black.
        sign: Of the mean; see :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` is below 1 or ``noise`` negative.
    """

    samples: int = 80
    noise: float = 0.15
    antithetic: bool = True
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.noise < 0:
            raise MedsaliencyError(
                f"smooth_integrated_gradients: expected samples >= 1 and noise >= 0, got {self}; change them"
            )

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Means (N, C, H, W); each image's generator draws positions and noise."""

        def rate(copies: Tensor, own: list[int], places: Tensor) -> Tensor:
            difference = copies - self.baseline
            position = aligned(places[:, 1], copies).to(copies)
            return probe.gradients(self.baseline + position * difference, own)[1] * difference

        return path_mean(probe, rngs, self.samples, self.noise, rate, antithetic=self.antithetic)
