"""Guided Grad-CAM: Selvaraju et al. 2017, arXiv:1610.02391."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.attribution.method import PerPixel
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(PerPixel):
    """Guided backpropagation times Grad-CAM: fine detail where the layer's map is positive (extra ``captum``).

    Costs what the two cost.

    Args:
        sign: Of the product; see :class:`~medsaliency.attribution.method.Signed`.
    """

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Products (N, C, H, W); nothing is drawn."""
        cam = GradCAM()(probe, rngs)
        return GuidedBackprop().attributions(probe, rngs) * cam[:, None]
