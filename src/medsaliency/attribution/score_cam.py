"""Score-CAM: Wang et al. 2020, arXiv:1910.01279, algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import Sign, Signed, at_image_size, upsample, weighted_sum
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

ROUND = 16
"""Feature maps taken in order, and as many drawn, before the error is looked at again: what is drawn depends on it."""


@dataclass(frozen=True, kw_only=True)
class ScoreCAM(Signed):
    """Feature maps weighted by how well the image, seen through each of them, still scores; no gradient.

    Every feature map is upsampled, scaled to [0, 1] and multiplied with the display-range image; the target's scores
    of these K images, through a softmax over K, are the weights (a baseline's score, the same for all, drops out of
    it). A map that is constant has no range to scale and shows the black image. Costs as many forward passes as there
    are feature maps that are not constant, plus one; only one micro-batch of masked images is held at a time.

    Args:
        tolerance: Standard error of the map, relative to its norm, at which no more feature maps are scored. The
            strongest are scored first, together with as many drawn at random, and the rest get the mean weight of those
            drawn. None scores all.
        sign: Taken on the layer's grid, before upsampling; the paper's is "positive".

    Raises:
        MedsaliencyError: If ``tolerance`` is not above 0.
    """

    tolerance: float | None = None
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
        low, high = activations.amin(dim=(1, 2)), activations.amax(dim=(1, 2))
        varied = (high > low).nonzero().flatten()
        black = probe.scores(torch.zeros_like(probe.images[index])[None], [index])
        scores = black.repeat(len(activations))
        if rng is None:
            scores[varied] = masked_scores(probe, index, activations[varied])
            return scores.softmax(dim=0)
        return self._sampled(probe, index, activations, varied, scores, rng)

    def _sampled(
        self, probe: Probe, index: int, activations: Tensor, varied: Tensor, scores: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Weights of which some are exact and the rest their mean, as exact as ``tolerance`` asks."""
        norms = activations.flatten(1).norm(dim=1)
        order = varied[norms[varied].argsort(descending=True, stable=True)].tolist()
        drawn: set[int] = set()
        while left := [k for k in order if k not in drawn]:
            strongest, others = left[:ROUND], left[ROUND:]
            chosen = [others[i] for i in rng.choice(len(others), size=min(ROUND, len(others)), replace=False).tolist()]
            part = torch.tensor(strongest + chosen, device=scores.device)
            scores[part] = masked_scores(probe, index, activations[part])
            # What was drawn so far and is weaker than all that was taken in order: a fair sample of the rest.
            order = order[order.index(strongest[-1]) + 1 :]
            drawn = (drawn | set(chosen)) & set(order)
            rest = torch.tensor([k for k in order if k not in drawn], device=scores.device)
            if len(drawn) < 2 or not len(rest):
                continue
            weights = (scores - scores.max()).exp()
            sample = weights[torch.tensor(sorted(drawn), device=scores.device)]
            weights[rest] = sample.mean()
            cam = weighted_sum(activations[None], weights[None])
            # Each weight strays from the mean by itself, and the mean strays for all of them together.
            together = activations[rest].sum(dim=0).norm() / len(drawn) ** 0.5
            error = sample.std() * torch.hypot(norms[rest].norm(), together) / self.of_map(cam).norm()
            if bool(error <= self.tolerance):
                return weights / weights.sum()
        return scores.softmax(dim=0)


def masked_scores(probe: Probe, index: int, activations: Tensor) -> Tensor:
    """Score (P,) of one image seen through each of its feature maps (P, h, w), none of them constant."""
    image = probe.images[index]
    scores = [activations.new_empty(0)]
    for part in activations.split(probe.together):
        masks = upsample(part[:, None], (image.shape[1], image.shape[2]))
        # Upsampling is linear, so the map's own extremes after it scale it to [0, 1].
        floor, ceiling = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
        masks = (masks - floor) / (ceiling - floor).clamp(min=torch.finfo(masks.dtype).tiny)
        scores.append(probe.scores(masks * image, [index] * len(part)))
    return torch.cat(scores)
