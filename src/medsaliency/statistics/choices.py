"""Whole numbers at random, some rows at a time: the same numbers as in one call, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**21
"""Numbers that are made at a time; until they are parted, each takes about eight bytes: 16 MiB."""
WORD = 4
"""Bytes that NumPy takes from a generator at a time, and parts into small numbers."""


def drawn_rows(rng: np.random.Generator, below: int, rows: int, columns: int) -> Iterator[NDArray[np.unsignedinteger]]:
    """The rows of ``rng.integers(below, size=(rows, columns))`` of the smallest unsigned type, some at a time.

    NumPy begins a call with a new word of the generator, so that calls for parts of the rows would give other numbers
    than one call. Here words are drawn, and parted as NumPy does: by the method of Lemire 2019, doi:10.1145/3230636,
    which rejects some so that all numbers are as likely.

    Args:
        rng: At the end in the same state as after one call.
        below: Numbers are from 0 to below this, at least 2.
        rows: R.
        columns: C.

    Yields:
        (r, C) arrays of at most about :data:`AT_ONCE` numbers, R rows in all.
    """
    kind = np.min_scalar_type(below - 1)
    if kind.itemsize >= WORD:  # not parted: a number is a word, or more than one
        for _ in range(rows):
            yield rng.integers(below, size=(1, columns), dtype=kind.type)
        return
    at_once = max(1, AT_ONCE // columns)
    over = np.empty(0, dtype=kind)
    for start in range(0, rows, at_once):
        count = min(at_once, rows - start)
        parts, missing = [over], count * columns - len(over)
        while missing > 0:
            parts.append(_parted(rng, below, kind, -(-missing * kind.itemsize // WORD)))
            missing -= len(parts[-1])
        numbers = np.concatenate(parts)
        over = numbers[count * columns :].copy()
        yield numbers[: count * columns].reshape(count, columns)


def _parted(
    rng: np.random.Generator, below: int, kind: np.dtype[np.unsignedinteger], words: int
) -> NDArray[np.unsignedinteger]:
    """The numbers in so many words of the generator."""
    bits = 8 * kind.itemsize
    drawn = rng.integers(2**32, size=words, dtype=np.uint32).astype("<u4", copy=False).view(kind.newbyteorder("<"))
    scaled = drawn.astype(f"u{2 * kind.itemsize}") * below
    kept = scaled.astype(kind) >= (2**bits - below) % below  # the part behind the point
    return np.asarray((scaled[kept] >> bits).astype(kind))
