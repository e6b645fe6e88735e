"""Score-CAM: Wang et al. 2020, arXiv:1910.01279, algorithm 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, weighted_sum
from medsaliency.attribution.surrogate import Array, fit
from medsaliency.model.grids import places, upsample
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

FIRST = 128
"""Feature maps of an image scored before the scores of the rest are predicted; later rounds grow by half."""

QUANTILE = 1.645
"""Of an error that is normal and all in one direction, nine of ten are below this many of its standard deviations.

Where the error is spread over directions, more than nine of ten are.
"""


@dataclass(frozen=True, kw_only=True)
class ScoreCAM(Signed):
    """Feature maps weighted by how well the image, seen through each of them, still scores; no gradient.

    Every feature map is upsampled, scaled to [0, 1] and multiplied with the display-range image; the target's scores
    of these K images, through a softmax over K, are the weights (a baseline's score, the same for all, drops out of
    it). A map that is constant has no range to scale and shows the black image. Only one micro-batch of masked images
    is held at a time.

    The paper's method is ``tolerance=None``. It costs as many forward passes as there are feature maps that are not
    constant, plus one. With a tolerance the feature maps are scored in a random order, and those not scored yet get the
    prediction of a Gaussian process on the masks (:mod:`medsaliency.attribution.surrogate`), until the map's error, as
    estimated from scores predicted without them, is within the tolerance. 128 feature maps or fewer are all scored.

    Args:
        tolerance: Distance to the exact map on the layer's grid, relative to the map's norm, that is kept in about nine
            of ten images. An estimate, not a bound. None scores all.
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".

    Raises:
        MedsaliencyError: If ``tolerance`` is not above 0.
    """

    tolerance: float | None = 0.005
    sign: Sign = "positive"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance is not None and not self.tolerance > 0:
            raise MedsaliencyError(f"score_cam: expected tolerance > 0 or None, got {self.tolerance}; change it")

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); nothing is drawn without a tolerance."""
        activations = probe.features.activations
        each = zip(activations, rngs, strict=True) if self.tolerance is not None else ((a, None) for a in activations)
        weights = torch.stack([self._weights(probe, i, maps, rng) for i, (maps, rng) in enumerate(each)])
        return at_image_size(probe, self.of_map(weighted_sum(activations, weights)))

    def _weights(self, probe: Probe, index: int, activations: Tensor, rng: np.random.Generator | None) -> Tensor:
        """(K,) weights of one image's feature maps (K, h, w)."""
        low, high = activations.flatten(1).amin(dim=1), activations.flatten(1).amax(dim=1)
        varied = (high > low).nonzero().flatten()
        black = probe.scores(torch.zeros_like(probe.images[index])[None], [index])
        scores = black.repeat(len(activations))
        if rng is None or self.tolerance is None:
            scores[varied] = masked_scores(probe, index, activations[varied])
            return scores.softmax(dim=0)
        order = varied[torch.from_numpy(rng.permutation(len(varied))).to(varied.device)]
        for start, end in _rounds(len(order)):
            scores[order[start:end]] = masked_scores(probe, index, activations[order[start:end]])
            if end < len(order):
                predicted, error = self._predicted(activations, scores, order, end)
                if error <= self.tolerance:
                    return predicted.softmax(dim=0)
        return scores.softmax(dim=0)

    def _predicted(self, activations: Tensor, scores: Tensor, order: Tensor, n: int) -> tuple[Tensor, float]:
        """Scores (K,), of which those after the first n of ``order`` are predicted, and their map's relative error."""
        maps = activations.flatten(1).cpu().double().numpy()
        scored, unscored = order[:n].cpu().numpy(), order[n:].cpu().numpy()
        model = fit(_masks(maps[order.cpu().numpy()]), scores[order[:n]].cpu().double().numpy())
        # The softmax needs the mean of exp(score), which for a normal error is above exp of the mean score.
        completed = scores.cpu().double().numpy()
        completed[unscored] = model.predicted + np.mean(model.left_out**2) / 2
        weights = np.exp(completed - completed.max())
        weights /= weights.sum()
        cam = weights @ maps
        # The derivative of the map by each score, before the sign: taking the sign moves no two maps farther apart.
        factors = weights[:, None] * (maps - cam)
        norm = float(self.of_map(torch.from_numpy(cam[None, None])).norm())
        error = QUANTILE * model.spread(factors[scored], factors[unscored]) / norm if norm > 0 else math.inf
        return torch.from_numpy(completed).to(scores), error


def _rounds(maps: int) -> Iterator[tuple[int, int]]:
    """Where each round of scoring starts and ends; the last takes all, once a round would leave less than a quarter."""
    start, size = 0, FIRST
    while start < maps:
        end = maps if 4 * size > 3 * (maps - start) else start + size
        yield start, end
        start, size = end, end // 2


def _masks(maps: Array) -> Array:
    """Feature maps (K, p), none constant, each scaled to [0, 1]."""
    low, high = maps.min(axis=1, keepdims=True), maps.max(axis=1, keepdims=True)
    scaled: Array = (maps - low) / (high - low)
    return scaled


def masked_scores(probe: Probe, index: int, activations: Tensor) -> Tensor:
    """Score (P,) of one image seen through each of its feature maps (P, h, w), none of them constant."""
    image = probe.images[index]
    scores = [activations.new_empty(0)]
    for part in activations.split(probe.together):
        masks = upsample(part[:, None], image.shape[1:])
        # Upsampling is linear, so the map's own extremes after it scale it to [0, 1].
        floor, ceiling = masks.amin(dim=places(masks), keepdim=True), masks.amax(dim=places(masks), keepdim=True)
        masks = (masks - floor) / (ceiling - floor).clamp(min=torch.finfo(masks.dtype).tiny)
        scores.append(probe.scores(masks * image, [index] * len(part)))
    return torch.cat(scores)
