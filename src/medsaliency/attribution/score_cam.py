"""Score-CAM: Wang et al. 2020, arXiv:1910.01279, algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import upsample, weighted_cam
from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True)
class ScoreCAM:
    """Feature maps weighted by how well the image, seen through each of them, still scores; no gradient.

    Every feature map is upsampled, scaled to [0, 1] and multiplied with the display-range image; the target's logits
    of these K images, through a softmax over K, are the weights (a baseline's logit, the same for all, drops out of
    it). A map that is constant has no range to scale and shows the black image. Costs as many forward passes as there
    are feature maps that are not constant, plus one; only one micro-batch of masked images is held at a time.
    """

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        activations = probe.features.activations
        weights = torch.stack([self._weights(probe, i, activations[i]) for i in range(len(probe))])
        return weighted_cam(probe, activations, weights)

    def _weights(self, probe: Probe, index: int, activations: Tensor) -> Tensor:
        """(K,) weights of one image's feature maps (K, h, w)."""
        image, target = probe.images[index], int(probe.targets[index])
        size = (image.shape[1], image.shape[2])
        low, high = activations.amin(dim=(1, 2)), activations.amax(dim=(1, 2))
        varied = (high > low).nonzero().flatten()
        black = probe.classifier.logits(torch.zeros_like(image)[None])[0, target]
        scores = black.repeat(len(activations))
        for part in varied.split(probe.classifier.batch_size):
            masks = upsample(activations[part][:, None], size)
            # Upsampling is linear, so the map's own extremes after it scale it to [0, 1].
            floor, ceiling = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
            masks = (masks - floor) / (ceiling - floor).clamp(min=torch.finfo(masks.dtype).tiny)
            scores[part] = probe.classifier.logits(masks * image)[:, target]
        return scores.softmax(dim=0)
