"""How large a difference of two methods is, whatever the metric's units: effect sizes on patient means, with intervals.

All are positive, or above one half, where the first method has the larger values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats, bca_limits
from medsaliency.statistics.resampling import Patients, Times, blocks
from medsaliency.statistics.signed_rank import signed_ranks
from medsaliency.statistics.ties import tie_decimals


@dataclass(frozen=True)
class Effect:
    """An effect size of each of m pairs with its limits, (m,) each."""

    value: Floats
    low: Floats
    high: Floats


def effect_sizes(
    first: Floats, second: Floats, rng: np.random.Generator, *, draws: int = 2000, level: float = 0.95
) -> dict[str, Effect]:
    """Effect sizes of m pairs of methods on the same P patients, with BCa limits over patients.

    All pairs share the draws. The work grows with pairs times draws times patients.

    Args:
        first: (m, P) patient means of each pair's first method.
        second: (m, P) of the second.
        rng: Draws patients.
        draws: Bootstrap samples.
        level: Coverage aimed at, in (0, 1).

    Returns:
        ``rank_biserial``, see :func:`rank_biserial`; ``cliffs_delta``, see :func:`cliffs_delta`; ``superiority``, see
        :func:`superiority`.
    """
    patients = first.shape[1]
    owner = Patients.of(np.arange(patients))  # in the order of their names, which is not that of numbers
    alone = np.full((draws, 1), np.nan)  # a single patient, who shows no spread
    times = owner.draw(rng, draws)[:, owner.of_image] if patients > 1 else alone
    order = np.argsort(owner.of_image)
    decimals = tie_decimals(np.concatenate([first, second]))
    first, second = np.round(first, decimals), np.round(second, decimals)
    differences = np.round(first - second, decimals)
    every = np.ones((1, patients))
    measures: dict[str, tuple[Callable[..., Floats], Callable[..., Floats], tuple[Floats, ...]]] = {
        "rank_biserial": (rank_biserial, _rank_biserial_without, (differences,)),
        "cliffs_delta": (cliffs_delta, _cliffs_delta_without, (first, second)),
        "superiority": (superiority, _superiority_without, (differences,)),
    }
    found = {}
    for name, (measure, without, values) in measures.items():
        (estimate,) = measure(*values, every)
        jackknife = without(*values)[order] if patients > 1 else np.full((patients, len(first)), np.nan)
        found[name] = Effect(estimate, *bca_limits(estimate, measure(*values, times), jackknife, level))
    return found


def rank_biserial(differences: Floats, weights: Floats | Times) -> Floats:
    """Matched-pairs rank-biserial correlation: the favorable share of the signed ranks' sum less the unfavorable.

    Kerby 2014, doi:10.2466/11.IT.3.1. No rank is computed: the sum of signed ranks is the sum of the signs of
    ``d_i + d_j`` over all ``i <= j`` whose differences are not zero (Tukey's form of Wilcoxon's statistic).

    Args:
        differences: (m, P), rounded so that ties are ties.
        weights: (B, P) how often each patient counts, whole numbers.

    Returns:
        (B, m) in [-1, 1]; 0 where no patient that counts differs; NaN where weights are.
    """
    from medsaliency.statistics.weighted_ranks import signed_rank_sums  # compiled by numba, which is slow to import

    result = np.full((len(weights), len(differences)), np.nan)
    known, times = _whole(weights)
    for pair, own in enumerate(differences):
        doubled, count = signed_rank_sums(own, times)
        result[known, pair] = _share(doubled / 2, count)
    return result


def _share(net: Floats, count: NDArray[np.integer]) -> Floats:
    """A sum of signed ranks as a share of the sum of all; 0 where nothing differs."""
    total = count * (count + 1) / 2
    return np.where(total == 0, 0.0, net / np.where(total == 0, 1.0, total))


def _rank_biserial_without(differences: Floats) -> Floats:
    """:func:`rank_biserial` without each patient in turn: (m, P) to (P, m).

    The ranks of larger differences fall by one, and those of ties by a half.
    """
    result = np.empty(differences.T.shape)
    for pair, own in enumerate(differences):
        ranks, sign, size = signed_ranks(own[None])[0], np.sign(own), np.abs(own)
        order = np.argsort(size, kind="stable")
        sums = np.append(0.0, np.cumsum(sign[order]))
        first, last = (sums[np.searchsorted(size[order], size, side=side)] for side in ("left", "right"))
        fallen = (sums[-1] - last) + (last - first - sign) / 2
        own_part = np.where(sign == 0, 0.0, ranks + fallen)
        result[:, pair] = _share(ranks.sum() - own_part, np.count_nonzero(sign) - np.abs(sign).astype(np.int64))
    return result


def cliffs_delta(first: Floats, second: Floats, weights: Floats | Times) -> Floats:
    """Cliff's delta: how much more often a value of the first method is above one of the second, of any patients.

    Cliff 1993, doi:10.1037/0033-2909.114.3.494. It takes no notice of which values are of one patient.

    Args:
        first: (m, P).
        second: (m, P), rounded like ``first`` so that ties are ties.
        weights: (B, P) how often each patient counts, whole numbers.

    Returns:
        (B, m) in [-1, 1]; NaN where weights are.
    """
    from medsaliency.statistics.weighted_ranks import sums_above  # compiled by numba, which is slow to import

    result = np.full((len(weights), len(first)), np.nan)
    known, times = _whole(weights)
    drawn = times.sum(axis=1, dtype=np.int64)
    for pair, (own, other) in enumerate(zip(first, second, strict=True)):
        result[known, pair] = sums_above(own, other, times) / drawn**2
    return result


def _cliffs_delta_without(first: Floats, second: Floats) -> Floats:
    """:func:`cliffs_delta` without each patient in turn: (m, P) to (P, m)."""
    result = np.empty(first.T.shape)
    count = first.shape[1]
    for pair, (own, other) in enumerate(zip(first, second, strict=True)):
        rows, columns = _net_above(own, other), -_net_above(other, own)
        result[:, pair] = (rows.sum() - rows - columns + np.sign(own - other)) / (count - 1) ** 2
    return result


def _net_above(values: Floats, others: Floats) -> Floats:
    """How many more of the others each value is above than below: (P,)."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray(below + upto - len(others), dtype=np.float64)


def superiority(differences: Floats, weights: Floats | Times) -> Floats:
    """Probability of superiority: the share of patients whose difference is positive, ties counting half.

    Args:
        differences: (m, P).
        weights: (B, P) how often each patient counts.

    Returns:
        (B, m) in [0, 1]; NaN where weights are.
    """
    won = ((np.sign(differences) + 1) / 2).T
    result = np.empty((len(weights), len(differences)))
    for place, times in blocks(weights):
        result[place] = times @ won / times.sum(axis=1, keepdims=True)
    return result


def _superiority_without(differences: Floats) -> Floats:
    """:func:`superiority` without each patient in turn: (m, P) to (P, m)."""
    won = ((np.sign(differences) + 1) / 2).T
    return np.asarray((won.sum(axis=0) - won) / (len(won) - 1))


def _whole(weights: Floats | Times) -> tuple[NDArray[np.bool_], NDArray[np.integer]]:
    """Which rows have weights (B,), and these as whole numbers; others are NaN."""
    if weights.dtype == np.uint8:
        return np.ones(len(weights), dtype=bool), weights.astype(np.uint8, copy=False)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(weights).all(axis=1))
    return known, weights[known].astype(np.int32)
