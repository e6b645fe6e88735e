"""The smallest difference that a sample could have shown, so that "not shown" is not read as "equal".

The patients' differences, taken with both signs, make a population in which neither method is better. It is tilted: a
difference d becomes exp(theta d) times as likely. Samples of as many patients as were seen are drawn from it, and theta
is raised until the wanted share of samples is shown to differ. The population's mean is then the difference that would
have been shown. Tilting moves a normal distribution and keeps its shape. Adding a constant would do the same, but not
where methods tie: the smallest constant would turn all ties into wins, and be shown at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import ndtri, stdtrit

from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.signed_rank import EXACT

SAMPLES = 300
POINTS = 2**14
"""Parts of the distribution function that can be told apart when patients are drawn."""
AT_ONCE = 2**18
"""Patients of simulated samples that are looked at together: a few arrays of 2 MiB."""
TOLERANCE = 0.01
"""On the power; with ``SAMPLES`` simulated samples its standard error is 0.023."""
Scores = Literal["ranks", "values"]


def detectable(
    differences: Floats,
    critical: Floats,
    rng: np.random.Generator,
    *,
    scores: Scores = "ranks",
    power: float = 0.8,
) -> float:
    """The smallest mean difference, of either sign, that a test shows with the wanted power.

    Args:
        differences: (P,) of patients, rounded so that ties are ties.
        critical: (P + 1,) what the test's statistic must reach, by the number of differences that are not zero. The
            statistic is the sum of signed scores over the root of the sum of their squares.
        rng: Draws samples; in the same state, the same (common random numbers).
        scores: ``ranks`` for the signed-rank test, with :func:`signed_rank_critical`; ``values`` for permutations of
            the differences themselves, with :func:`permutation_critical`.
        power: Share of samples that must show it.

    Returns:
        At least 0, in the metric's units. NaN where it cannot be said: all differences are zero, or not even
        differences of one sign on all patients would be shown.
    """
    patients = len(differences)
    size, times = np.unique(np.abs(differences), return_counts=True)
    if not size.any() or critical[patients] > np.sqrt(patients) + 1e-10:
        return float("nan")
    support = np.concatenate([-size[::-1], size])
    chance = np.concatenate([times[::-1], times]) / (2 * patients)
    spread = np.sqrt((chance * support**2).sum())
    places = np.empty((SAMPLES, patients), dtype=np.uint16)  # POINTS fit into it
    rows = max(1, 2**18 // patients)
    for start in range(0, SAMPLES, rows):  # the same numbers as drawn at once, in a few MiB
        own = places[start : start + rows]
        own[:] = rng.integers(POINTS, size=own.shape)
    # Of a normal population, moved by a mean m, the statistic is near sqrt(P) m / spread: where to begin, how to step.
    slope = np.sqrt(patients) * spread
    theta = max(critical[patients] + ndtri(power), 1.0) / slope
    low, high = 0.0, np.inf
    while high - low > 1e-4 * theta:
        tilted = _tilt(chance, support, theta)
        shown = _power(places, tilted, size, critical, scores)
        if abs(shown - power) <= TOLERANCE:
            break
        low, high = (theta, high) if shown < power else (low, theta)
        missing = ndtri(power) - ndtri(np.clip(shown, 0.5 / SAMPLES, 1 - 0.5 / SAMPLES))
        theta += missing / slope
        if not low < theta < high:
            theta = (low + high) / 2 if np.isfinite(high) else 2 * low
    return float(tilted @ support)


@lru_cache(maxsize=64)
def signed_rank_critical(patients: int, level: float) -> Floats:
    """What the standardized signed-rank statistic must reach to be significant, for 0 to ``patients`` differences.

    Up to :data:`~medsaliency.statistics.signed_rank.EXACT` differences from the exact null distribution without ties;
    with ties the statistic, divided by its own standard deviation, is compared with the same value. Above, from the
    normal distribution, as the test itself.

    Args:
        patients: P.
        level: Of the two-sided test.

    Returns:
        (P + 1,), infinite where no sample of so few reaches the level.
    """
    critical = np.full(patients + 1, np.inf)
    chance = np.ones(1)
    for n in range(1, min(patients, EXACT) + 1):
        grown = np.zeros(len(chance) + n)
        grown[: len(chance)] = chance / 2
        grown[n:] += chance / 2
        chance = grown
        # The sum of positive ranks is as likely to be total - w as w: the highest w with at most half the level below.
        within = np.flatnonzero(np.cumsum(chance) <= level / 2)
        if len(within):
            total = n * (n + 1) / 2
            critical[n] = (total - 2 * within[-1]) / np.sqrt(n * (n + 1) * (2 * n + 1) / 6)
    large = np.arange(EXACT + 1, patients + 1, dtype=np.float64)
    squares = large * (large + 1) * (2 * large + 1) / 6
    critical[EXACT + 1 :] = -ndtri(level / 2) + 1 / np.sqrt(squares)
    return critical


def permutation_critical(patients: int, level: float) -> Floats:
    """What the sum over the root of the sum of squares must reach under sign flips, for 0 to ``patients`` differences.

    The statistic s is Student's in another form, t^2 = s^2 (P - 1) / (P - s^2), and flipped signs give nearly the
    p-values of Student's t-test. The permutations of one sample would not do better: another sample, in which there is
    a difference, has other ones, and where scores tie, many more differences that are not zero.

    Args:
        patients: P.
        level: The largest two-sided p that is significant.

    Returns:
        (P + 1,), infinite where not even differences of one sign reach the level, which have p = 2 / 2^n.
    """
    if patients < 2 or level <= 0:
        return np.full(patients + 1, np.inf)
    t = stdtrit(patients - 1, 1 - min(level, 1.0) / 2)
    enough = 2.0 ** (1 - np.arange(patients + 1)) <= level
    return np.where(enough, t * np.sqrt(patients / (patients - 1 + t**2)), np.inf)


def _tilt(chance: Floats, support: Floats, theta: float) -> Floats:
    """Chances proportional to ``chance * exp(theta * support)``."""
    exponent = theta * support
    weight = chance * np.exp(exponent - exponent.max())
    return np.asarray(weight / weight.sum())


def _power(places: np.ndarray, tilted: Floats, size: Floats, critical: Floats, scores: Scores) -> float:
    """Share of samples in which the test is significant and in favor.

    Args:
        places: (S, P) where in the distribution function each patient of each sample is, 0 to ``POINTS`` - 1.
        tilted: (2 G,) chances of ``-size`` from the largest to the smallest, then of ``size``.
        size: (G,) sizes of differences, ascending.
        critical: (P + 1,).
        scores: See :func:`detectable`.
    """
    ends = np.rint(np.cumsum(tilted) * POINTS).astype(int)
    often = np.diff(ends, prepend=0)
    rows = max(1, AT_ONCE // max(places.shape[1], len(tilted)))
    parts = [places[start : start + rows] for start in range(0, len(places), rows)]
    standardized = _of_ranks if scores == "ranks" else _of_values
    shown = 0
    for part in parts:
        statistic, count = standardized(part, often, size)
        shown += int(np.count_nonzero(statistic >= critical[count] - 1e-9))
    return shown / len(places)


def _of_values(places: np.ndarray, often: np.ndarray, size: Floats) -> tuple[Floats, np.ndarray]:
    """The statistic of the differences themselves (S,), and how many of each sample are not zero."""
    drawn = np.repeat(np.concatenate([-size[::-1], size]), often)[places]
    norm = np.sqrt((drawn**2).sum(axis=1))
    statistic = np.divide(drawn.sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0)
    return statistic, np.count_nonzero(drawn, axis=1)


def _of_ranks(places: np.ndarray, often: np.ndarray, size: Floats) -> tuple[Floats, np.ndarray]:
    """The statistic of signed ranks (S,), and how many differences of each sample are not zero."""
    from medsaliency.statistics.weighted_ranks import sampled_signed_ranks  # compiled by numba, slow to import

    groups = np.arange(len(size))
    sides = np.where(size > 0, 1, 0)
    sides, groups = (np.repeat(np.concatenate(pair), often) for pair in ((-sides[::-1], sides), (groups[::-1], groups)))
    total, squares, count = sampled_signed_ranks(places, sides, groups, len(size))
    norm = np.sqrt(squares)
    return np.divide(total, norm, out=np.zeros(len(norm)), where=norm > 0), count
