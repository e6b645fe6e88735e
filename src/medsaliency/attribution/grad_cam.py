"""Grad-CAM: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import weighted_cam
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True)
class GradCAM:
    """Feature maps of the target layer weighted by their mean gradient; the positive part, upsampled.

    Costs one forward and backward pass down to the layer, shared through the probe.
    """

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        features = probe.features
        return weighted_cam(probe, features.activations, features.gradients.mean(dim=(2, 3)))
