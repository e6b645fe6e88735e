"""Sums over pairs of patients who count several times, without a look at every pair.

A rank is the number of values below and half of those that tie. Patients are sorted once; for each draw a pass over
them in this order counts how many were drawn so far. The sums are of whole numbers, so that they are exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Counts = NDArray[np.integer]


def signed_rank_sums(differences: NDArray[np.float64], times: Counts) -> tuple[Whole, Whole]:
    """Twice the sum of signed ranks of one pair of methods in each draw, and how many differences are not zero.

    Args:
        differences: (P,) of patients, rounded so that ties are ties.
        times: (B, P) how often each patient counts.

    Returns:
        (B,) each. Ranks are those of the sizes of differences that are not zero, ties share their mean.
    """
    known = np.flatnonzero(differences)
    order = known[np.argsort(np.abs(differences[known]), kind="stable")]
    sizes = np.abs(differences[order])
    ends = np.append(np.flatnonzero(np.diff(sizes)) + 1, len(sizes)) if len(sizes) else np.zeros(0, dtype=np.intp)
    signs = np.sign(differences[order]).astype(np.int64)
    return _signed_rank_sums(order, ends, signs, times)  # type: ignore[no-any-return]


def sums_above(first: NDArray[np.float64], second: NDArray[np.float64], times: Counts) -> Whole:
    """How many more pairs of patients have a first value above the second than below it, in each draw.

    Args:
        first: (P,) of patients.
        second: (P,), rounded like ``first`` so that ties are ties.
        times: (B, P) how often each patient counts.

    Returns:
        (B,) the sum of ``w_i w_j sign(first_i - second_j)`` over all i and j.
    """
    own, other = np.argsort(first, kind="stable"), np.argsort(second, kind="stable")
    ordered = second[other]
    below, upto = (np.searchsorted(ordered, first[own], side=side) for side in ("left", "right"))
    return _sums_above(own, other, below, upto, times)  # type: ignore[no-any-return]


def sampled_signed_ranks(
    places: NDArray[np.uint16], sides: NDArray[np.int64], groups: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Whole]:
    """Of samples of patients, each drawn as a place among possible differences, the signed ranks.

    Args:
        places: (S, P) of each patient of each sample.
        sides: (places,) the sign of the difference at each place, 0 where it is none.
        groups: (places,) the place of its size among all sizes, ascending.
        count: How many sizes there are.

    Returns:
        (S,) sums of signed ranks, sums of their squares, and how many differences are not zero.
    """
    return _sampled_signed_ranks(places, sides, groups, count)  # type: ignore[no-any-return]


@njit(cache=True)
def _signed_rank_sums(order, ends, signs, times):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(times), dtype=np.int64)
    counts = np.zeros(len(times), dtype=np.int64)
    for b in range(len(times)):
        below, begin, total = 0, 0, 0
        for end in ends:
            tied, net = 0, 0
            for place in range(begin, end):
                often = times[b, order[place]]
                tied += often
                net += signs[place] * often
            total += net * (2 * below + tied + 1)
            below += tied
            begin = end
        sums[b] = total
        counts[b] = below
    return sums, counts


@njit(cache=True)
def _sums_above(own, other, below, upto, times):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(times), dtype=np.int64)
    until = np.zeros(len(other) + 1, dtype=np.int64)
    for b in range(len(times)):
        for place in range(len(other)):
            until[place + 1] = until[place] + times[b, other[place]]
        total = 0
        for place in range(len(own)):
            total += times[b, own[place]] * (until[below[place]] + until[upto[place]])
        sums[b] = total - until[-1] * until[-1]
    return sums


@njit(cache=True)
def _sampled_signed_ranks(places, sides, groups, count):  # type: ignore[no-untyped-def]
    sums, squares = np.zeros(len(places)), np.zeros(len(places))
    known = np.zeros(len(places), dtype=np.int64)
    tied, net = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for sample in range(len(places)):
        tied[:] = 0
        net[:] = 0
        for patient in range(places.shape[1]):
            place = places[sample, patient]
            if sides[place] != 0:
                tied[groups[place]] += 1
                net[groups[place]] += sides[place]
        below = 0
        for group in range(count):
            if tied[group]:
                rank = below + (tied[group] + 1) / 2
                sums[sample] += net[group] * rank
                squares[sample] += tied[group] * rank * rank
                below += tied[group]
        known[sample] = below
    return sums, squares, known
