"""Input times gradient: Shrikumar et al. 2016, arXiv:1605.01713."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.attribution.method import PerPixel
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class InputXGradient(PerPixel):
    """The display-range image times the gradient.

    Costs one forward and backward pass, shared through the probe.

    Args:
        sign: See :class:`~medsaliency.attribution.method.Signed`; the paper keeps the sign.
    """

    reads_input_gradients = True

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Products (N, C, H, W); nothing is drawn."""
        del rngs
        return probe.images * probe.input_gradients
