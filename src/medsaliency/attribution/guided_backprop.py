"""Guided backpropagation: Springenberg et al. 2015, arXiv:1412.6806."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.through_captum import captum, through_layers
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(PerPixel):
    """The gradient, of which every ReLU passes back only what is positive (extra ``captum``).

    Costs one forward and backward pass, and one forward pass for the first image of a batch. Works on a copy of the
    module.

    Args:
        sign: See :class:`~medsaliency.attribution.method.Signed`; the paper keeps the sign.

    Raises:
        MedsaliencyError: When called, if captum is missing or the module has no nn.ReLU.
    """

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Guided gradients (N, C, H, W); nothing is drawn."""
        del rngs
        peer = captum("guided_backprop")
        module = probe.classifier.module
        if not probe.classifier.differentiable:
            probe.classifier.backward(probe.images, probe.objects)  # says why it cannot
        if not any(isinstance(layer, nn.ReLU) for layer in module.modules()):
            raise MedsaliencyError(
                f"guided_backprop: expected a module with nn.ReLU layers, {type(module).__name__} has none, so that "
                "the map would be its plain gradient; use gradient"
            )
        return through_layers(probe, "guided_backprop", lambda own, image: peer.GuidedBackprop(own).attribute(image))
