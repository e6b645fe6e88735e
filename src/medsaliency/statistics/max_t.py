"""Permutation tests of many hypotheses at once, corrected by the step-down largest statistic.

Westfall & Young 1993, Resampling-Based Multiple Testing; Ge, Dudoit & Speed 2003, doi:10.1007/BF02595811. All
hypotheses are tested on the same permutations, so that the correction knows how they depend on each other: many metrics
that say the same cost little more than one. Holm's correction could not be used: with 10,000 permutations the smallest
p-value is 1 / 10,001, which is too large once it is multiplied by more than 500 tests.

The statistic of a hypothesis is the sum of its patients' differences over the root of the sum of their squares. It
grows with Student's t, and unlike t it stays finite where all differences are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from medsaliency.statistics.bootstrap import Floats

CHUNK = 2**22
"""Statistics held at a time: 32 MiB, of which there are a few copies."""
NOISE = 1e-9
"""Statistics closer than this are equal: sums of the same numbers in another order."""


class Block(Protocol):
    """Hypotheses that are permuted together."""

    def observed(self) -> Floats:
        """Statistics (T,)."""

    def permuted(self, rng: np.random.Generator, count: int) -> Floats:
        """Statistics (count, T) under permutations drawn at random."""


@dataclass(frozen=True)
class SignFlips:
    """Do differences of patients have mean zero? Each patient's differences keep their size and change sign together.

    Args:
        differences: (P, T), T hypotheses; NaN where a patient is absent.
    """

    differences: Floats

    def observed(self) -> Floats:
        """Statistics (T,)."""
        return np.asarray(self.flipped(np.ones((1, len(self.differences))))[0])

    def permuted(self, rng: np.random.Generator, count: int) -> Floats:
        """Statistics (count, T) under random signs, the same of a patient for all hypotheses."""
        return self.flipped(rng.choice(np.array([-1.0, 1.0]), size=(count, len(self.differences))))

    def flipped(self, signs: Floats) -> Floats:
        """Statistics (B, T) with each row of ``signs`` (B, P)."""
        present = np.nan_to_num(self.differences)
        return _standardized(signs @ present, (present**2).sum(axis=0)[None])


@dataclass(frozen=True)
class OneAmongDraws:
    """Is a method as independent draws of a control are? It is permuted which of a patient's values is the method's.

    A method and R draws have R + 1 values of a patient, which are exchangeable under the null hypothesis. One of
    them, the same for all metrics, is taken for the method's and compared with the mean of the rest.

    Args:
        differences: (P, R + 1, K) of each of a patient's values to the mean of its others, the method's first, of K
            metrics; NaN where a patient is absent.
    """

    differences: Floats

    def observed(self) -> Floats:
        """Statistics (K,)."""
        return np.asarray(self.chosen(np.zeros((1, len(self.differences)), dtype=np.intp))[0])

    def permuted(self, rng: np.random.Generator, count: int) -> Floats:
        """Statistics (count, K) under random choices, the same of a patient for all metrics."""
        return self.chosen(rng.integers(self.differences.shape[1], size=(count, len(self.differences))))

    def chosen(self, choices: np.ndarray) -> Floats:
        """Statistics (B, K) with the choices (B, P): 0 is the method itself, r its draw r - 1."""
        patients, candidates, metrics = self.differences.shape
        flat = np.nan_to_num(self.differences).reshape(patients * candidates, metrics)
        rows = len(choices)
        picked = sparse.csr_array(
            (
                np.ones(choices.size),
                (choices + candidates * np.arange(patients)).ravel(),
                np.arange(rows + 1) * patients,
            ),
            shape=(rows, len(flat)),
        )
        both = picked @ np.hstack([flat, flat**2])
        return _standardized(both[:, :metrics], both[:, metrics:])


@dataclass(frozen=True)
class Corrected:
    """What the permutations say of T hypotheses.

    Args:
        p: (T,) of each by itself, two-sided.
        p_corrected: (T,) the chance of at least one false statement is at most this where it is stated.
        critical: What the largest statistic must reach at the level asked for; infinite where it cannot.
    """

    p: Floats
    p_corrected: Floats
    critical: float


def step_down(blocks: Sequence[Block], rng: np.random.Generator, *, permutations: int, alpha: float) -> Corrected:
    """Two-sided p-values of all hypotheses of all blocks, corrected over them.

    Exact by enumeration where the hypotheses are of one :class:`SignFlips` and there are no more than ``permutations``
    signs. Otherwise p = (1 + count) / (1 + B), which is valid for every B (Phipson & Smyth 2010,
    doi:10.2202/1544-6115.1585). Blocks are permuted independently of each other. Where their statistics depend on each
    other, however they do, the largest of all is then taken for larger than it is: for normal statistics this is the
    Gaussian correlation inequality (Royen 2014, arXiv:1408.1028). The correction errs on the side of "not shown".

    Args:
        blocks: Hypotheses.
        rng: Draws permutations.
        permutations: B.
        alpha: Level of ``critical``.

    Returns:
        In the order of the blocks and their hypotheses.
    """
    observed = np.abs(np.concatenate([block.observed() for block in blocks]))
    order = np.argsort(-observed, kind="stable")
    alone, largest = np.zeros(len(observed)), np.zeros(len(observed))
    highest = []
    chunks, exact = _chunks(blocks, rng, permutations)
    for chunk in chunks:
        statistics = np.abs(chunk)[:, order]
        alone += (statistics >= observed[order] - NOISE).sum(axis=0)
        # The largest of each hypothesis and of all that are less significant.
        np.maximum.accumulate(statistics[:, ::-1], axis=1, out=statistics[:, ::-1])
        largest += (statistics >= observed[order] - NOISE).sum(axis=0)
        highest.append(statistics[:, 0].copy())
    maxima = np.concatenate(highest)
    extra = 0 if exact else 1
    total = len(maxima) + extra
    p, corrected = np.empty(len(observed)), np.empty(len(observed))
    p[order] = (alone + extra) / total
    corrected[order] = np.maximum.accumulate((largest + extra) / total)
    return Corrected(p, corrected, _critical(maxima, alpha, extra))


def _critical(maxima: Floats, alpha: float, extra: int) -> float:
    """The smallest value that so few of ``maxima`` reach that it is significant at ``alpha``."""
    allowed = int(np.floor(alpha * (len(maxima) + extra) + NOISE)) - extra
    descending = np.sort(maxima)[::-1]
    if allowed < 1:
        return float("inf")
    if allowed >= len(descending):
        return float(descending[-1])
    reached = descending[:allowed][descending[:allowed] > descending[allowed] + NOISE]
    return float(reached[-1]) if len(reached) else float("inf")


def _chunks(blocks: Sequence[Block], rng: np.random.Generator, permutations: int) -> tuple[Iterator[Floats], bool]:
    """Permuted statistics (B, T) in chunks, and whether they are all there are."""
    tests = sum(len(block.observed()) for block in blocks)
    step = max(1, CHUNK // max(tests, 1))
    first = blocks[0]
    if len(blocks) == 1 and isinstance(first, SignFlips) and 2 ** len(first.differences) <= permutations:
        bits = np.arange(len(first.differences))
        every = 2 ** len(bits)
        signs = np.where((np.arange(every)[:, None] >> bits) & 1, -1.0, 1.0)
        return (first.flipped(signs[start : start + step]) for start in range(0, every, step)), True

    def drawn() -> Iterator[Floats]:
        for start in range(0, permutations, step):
            count = min(step, permutations - start)
            yield np.concatenate([block.permuted(rng, count) for block in blocks], axis=1)

    return drawn(), False


def _standardized(total: Floats, squares: Floats) -> Floats:
    """Sums over the root of the sum of squares; 0 where all differences are zero."""
    root = np.sqrt(np.broadcast_to(squares, total.shape))
    return np.divide(total, root, out=np.zeros(total.shape), where=root > 0)
