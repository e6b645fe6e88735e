"""Gradient: Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import PerPixel
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class Gradient(PerPixel):
    """Derivative of the target by each pixel of the display-range image.

    Costs one forward and backward pass, shared through the probe.

    Args:
        sign: See :class:`~medsaliency.attribution.method.Signed`; the paper takes the largest magnitude of a channel.
    """

    reads_input_gradients = True

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Derivatives (N, C, H, W); nothing is drawn."""
        del rngs
        return probe.input_gradients
