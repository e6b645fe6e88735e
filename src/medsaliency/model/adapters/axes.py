"""Sides of a network's input, and a network with height first of one that was trained on images with width first."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Size
from medsaliency.types import MedsaliencyError

PAIRS = ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size")
SIDES = (96, 64)
"""(H, W) on which both are compared where the network takes any."""
CLOSE = 1e-3
"""Largest difference of a logit, relative to the largest logit, that rounding may explain."""


def size_of(sides: tuple[int, ...] | None, where: str) -> Size | None:
    """A classifier's size of the sides (H, W) or (D, H, W) of its input; None stays None.

    Args:
        sides: In pixels.
        where: The model, for the error.

    Raises:
        MedsaliencyError: If images have two different sides.
    """
    if sides is None:
        return None
    if len(sides) == 3:
        return sides[0], sides[1], sides[2]
    if len(set(sides)) != 1:
        raise MedsaliencyError(
            f"{where}: expected square images or volumes, got sides {sides}; wrap the model in Classifier without a "
            "size and give images of these sides in Python"
        )
    return sides[0]


def with_swapped_axes(network: nn.Module, channels: int, size: tuple[int, int] | None) -> nn.Module:
    """A copy of ``network`` whose filters are transposed, so that it gives the same logits for transposed images.

    Its feature maps then lie as the image does, which they would not if only the input were turned.

    Args:
        network: In eval mode, takes (N, C, W, H).
        channels: C.
        size: (H, W) of the input; None where any will do.

    Raises:
        MedsaliencyError: If the copy gives other logits, as a network does that has more than filters (positions of
            patches, say).
    """
    other = deepcopy(network)
    for layer in other.modules():
        for name in PAIRS:
            value = getattr(layer, name, None)
            if isinstance(value, tuple) and len(value) == 2:
                setattr(layer, name, value[::-1])
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            with torch.no_grad():
                layer.weight.data = layer.weight.data.transpose(2, 3).contiguous()
            both = layer._reversed_padding_repeated_twice
            layer._reversed_padding_repeated_twice = [*both[2:], *both[:2]]
        if isinstance(layer, nn.ConstantPad2d | nn.ReflectionPad2d | nn.ReplicationPad2d):
            left, right, top, bottom = layer.padding
            layer.padding = (top, bottom, left, right)
    images = torch.rand(2, channels, *(size or SIDES), generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        expected, found = network(images.transpose(2, 3)), other(images)
    close = CLOSE * float(expected.abs().max())
    if not isinstance(found, Tensor) or not torch.allclose(found, expected, rtol=0, atol=close):
        raise MedsaliencyError(
            f"{type(network).__name__} was trained on images with the horizontal axis first and cannot be turned; read "
            "images with reverse_indexing=False in training, or wrap it in Classifier and turn images yourself"
        )
    return other
