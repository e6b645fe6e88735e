"""Permutation tests of many hypotheses at once, corrected by the step-down smallest p-value.

Westfall & Young 1993, Resampling-Based Multiple Testing; Ge, Dudoit & Speed 2003, doi:10.1007/BF02595811, algorithm for
minP. Every permutation is given the p-values that it would have had, had it been observed. The smallest of them is what
chance does among so many tests, and the observed p-values are compared with it. As hypotheses are tested on the same
permutations, the correction knows how they depend on each other: many metrics that say the same cost little more than
one. As p-values are compared, and not statistics, tests of few patients and of many, of skewed and of symmetric
differences, all count the same; the largest statistic, which is bounded by the root of the number of patients, would
hardly ever be that of a test of few, and a test that can show nothing costs the others nothing.

The statistic of a hypothesis is the sum of its patients' differences over the root of the sum of their squares. It
grows with Student's t, and unlike t it stays finite where all differences are equal. The sum alone would not do: where
a method's scores vary more than a control's do, sums that have mostly the control's are too small, and equal means
would be said to differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats

NOISE = 1e-9
"""Statistics closer than this are equal: sums of the same numbers in another order."""
CODES = 256
"""Choices of several patients are kept in one byte."""
KEPT = 2**24
"""Statistics that are kept, 128 MiB; others are made twice."""
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Exchangeable:
    """K hypotheses that are permuted together: each patient has C values, of which any could have been the observed.

    One of a patient's values is chosen, at the same place for all K.

    Args:
        values: (P, C, K), the observed at place 0; NaN where a patient is absent.
    """

    values: Floats

    @classmethod
    def sign_flips(cls, differences: Floats) -> Exchangeable:
        """Do differences (P, K) have mean zero? They keep their size and change sign; NaN where a patient is absent."""
        return cls(np.stack([differences, -differences], axis=1))

    @cached_property
    def symmetric(self) -> bool:
        """Whether these are sign flips, so that each statistic has the same distribution as its negative."""
        return self.values.shape[1] == 2 and np.array_equal(self.values[:, 0], -self.values[:, 1], equal_nan=True)

    @property
    def together(self) -> int:
        """How many patients' choices are kept in one number."""
        choices = self.values.shape[1]
        return max(1, int(np.log(CODES) / np.log(choices) + NOISE))

    def all_choices(self) -> NDArray[np.integer]:
        """Every choice of all patients, (G, N): the observed first. A row is the choices of a group of patients."""
        patients, choices, _ = self.values.shape
        size = choices**self.together
        groups = np.arange(-(-patients // self.together))
        return np.asarray(np.arange(choices**patients) // size ** groups[:, None] % size)

    def drawn_choices(self, rng: np.random.Generator, count: int) -> NDArray[np.integer]:
        """The observed, then ``count`` choices at random, (G, 1 + count)."""
        size = self.values.shape[1] ** self.together
        groups = -(-len(self.values) // self.together)
        kind = np.min_scalar_type(size - 1).type
        drawn = rng.integers(size, size=(groups, 1 + count), dtype=kind)
        drawn[:, 0] = 0
        return np.asarray(drawn)

    def statistics(self, choices: NDArray[np.integer], hypothesis: int) -> Floats:
        """Of one hypothesis under each of the ``choices`` (G, N): (N,)."""
        patients, places, _ = self.values.shape
        rows = np.zeros((len(choices) * self.together, places))
        rows[:patients] = np.nan_to_num(self.values[:, :, hypothesis])
        digits = np.arange(places**self.together)[:, None] // places ** np.arange(self.together) % places
        each = rows.reshape(len(choices), self.together, places)[:, np.arange(self.together), digits]
        table = each.sum(axis=2)
        if not self.symmetric:  # a sum and its squares are looked up at once, as the parts of a complex number
            table = table + 1j * (each**2).sum(axis=2)
        total = np.zeros(choices.shape[1], dtype=table.dtype)
        for own, group in zip(table, choices, strict=True):
            total += own[group]
        root = np.sqrt(total.imag if not self.symmetric else np.full(len(total), (rows[:, 0] ** 2).sum()))
        return np.asarray(np.divide(total.real, root, out=np.zeros(len(root)), where=root > 0))


@dataclass(frozen=True)
class Corrected:
    """What the permutations say of T hypotheses.

    Args:
        p: (T,) of each by itself, two-sided.
        p_corrected: (T,) the chance of at least one false statement is at most this where it is stated.
        critical: The largest p that is significant at the level asked for, be it the smallest of all; 0 where none is.
    """

    p: Floats
    p_corrected: Floats
    critical: float


def step_down(
    blocks: Sequence[Exchangeable], rng: np.random.Generator, *, permutations: int, alpha: float
) -> Corrected:
    """Two-sided p-values of all hypotheses of all blocks, corrected over them.

    Exact by enumeration where there is one block and it has no more than ``permutations`` choices. Otherwise
    p = (1 + count) / (1 + B), which is valid for every B (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). B is
    ``permutations``, or what :func:`needed` says where this is more.

    p is the share of statistics that are as large in size where their distribution is symmetric, and twice the smaller
    tail where it is not. That matters for a method that differs much from all of the draws of a control: take the draws
    of all patients, and they differ from the rest as consistently as the method does, in the other direction.

    Blocks are permuted independently of each other. Whatever their true dependence, the error at level alpha is at most
    -log(1 - alpha), 0.0253 in place of 0.025: the chance that any of the blocks is wrong is at most the sum of theirs,
    and one less the product of one less each is set to alpha.

    Args:
        blocks: Hypotheses.
        rng: Draws permutations.
        permutations: The fewest, unless all are counted.
        alpha: Level of ``critical``.

    Returns:
        In the order of the blocks and their hypotheses.
    """
    tests = [(place, k) for place, block in enumerate(blocks) for k in range(block.values.shape[2])]
    choices = _choices(blocks, rng, permutations, alpha)
    total = int(choices[0].shape[1])
    allowed = int(np.floor(alpha * total + NOISE))

    @lru_cache(maxsize=KEPT // total)
    def statistics(test: int) -> Floats:
        place, hypothesis = tests[test]
        return blocks[place].statistics(choices[place], hypothesis)

    symmetric = np.array([blocks[place].symmetric for place, _ in tests])
    observed = np.array([_observed(statistics(test), symmetric[test]) for test in range(len(tests))])
    order = np.argsort(observed, kind="stable")
    smallest = np.full(total, total)
    corrected = np.empty(len(tests), dtype=np.int64)
    # From the least significant: the smallest of it and of all before is what it is compared with. What is above all
    # that it and those after will be compared with need not be known.
    for test in order[::-1]:
        _lower(smallest, statistics(test), symmetric[test], max(observed[test], allowed + 1))
        corrected[test] = np.count_nonzero(smallest <= observed[test])
    corrected[order] = np.maximum.accumulate(corrected[order])
    rare = min(int(np.partition(smallest, allowed)[allowed]) - 1, allowed) if allowed < total else total
    return Corrected(observed / total, corrected / total, rare / total)


def needed(blocks: Sequence[Exchangeable], alpha: float) -> int:
    """Permutations with which a hypothesis that none surpasses is significant at ``alpha``, whatever the others are.

    1 of B permutations has the smallest p-value of a symmetric statistic, and 2, at either end, that of another. Of T
    hypotheses that have nothing to do with each other these are all different ones, so that T, or 2 T, of B have one as
    small as what none surpasses.
    """
    tests = sum(block.values.shape[2] for block in blocks)
    ends = 1 if all(block.symmetric for block in blocks) else 2
    return int(np.ceil(ends * tests / alpha - NOISE))


def _choices(
    blocks: Sequence[Exchangeable], rng: np.random.Generator, permutations: int, alpha: float
) -> list[NDArray[np.integer]]:
    """Of each block, the observed first: all of a single block that has so few, or as many drawn as are needed."""
    patients, places, _ = blocks[0].values.shape
    if len(blocks) == 1 and places**patients <= permutations:
        return [blocks[0].all_choices()]
    drawn = max(permutations, needed(blocks, alpha))
    return [block.drawn_choices(rng, drawn) for block in blocks]


def _observed(statistics: Floats, symmetric: bool) -> int:
    """How many statistics are as extreme as the first: its two-sided p, times their number."""
    if symmetric:
        return int(np.count_nonzero(np.abs(statistics) >= abs(statistics[0]) - NOISE))
    above = np.count_nonzero(statistics >= statistics[0] - NOISE)
    below = np.count_nonzero(statistics <= statistics[0] + NOISE)
    return min(2 * int(above), 2 * int(below), len(statistics))


def _lower(smallest: Counts, statistics: Floats, symmetric: bool, reach: int) -> None:
    """Lower ``smallest`` to what :func:`_observed` is of each statistic, where this is at most ``reach``."""
    if symmetric:
        places, counts = _tail(np.abs(statistics), reach)
        smallest[places] = np.minimum(smallest[places], counts)
        return
    for values in (statistics, -statistics):
        places, counts = _tail(values, -(-reach // 2))
        smallest[places] = np.minimum(smallest[places], 2 * counts)


def _tail(values: Floats, reach: int) -> tuple[Counts, Counts]:
    """Places of the largest ``reach`` values and their ties, descending, and how many are as large."""
    places = np.arange(len(values))
    if reach < len(values):
        places = np.flatnonzero(values >= np.partition(values, -reach)[-reach] - NOISE)
    places = places[np.argsort(-values[places])]
    descending = -values[places]
    return places, np.searchsorted(descending, descending + NOISE, side="right")
