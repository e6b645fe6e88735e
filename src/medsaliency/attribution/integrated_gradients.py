"""Integrated Gradients: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, equation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.attribution.method import PerPixel, groups
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(PerPixel):
    """Gradient integrated along the straight line from a baseline to the image, times their difference.

    Signed maps sum to the score at the image less the score at the baseline (completeness), up to the error of the
    integral. The integral is the mean over the middles of ``steps`` equal parts; where completeness is off by more than
    ``tolerance``, the points halfway between them are added, which doubles their number, and so on up to ``max_steps``.

    Costs one forward pass for each baseline and, for an image, from ``steps`` to ``max_steps`` forward and backward
    passes.

    Args:
        steps: Points of the first sum. 12 middles err as little as the 25 evenly spaced points, both ends included, of
            Brima & Atemkeng 2024: the gradient of a network of ReLUs jumps along the path, and no rule of higher order
            does better.
        tolerance: Largest error of completeness, relative to the difference of scores; None takes ``steps`` points and
            looks at nothing.
        max_steps: Where doubling ends, whatever the error.
        baseline: Display-range value of every baseline pixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`; only the signed map is complete.

    Raises:
        MedsaliencyError: If ``steps`` is below 1, ``max_steps`` below ``steps``, or ``tolerance`` not above 0.
    """

    steps: int = 12
    tolerance: float | None = 0.01
    max_steps: int = 400
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.max_steps < self.steps or (self.tolerance is not None and not self.tolerance > 0):
            raise MedsaliencyError(
                f"integrated_gradients: expected steps >= 1, max_steps >= steps and tolerance > 0 or None, got {self}"
            )

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Values (N, C, H, W); nothing is drawn."""
        del rngs
        found = torch.empty_like(probe.images)
        for own in groups(probe, self.steps):
            middles = (np.arange(self.steps) + 0.5) / self.steps
            mean = path_sum(probe, own, self.baseline, middles, np.full(self.steps, 1 / self.steps))
            found[own] = mean * (probe.images[own] - self.baseline)
        return found if self.tolerance is None else self._complete(probe, found, self.tolerance)

    def _complete(self, probe: Probe, found: Tensor, tolerance: float) -> Tensor:
        """Double the points of the images whose values (N, C, H, W) do not add up yet."""
        difference = path_difference(probe, self.baseline)
        steps = self.steps
        # The ends of the parts whose middles are in the sum make it that of trapezoids; then come the new middles.
        weights = np.full(steps + 1, 1 / steps)
        weights[[0, -1]] /= 2
        positions = np.arange(steps + 1) / steps
        while True:
            gap = (found.sum(dim=tuple(range(1, found.ndim))) - difference).abs()
            own = (gap > tolerance * difference.abs()).nonzero().flatten().tolist()
            if not own or 2 * steps > self.max_steps:
                return found
            for part in groups(probe, len(positions), own):
                between = path_sum(probe, part, self.baseline, positions, weights)
                found[part] = (found[part] + between * (probe.images[part] - self.baseline)) / 2
            steps *= 2
            positions, weights = (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def path_sum(
    probe: Probe, own: list[int], baseline: float, positions: NDArray[np.float64], weights: NDArray[np.float64]
) -> Tensor:
    """Weighted sum of gradients (n, C, H, W) along the straight paths of n images.

    Args:
        probe: The images.
        own: Which of them.
        baseline: Display-range value where each path starts.
        positions: (s,) places on the path, 0 the baseline and 1 the image.
        weights: (s,) their weights.
    """
    gradients = along_line(probe, np.repeat(own, len(positions)), np.tile(positions, len(own)), baseline)
    gradients = gradients.unflatten(0, (len(own), len(positions)))
    return torch.einsum("s,ns...->n...", torch.as_tensor(weights, dtype=torch.float32).to(gradients), gradients)


def along_line(probe: Probe, owners: NDArray[np.int_], positions: NDArray[np.float64], baseline: float) -> Tensor:
    """Gradients (P, C, H, W) at places (P,) on the straight paths of images (P,): 0 the baseline and 1 the image."""
    which = torch.as_tensor(owners, device=probe.images.device)
    at = aligned(torch.as_tensor(positions, dtype=torch.float32, device=which.device), probe.images)
    return probe.gradients(baseline + at * (probe.images[which] - baseline), owners.tolist())[1]


def path_difference(probe: Probe, baseline: float) -> Tensor:
    """Score (N,) of each image less that of the baseline; one forward pass for each target."""
    start = {target: i for i, target in enumerate(probe.objects)}
    flat = torch.full_like(probe.images[:1], baseline).expand(len(start), *probe.images.shape[1:])
    scores = dict(zip(start, probe.scores(flat, list(start.values()), precise=True), strict=True))
    return probe.own_scores - torch.stack([scores[target] for target in probe.objects])
