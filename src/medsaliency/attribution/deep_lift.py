"""DeepLIFT: Shrikumar, Greenside & Kundaje 2017, arXiv:1704.02685, with the rescale rule."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.through_captum import captum, through_layers
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class DeepLIFT(PerPixel):
    """The difference to a baseline, passed back by each nonlinear layer's slope between the two (extra ``captum``).

    Costs one forward and backward pass of the image and its baseline, and one forward pass for the first image of a
    batch. Works on a copy of the module.

    Args:
        baseline: Display-range value of every baseline pixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`; only the signed map can be complete.

    Raises:
        MedsaliencyError: When called, if captum is missing.
    """

    baseline: float = 0.0

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Contributions (N, C, H, W); nothing is drawn."""
        del rngs
        peer = captum("deep_lift")

        def attribute(own: nn.Module, image: Tensor) -> Tensor:
            for layer in own.modules():
                layer.__class__ = _POOLING.get(type(layer), type(layer))
            found: Tensor = peer.DeepLift(own).attribute(image, baselines=self.baseline)
            return found

        return through_layers(probe, "deep_lift", attribute)


class _MaxPool2d(nn.MaxPool2d):
    """Max pooling for which captum finds no rule, so that it passes back its gradient, as in the authors' package.

    Captum's rule loses what a pixel passes to more than one window, where windows overlap.
    """


class _MaxPool3d(nn.MaxPool3d):
    """Likewise."""


_POOLING: dict[type[nn.Module], type[nn.Module]] = {nn.MaxPool2d: _MaxPool2d, nn.MaxPool3d: _MaxPool3d}
