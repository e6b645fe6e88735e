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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.choices import drawn_rows

NOISE = 1e-9
"""Statistics closer than this are equal: sums of the same numbers in another order."""
CODES = 256
"""Choices of several patients are kept in one byte."""
AT_ONCE = 2**21
"""Statistics that are made at a time, 16 MiB or, with their squares, 32; for further ones choices are drawn again."""
GROUPS = 64
"""Groups of patients whose sums are tabulated at a time."""
Counts = NDArray[np.int32]
Choices = NDArray[np.integer]


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

    def all_choices(self) -> Choices:
        """Every choice of all patients, (G, N): the observed first. A row is the choices of a group of patients."""
        patients, choices, _ = self.values.shape
        size = choices**self.together
        groups = np.arange(-(-patients // self.together))
        return np.asarray(np.arange(choices**patients) // size ** groups[:, None] % size)

    def drawn_choices(self, rng: np.random.Generator, count: int) -> Iterator[Choices]:
        """The observed, then ``count`` choices at random: the rows (G, 1 + count), some at a time."""
        groups = -(-len(self.values) // self.together)
        for drawn in drawn_rows(rng, self.values.shape[1] ** self.together, groups, 1 + count):
            drawn[:, 0] = 0
            yield drawn

    def statistics(self, choices: Iterable[Choices], hypotheses: Sequence[int]) -> Floats:
        """Of some hypotheses (h,) under N choices, whose rows (G, N) come some at a time: (h, N)."""
        total, begin = np.zeros((len(hypotheses), 0)), 0
        for rows in (part for some in choices for part in np.split(some, range(GROUPS, len(some), GROUPS))):
            tables = [self._table(hypothesis, slice(begin, begin + len(rows))) for hypothesis in hypotheses]
            if not begin:
                total = np.zeros((len(hypotheses), rows.shape[1]), dtype=tables[0].dtype)
            for group, row in enumerate(rows):
                places = row.astype(np.intp)
                for own, table in zip(total, tables, strict=True):
                    own += table[group][places]
            begin += len(rows)
        if self.symmetric:
            values = np.nan_to_num(self.values[:, 0])[:, list(hypotheses)]
            squares = np.broadcast_to((values**2).sum(axis=0)[:, None], total.shape)
        else:
            squares = total.imag
        root = np.sqrt(squares)
        return np.asarray(np.divide(total.real, root, out=np.zeros(root.shape), where=root > 0))

    def _table(self, hypothesis: int, groups: slice) -> NDArray[np.inexact]:
        """Of some groups of patients (g,), what each of their choices adds to the sum, (g, choices).

        Where the squares depend on the choice, both sums are made at once, as the parts of a complex number.
        """
        _, places, _ = self.values.shape
        own = np.nan_to_num(self.values[groups.start * self.together : groups.stop * self.together, :, hypothesis])
        rows = np.zeros(((groups.stop - groups.start) * self.together, places))
        rows[: len(own)] = own
        digits = np.arange(places**self.together)[:, None] // places ** np.arange(self.together) % places
        each = rows.reshape(-1, self.together, places)[:, np.arange(self.together), digits]
        table = each.sum(axis=2)
        return np.asarray(table if self.symmetric else table + 1j * (each**2).sum(axis=2))


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
    exact = len(blocks) == 1 and blocks[0].values.shape[1] ** len(blocks[0].values) <= permutations
    drawn = max(permutations, needed(blocks, alpha))
    counts = np.concatenate([_counts(block, None if exact else (rng, drawn)) for block in blocks])
    total = counts.shape[1]
    allowed = int(np.floor(alpha * total + NOISE))
    observed = counts[:, 0].astype(np.int64)
    order = np.argsort(observed, kind="stable")
    smallest = np.full(total, total, dtype=np.int32)
    corrected = np.empty(len(counts), dtype=np.int64)
    # From the least significant: the smallest of it and of all before is what it is compared with.
    for test in order[::-1]:
        np.minimum(smallest, counts[test], out=smallest)
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


def _counts(block: Exchangeable, drawn: tuple[np.random.Generator, int] | None) -> Counts:
    """Of each hypothesis and choice how many are as extreme, (K, N): the two-sided p-value of each, times N.

    Args:
        block: Hypotheses that are permuted together.
        drawn: A generator, and how many choices are drawn besides the observed; None for all that there are.
    """
    patients, places, hypotheses = block.values.shape
    total = places**patients if drawn is None else 1 + drawn[1]
    counts = np.empty((hypotheses, total), dtype=np.int32)
    at_once = max(1, AT_ONCE // total)
    before = {} if drawn is None else drawn[0].bit_generator.state
    for start in range(0, hypotheses, at_once):
        part = range(start, min(start + at_once, hypotheses))
        choices: Iterable[Choices]
        if drawn is None:
            choices = [block.all_choices()]
        else:
            drawn[0].bit_generator.state = before  # the same choices again
            choices = block.drawn_choices(*drawn)
        for hypothesis, statistics in zip(part, block.statistics(choices, part), strict=True):
            counts[hypothesis] = _as_extreme(statistics, block.symmetric)
    return counts


def _as_extreme(statistics: Floats, symmetric: bool) -> NDArray[np.integer]:
    """How many statistics are as extreme as each, (N,): twice the smaller tail where they are not symmetric."""
    if symmetric:
        return _as_large(np.abs(statistics))
    tails = np.minimum(_as_large(statistics), _as_large(-statistics))
    return np.asarray(np.minimum(2 * tails, len(statistics)))


def _as_large(values: Floats) -> NDArray[np.integer]:
    return np.asarray(len(values) - np.searchsorted(np.sort(values), values - NOISE, side="left"))
