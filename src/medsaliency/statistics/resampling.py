"""Patients drawn with replacement, and left out one by one, in memory that hardly grows with their number.

A statistic of means needs the sums of each patient's images only, so that no array has a row a draw and a column an
image. How often each patient is drawn is kept in one byte; a few draws at a time become the numbers that are
multiplied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Times = NDArray[np.uint8]
"""How often each patient is in each draw: more than 255 times has a chance below 1e-500."""
AT_ONCE = 64
"""Draws that are multiplied at a time, always: a product of more rows may differ in its last digit."""


@dataclass(frozen=True, eq=False)
class Patients:
    """The patients of n images.

    Args:
        of_image: (n,) each image's patient, a number in the order of their names.
        count: P.
        members: The patients of each stratum.
        stratified: Whether strata were given.
    """

    of_image: Integers
    count: int
    members: list[Integers]
    stratified: bool = False

    @classmethod
    def of(cls, patients: ArrayLike, strata: ArrayLike | None = None) -> Patients:
        """Of (n,) names, and strata as for :func:`medsaliency.statistics.bootstrap.patient_weights`."""
        names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
        return cls(patient, len(names), _members(patient, len(names), strata), strata is not None)

    @cached_property
    def _order(self) -> tuple[Integers, Integers]:
        """Places of the images, patient by patient, and where each patient begins."""
        order = np.argsort(self.of_image, kind="stable")
        return order, np.searchsorted(self.of_image[order], np.arange(self.count))

    def sums(self, values: Floats) -> Floats:
        """Of each patient's images: (n, k) to (P, k)."""
        order, starts = self._order
        return np.asarray(np.add.reduceat(values[order], starts, axis=0))

    def draw(self, rng: np.random.Generator, draws: int) -> Times:
        """How often each patient counts in each of B draws with replacement, within strata: (B, P), read only.

        The same state of ``rng`` gives the same draws. Those made last are kept, for the next table that asks for them.
        """
        times, after = _drawn(_Stream(rng), tuple(part.tobytes() for part in self.members), draws)
        rng.bit_generator.state = after
        return times

    def left_out(self, sums: Floats) -> Floats:
        """Sums (k,) over all patients without each of them, (P, k): of the (P, k) ``sums`` of patients.

        The rest of a patient's stratum makes up for it, as in :func:`medsaliency.statistics.bootstrap.leave_one_out`.
        """
        result = sums.sum(axis=0) - sums
        if self.stratified:
            for part in self.members:
                own = sums[part]
                result[part] += (own.sum(axis=0) - own) / (len(part) - 1)
        return np.asarray(result)


class _Stream:
    """A generator as a key: equal to another in the same state."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.state = json.dumps(rng.bit_generator.state, default=np.ndarray.tolist)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Stream) and self.state == other.state

    def __hash__(self) -> int:
        return hash(self.state)


@lru_cache(maxsize=1)
def _drawn(stream: _Stream, strata: tuple[bytes, ...], draws: int) -> tuple[Times, Mapping[str, Any]]:
    """The draws of :meth:`Patients.draw`, and the state of the generator after them."""
    parts = [np.frombuffer(part, dtype=np.intp) for part in strata]
    times = np.empty((draws, sum(map(len, parts))), dtype=np.uint8)
    for part in parts:
        share = np.full(len(part), 1 / len(part))
        for start in range(0, draws, AT_ONCE):  # what the generator gives does not depend on how many are asked for
            own = slice(start, min(start + AT_ONCE, draws))
            times[own, part] = stream.rng.multinomial(len(part), share, size=own.stop - own.start)
    times.flags.writeable = False
    return times, stream.rng.bit_generator.state


def blocks(times: Times | Floats) -> Iterator[tuple[slice, Floats]]:
    """A few draws at a time as the numbers that they are: their places, and (b, P)."""
    for start in range(0, len(times), AT_ONCE):
        own = slice(start, min(start + AT_ONCE, len(times)))
        yield own, times[own].astype(np.float64)


def resampled_sums(features: Floats, patients: Patients, rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
    """Sums of features over the images of each draw of patients, and over those without each patient.

    Args:
        features: (n, k) of images.
        patients: Of these images.
        rng: Draws.
        draws: B.

    Returns:
        (B, k) and (P, k): what :func:`medsaliency.statistics.bootstrap.patient_weights` and
        :func:`~medsaliency.statistics.bootstrap.leave_one_out` give when multiplied with the features, but for
        rounding. NaN for a single patient.
    """
    if patients.count < 2:
        return tuple(np.full((rows, features.shape[1]), np.nan) for rows in (draws, patients.count))  # type: ignore[return-value]
    sums = patients.sums(features)
    drawn = np.empty((draws, features.shape[1]))
    for own, times in blocks(patients.draw(rng, draws)):
        drawn[own] = times @ sums
    return drawn, patients.left_out(sums)


def _members(patient: Integers, count: int, strata: ArrayLike | None) -> list[Integers]:
    """The patients of each stratum, by the rule of :func:`medsaliency.statistics.bootstrap.patient_weights`."""
    if strata is None:
        return [np.arange(count)]
    names, label = np.unique(np.asarray(strata, dtype=str), return_inverse=True)
    has = np.zeros((count, len(names)), dtype=bool)
    has[patient, label] = True
    _, stratum, sizes = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    alone = sizes[stratum] == 1
    stratum[alone] = sizes.argmax() if alone.sum() == 1 else len(sizes)
    return [np.flatnonzero(stratum == number) for number in np.unique(stratum)]
