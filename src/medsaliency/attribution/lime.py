"""LIME: Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938, algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medsaliency.attribution.superpixels import OverSuperpixels
from medsaliency.attribution.through_captum import captum
from medsaliency.types import MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class LIME(OverSuperpixels):
    """Coefficients of a sparse linear model of the score by which superpixels are shown (extra ``captum``).

    Costs ``samples`` forward passes an image, in micro-batches.

    Args:
        samples: Images with superpixels hidden, each with even chance.
        segments: Superpixels to aim at.
        baseline: Display-range value that hides a superpixel; 0 is black.
        alpha: Weight of the penalty on the coefficients' magnitudes (Lasso); captum's default, in units of the score.
        width: Of the kernel exp(-d^2 / (2 width^2)) that weighs an image by its cosine distance d to the original.
        sign: See :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` or ``segments`` is below 2, ``alpha`` negative, or ``width`` not above 0.
    """

    alpha: float = 0.01
    width: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or not self.width > 0:
            raise MedsaliencyError(f"lime: expected alpha >= 0 and width above 0, got {self}")

    def explainer(self, scores: Any) -> Any:
        """Captum's, with this penalty and kernel."""
        kernel = captum("lime", "captum.attr._core.lime").get_exp_kernel_similarity_function("cosine", self.width)
        model = captum("lime", "captum._utils.models.linear_model").SkLearnLasso(alpha=self.alpha)
        return captum("lime").Lime(scores, interpretable_model=model, similarity_func=kernel)
