"""Kernel SHAP: Lundberg & Lee 2017, arXiv:1705.07874, section 4.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medsaliency.attribution.superpixels import OverSuperpixels
from medsaliency.attribution.through_captum import captum


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(OverSuperpixels):
    """Estimated Shapley values of superpixels, by weighted linear regression (extra ``captum``).

    Costs ``samples`` forward passes an image, in micro-batches.

    Args:
        samples: Images with superpixels hidden; the first two show all and none.
        segments: Superpixels to aim at.
        baseline: Display-range value that hides a superpixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` or ``segments`` is below 2.
    """

    def explainer(self, scores: Any) -> Any:
        """Captum's."""
        return captum("kernel_shap").KernelShap(scores)
