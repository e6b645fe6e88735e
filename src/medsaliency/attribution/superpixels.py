"""Superpixels, and what the methods share that ask for a score with some of them hidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import Signed
from medsaliency.attribution.through_captum import drawing_from
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

COMPACTNESS = 0.1
"""The share of the image's range that weighs as much as a superpixel's side: small follows edges, large is square."""


def superpixels(image: Tensor, segments: int) -> Tensor:
    """Number (H, W) int64 of the superpixel of each pixel, from 0 on: SLIC (Achanta et al. 2012) over all channels.

    Args:
        image: (C, H, W), or (C, D, H, W): then (D, H, W) numbers of supervoxels.
        segments: How many to aim at; there can be fewer.
    """
    from skimage.segmentation import slic  # slow to import

    labels = slic(
        np.moveaxis(image.cpu().numpy(), 0, -1),
        n_segments=segments,
        compactness=COMPACTNESS,
        sigma=1,  # pixels; without it speckle falls apart into pieces that are then all merged into one
        convert2lab=False,
        channel_axis=-1,
        start_label=0,
    )
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1].reshape(labels.shape))


@dataclass(frozen=True, kw_only=True)
class OverSuperpixels(Signed, ABC):
    """A linear model of the score, fitted to images with random superpixels hidden; the base of LIME and kernel SHAP.

    Args:
        samples: Images with superpixels hidden.
        segments: Superpixels to aim at.
        baseline: Display-range value that hides a superpixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` is below 2 or ``segments`` below 2.
    """

    samples: int = 500
    segments: int = 50
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2 or self.segments < 2:
            raise MedsaliencyError(f"{self.own_name}: expected samples >= 2 and segments >= 2, got {self}")

    @abstractmethod
    def explainer(self, scores: Any) -> Any:
        """Captum's explainer of a function from images (n, C, H, W) to scores (n,)."""

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), each superpixel's coefficient at its pixels; each image's generator seeds captum's draws."""
        maps = [self._map(probe, i, rng) for i, (_, rng) in enumerate(zip(probe.images, rngs, strict=True))]
        return self.of_map(torch.stack(maps)).to(probe.images)

    def _map(self, probe: Probe, index: int, rng: np.random.Generator) -> Tensor:
        # On the CPU, where captum's draws are the same whatever device runs the model.
        image = probe.images[index].cpu()
        numbers = superpixels(image, self.segments)
        if numbers.max() == 0:
            raise MedsaliencyError(f"image {index}: expected at least 2 superpixels, got 1; raise segments in {self}")

        def scores(points: Tensor) -> Tensor:
            # A linear model is fitted to differences that can be small: without rounding to bfloat16.
            return probe.scores(points, [index] * len(points), precise=True).cpu()

        with drawing_from(rng):
            found: Tensor = self.explainer(scores).attribute(
                image[None],
                baselines=self.baseline,
                feature_mask=numbers[None, None],
                n_samples=self.samples,
                perturbations_per_eval=probe.together,
            )
        return found[0, 0]
