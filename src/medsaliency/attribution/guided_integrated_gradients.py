"""Guided Integrated Gradients: Kapishnikov et al. 2021, arXiv:2106.09788, section 4."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medsaliency.attribution.method import PerPixel, groups
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

CLOSE = 1e-9
"""How near the distance of a step must be, relative and absolute, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class GuidedIntegratedGradients(PerPixel):
    """Gradient integrated along a path that changes the pixels of low gradient first, from a baseline to the image.

    Every step brings the point nearer to the image by the same L1 distance. It spends it on the share ``fraction`` of
    values whose gradient is smallest, then on the next, until it is spent. Signed maps sum to the score at the image
    less the score at the baseline, up to the error of ``steps`` gradients, each taken where its step starts.
    Costs ``steps`` forward and backward passes an image, the first of which is shared by all images of one target;
    steps follow one another, images go together.

    Args:
        steps: Steps of the path; 25 in Brima & Atemkeng 2024.
        fraction: Share of values, above 0 and at most 1, that move together; 0.5 there.
        max_dist: How far a value may be ahead of or behind the straight line, as a share of the line: 0 is the straight
            line, 1 any path that never turns back; 1 there.
        baseline: Display-range value of every baseline pixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`; only the signed map is complete.

    Raises:
        MedsaliencyError: If ``steps``, ``fraction`` or ``max_dist`` is out of range.
    """

    steps: int = 25
    fraction: float = 0.5
    max_dist: float = 1.0
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or not 0 < self.fraction <= 1 or not 0 <= self.max_dist <= 1:
            raise MedsaliencyError(
                "guided_integrated_gradients: expected steps >= 1, fraction above 0 and at most 1 and max_dist from 0 "
                f"to 1, got {self}; change them"
            )

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Values (N, C, H, W); nothing is drawn."""
        del rngs
        # All paths start at one point. Areas of equal gradient are common there, and rounding decides which pixels move
        # first: a pass alone, one for each target, rounds alike in any batch.
        flat = torch.full_like(probe.images[:1], self.baseline)
        owners = {target: i for i, target in enumerate(probe.objects)}
        start = {target: probe.gradients(flat, [i], precise=True)[1] for target, i in owners.items()}
        first = torch.cat([start[target] for target in probe.objects])
        return torch.cat([self._along(probe, part, first[part]) for part in groups(probe, passes=1)])

    def _along(self, probe: Probe, part: list[int], gradients: Tensor) -> Tensor:
        """Values of some of the images, whose paths advance together, given the gradients at the baseline."""
        # The path is float64: float32 sums of distances are too coarse to tell when a step is done.
        image = probe.images[part].double()
        point = torch.full_like(image, self.baseline)
        total = torch.zeros_like(image)
        for step in range(self.steps):
            if step > 0:
                # Which values move next hangs on small differences of gradients, which bfloat16 does not keep.
                gradients = probe.gradients(point.float(), part, precise=True)[1]
            reached = self._next(point.flatten(1), gradients.flatten(1).abs(), image.flatten(1), step).view_as(image)
            total += gradients * (reached - point)
            point = reached
        return total.float()

    def _next(self, point: Tensor, slopes: Tensor, image: Tensor, step: int) -> Tensor:
        """Points (N, D) after a step, given the magnitudes of gradients before it; all else is (N, D) likewise."""
        line = image - self.baseline
        position = (step + 1) / self.steps
        behind = max(position - self.max_dist, 0.0)
        ahead = self.baseline + line * min(position + self.max_dist, 1.0)
        target = line.abs().sum(dim=1, keepdim=True) * (1 - position)
        # Where image and baseline agree this compares NaN, which is behind nothing.
        point = torch.where((point - self.baseline) / line < behind, self.baseline + line * behind, point)
        rank = math.floor((point.shape[1] - 1) * self.fraction) + 1
        unfinished = torch.ones_like(target, dtype=torch.bool)
        while bool(unfinished.any()):
            distance = (image - point).abs().sum(dim=1, keepdim=True)
            movable = point != ahead
            # What cannot move counts among the values of which ``fraction`` is a share, as the steepest.
            ranked = torch.where(movable, slopes, math.inf)
            unfinished = unfinished & ~torch.isclose(distance, target, rtol=CLOSE, atol=CLOSE)
            threshold = ranked.kthvalue(rank, dim=1, keepdim=True).values
            moving = movable & (ranked <= threshold) & unfinished
            room = ((ahead - point).abs() * moving).sum(dim=1, keepdim=True)
            share = (distance - target) / room
            point = torch.where(moving, torch.where(share > 1, ahead, point + share * (ahead - point)), point)
            unfinished = unfinished & (share > 1) & (room > 0)
        return point
