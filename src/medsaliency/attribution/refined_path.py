"""Integrated gradients whose points lie closest where the gradient changes most along the path."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.attribution.integrated_gradients import along_line
from medsaliency.attribution.method import groups
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe

PARTS = 12
"""Equal parts of the path, of each of which the middle is taken first."""
RATE = 1.5
"""Power of a part's points over which its variation says what more of them are worth.

The error of n points falls as n^-1/2 where the gradient is noise at their distance, and as n^-1 or faster where it
jumps a few times; what another point is worth falls by one power more.
"""


def refined_path(probe: Probe, baseline: float, steps: int) -> Tensor:
    """Integral (N, C, H, W) of the gradient along the straight line from a baseline, times the image less the baseline.

    The path is cut into :data:`PARTS` equal parts. How much the contribution of a part's middle differs from its
    neighbors' says how many points the part deserves (see :func:`shares`); each part is their mean, at the middles of
    as many equal parts of it.

    Args:
        probe: N images.
        baseline: Display-range value of every baseline pixel.
        steps: Most points of an image; at most one remains unused.
    """
    parts = min(PARTS, steps)
    found = torch.empty_like(probe.images)
    for own in groups(probe, steps):
        difference = probe.images[own] - baseline
        middles = np.tile((np.arange(parts) + 0.5) / parts, len(own))
        first = along_line(probe, np.repeat(own, parts), middles, baseline).unflatten(0, (len(own), parts))
        first *= difference[:, None]
        changes = (first[:, 1:] - first[:, :-1]).flatten(2).norm(dim=2).cpu().double().numpy()
        numbers = [shares(between, steps) for between in changes]
        weights = torch.tensor(np.stack([1 / (n * parts) for n in numbers]), dtype=torch.float32, device=first.device)
        found[own] = torch.einsum("np,np...->n...", weights, first)
        del first
        _add_others(probe, own, numbers, baseline, found)
    return found


def shares(changes: NDArray[np.float64], steps: int) -> NDArray[np.int64]:
    """Points (P,) of each of P parts of a path, at most ``steps`` in all: odd, so that a part's middle is one of them.

    One after another, the part that gains most gets two more: that of the largest variation over number^:data:`RATE`.

    Args:
        changes: (P - 1,) how much the integrand changes from the middle of a part to the next. A part's variation is
            the mean of the changes on its two sides, or the one that it has.
        steps: At least P.
    """
    sides = np.concatenate([[np.nan], changes, [np.nan]])
    variation = np.zeros(1) if len(changes) == 0 else np.nanmean(np.stack([sides[:-1], sides[1:]]), axis=0)
    numbers = np.ones(len(variation), dtype=np.int64)
    while numbers.sum() + 2 <= steps:
        numbers[np.argmax(variation / numbers**RATE)] += 2
    return numbers


def _add_others(probe: Probe, own: list[int], numbers: list[NDArray[np.int64]], baseline: float, found: Tensor) -> None:
    """Add to ``found`` (N, C, H, W) the points of some images that are not the middle of a part."""
    owners: list[int] = []
    positions: list[float] = []
    weights: list[float] = []
    for image, each in zip(own, numbers, strict=True):
        for part, number in enumerate(each):
            others = [j for j in range(number) if j != number // 2]
            owners += [image] * len(others)
            positions += [(part + (j + 0.5) / number) / len(each) for j in others]
            weights += [1 / (number * len(each))] * len(others)
    for start in range(0, len(owners), probe.together):
        chunk = slice(start, start + probe.together)
        which = torch.tensor(owners[chunk], device=found.device)
        gradients = along_line(probe, np.array(owners[chunk]), np.array(positions[chunk]), baseline)
        weight = aligned(torch.tensor(weights[chunk], dtype=torch.float32, device=found.device), gradients)
        found.index_add_(0, which, weight * gradients * (probe.images[which] - baseline))
