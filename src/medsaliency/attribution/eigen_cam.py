"""EigenCAM: Muhammad & Yeasin 2020, arXiv:2008.00299, equations 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True, kw_only=True)
class EigenCAM(Signed):
    """The leading principal component of the feature maps; it sees the model and the image, but no class.

    Costs nothing beyond the pass shared through the probe.

    Args:
        centered: Whether each feature map's mean is taken off first, as in a principal component analysis. The paper
            does not; `pytorch-grad-cam` does.
        sign: Taken on the layer's grid, before upsampling. Behind a ReLU, and not centered, nothing is below zero.
    """

    centered: bool = False
    sign: Sign = "positive"

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0, the same for every target; nothing is drawn."""
        del rngs
        activations = probe.features.activations
        positions = activations.flatten(2).mT
        if self.centered:
            positions = positions - positions.mean(dim=1, keepdim=True)
        cam = _upright(_projection(positions)).unflatten(1, activations.shape[2:])
        return at_image_size(probe, self.of_map(cam))


def _projection(rows: Tensor) -> Tensor:
    """Matrices (N, P, K) on their leading right singular vector, (N, P), of either sign."""
    # The smaller of the two Gram matrices: 49 x 49 for a 7 x 7 grid of 2,048 maps, and never one of all pixels.
    values: Tensor
    vectors: Tensor
    if rows.shape[1] <= rows.shape[2]:
        values, vectors = torch.linalg.eigh(rows @ rows.mT)
        return vectors[..., -1] * values[..., -1:].clamp(min=0).sqrt()
    _, vectors = torch.linalg.eigh(rows.mT @ rows)
    return (rows @ vectors[..., -1:]).squeeze(2)


def _upright(maps: Tensor) -> Tensor:
    """Maps (N, P) turned so that each one's value of largest magnitude is positive: an eigenvector has no sign."""
    peaks = maps.gather(1, maps.abs().argmax(dim=1, keepdim=True))
    return torch.where(peaks < 0, -maps, maps)
