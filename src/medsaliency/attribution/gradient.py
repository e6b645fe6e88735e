"""Gradient: Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import over_channels
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True)
class Gradient:
    """Derivative of the target logit by each pixel of the display-range image.

    Costs one forward and backward pass, shared through the probe.

    Args:
        absolute: Magnitudes summed over channels instead of the signed sum (the paper takes their maximum).
    """

    absolute: bool = False

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); nothing is drawn."""
        del rngs
        return over_channels(probe.input_gradients, absolute=self.absolute)
