"""What a method is, and what several of them need."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from medsaliency.model.probe import Probe
from medsaliency.types import Generators


class Method(Protocol):
    """Explains a batch: a frozen dataclass of its hyper-parameters, so that its repr is its provenance."""

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Return maps (N, H, W) float32, signed where the method is, never normalized.

        Args:
            probe: N images with one target each.
            rngs: One generator an image, derived from the study's seed, the sample and the method; a method draws
                from nothing else.
        """


def over_channels(attributions: Tensor, *, absolute: bool) -> Tensor:
    """Sum (N, C, H, W) attributions over channels to (N, H, W); their magnitudes if ``absolute``."""
    return (attributions.abs() if absolute else attributions).sum(dim=1)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (N, K, h, w) maps of a layer to the image's (H, W), bilinearly between the centers of cells."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def weighted_cam(probe: Probe, activations: Tensor, weights: Tensor) -> Tensor:
    """Positive part of the feature maps (N, K, h, w) summed with weights (N, K), at the image's size (N, H, W)."""
    cam = torch.einsum("nkhw,nk->nhw", activations, weights).relu()
    return upsample(cam[:, None], (probe.images.shape[2], probe.images.shape[3]))[:, 0]
