"""Means over noise and a path, with more samples where the path is noisier: Neyman 1934; Cochran 1977, section 5.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.attribution.method import groups
from medsaliency.attribution.noise import noisy_copies
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators

PARTS = 10
"""Equal parts of the path, at most."""
PILOT = 2
"""Samples of each part that say how noisy it is."""
FEWEST = 4 * PILOT
"""Samples for each part: the pilot takes no more than a quarter of all."""

Integers = NDArray[np.intp]
Rate = Callable[[Tensor, list[int], Tensor], Tensor]
"""What P noisy copies (P, C, H, W), given with the image of each, contribute at their places on the path.

A place (P, 3), float64 on the CPU, is a piece of the path [0, 1] and a point in it: start, point, end. The rate
(P, C, H, W) is the contribution for a path of length 1: its mean over noise and uniform places is the result.
"""


def path_mean(
    probe: Probe, rngs: Generators, samples: int, noise: float, rate: Rate, *, antithetic: bool = True
) -> Tensor:
    """Mean (N, C, H, W) of ``rate`` over noisy copies of each image and places on the path.

    The path has up to ten equal parts. Two samples in each tell its standard deviation, and all others go where they
    lower the variance of the sum of parts most (:func:`allocate`). For pairs that is a stand-in: two samples of
    opposite noise differ by what their mean cancels, and what remains is taken to be proportional. Below 16 samples
    there is one part and no pilot.

    The pilot counts in the means. In a part where the rate is skew over noise and place, a pair with a large mean has a
    large difference too, gets company, and counts for less: a bias, small beside the spread of a map and gone as
    ``samples`` grows. There is none where the rate is symmetric about its mean.

    Args:
        probe: N images.
        rngs: One generator an image. It draws the places and then the noise of the pilot, and then of the rest.
        samples: Of each image.
        noise: Standard deviation of the noise as a share of the image's range.
        rate: Of copies at places.
        antithetic: Take the noise in pairs of opposite sign, both in one part of the path.
    """
    parts = max(1, min(PARTS, samples // FEWEST))
    pilot = np.repeat(np.arange(parts), PILOT if parts > 1 else samples)
    visits = partial(_visits, probe, rngs, parts=parts, noise=noise, rate=rate, antithetic=antithetic)
    found = torch.empty_like(probe.images)
    for own in groups(probe, 2):  # sums of parts then take less memory than a pass of the network
        sums = torch.zeros(len(own) * parts, *probe.images.shape[1:], device=found.device)
        differences = torch.zeros_like(sums)
        plan = [pilot if i in own else pilot[:0] for i in range(len(probe))]
        for where, signs, values in visits(plan, own[0]):
            sums.index_add_(0, where, values)
            differences.index_add_(0, where, values * aligned(signs, values))
        counts = np.full((len(own), parts), len(pilot) // parts)
        norms = differences.flatten(1).norm(dim=1).unflatten(0, (len(own), parts)).cpu().double().numpy()
        for i, spreads in zip(own, norms, strict=True):
            plan[i] = _rest(spreads, samples - len(pilot), 2 if antithetic else 1)
            counts[i - own[0]] += np.bincount(plan[i], minlength=parts)
        for where, _, values in visits(plan, own[0]):
            sums.index_add_(0, where, values)
        weights = torch.from_numpy(1 / (parts * counts)).to(sums)
        found[own] = torch.einsum("np,np...->n...", weights, sums.unflatten(0, (len(own), parts)))
    return found


def allocate(spreads: NDArray[np.float64], held: int, units: int) -> Integers:
    """Units (B,) of each part, with those held, so that the variance of the sum of their means is the lowest there is.

    In proportion to the standard deviations, as far as whole numbers and ``held`` allow: the next unit always goes to
    the part whose variance it lowers most (Wright 2012, The American Statistician 66(4)), of equals to the first. All
    parts count as equal where no standard deviation is above 0.

    Args:
        spreads: (B,) standard deviations, in any unit.
        held: Units, at least 1, that each part has already.
        units: To be given.
    """
    spreads = spreads if 0 < spreads.sum() < np.inf else np.ones(len(spreads))
    counts = np.full(len(spreads), held)
    for _ in range(units):
        counts[np.argmax(spreads / np.sqrt(counts * (counts + 1.0)))] += 1
    return counts


def _rest(spreads: NDArray[np.float64], samples: int, step: int) -> Integers:
    """Part (samples,) of each sample after the pilot; ``step`` at a time, as a lone one of a pair cancels nothing."""
    held = PILOT // step
    pairs = step * (allocate(spreads, held, samples // step) - held)
    return np.append(np.repeat(np.arange(len(spreads)), pairs), np.full(samples % step, spreads.argmax()))


def _places(own: Integers, parts: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Places (n, 3) of n samples in their parts of the path: each at random in a piece of its part, one to a piece.

    Middles would have less variance and a bias: two in a part are too few for a network's gradient, which jumps.
    """
    places = np.empty((len(own), 3))
    for part in range(parts):
        mine = own == part
        count = int(np.count_nonzero(mine))
        pieces = np.arange(count)
        offsets = np.stack([np.zeros(count), rng.random(count), np.ones(count)], axis=1)
        places[mine] = (part + (pieces[:, None] + offsets) / max(count, 1)) / parts
    return places


def _visits(
    probe: Probe,
    rngs: Generators,
    plan: Sequence[Integers],
    first: int,
    *,
    parts: int,
    noise: float,
    rate: Rate,
    antithetic: bool,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rates of planned samples, chunk by chunk: part of which image, counted through; sign in its pair; the rate."""
    places = [_places(own, parts, rng) for own, rng in zip(plan, rngs, strict=True)]
    counts = [len(own) for own in plan]
    for own, numbers, copies in noisy_copies(probe, rngs, counts, noise, antithetic=antithetic):
        both = list(zip(own, numbers, strict=True))
        where = torch.tensor([(i - first) * parts + int(plan[i][n]) for i, n in both], device=copies.device)
        signs = torch.tensor([1.0 - 2 * (n % 2) for n in numbers], device=copies.device)
        at = torch.from_numpy(np.stack([places[i][n] for i, n in both]))
        yield where, signs, rate(copies, own, at)
