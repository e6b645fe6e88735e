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

SAMPLES = 300
POINTS = 2**14
"""Parts of the distribution function that can be told apart when patients are drawn."""
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
    places = rng.integers(POINTS, size=(SAMPLES, patients))
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

    From the exact null distribution without ties; with ties the statistic, divided by its own standard deviation, is
    compared with the same value.

    Args:
        patients: P.
        level: Of the two-sided test.

    Returns:
        (P + 1,), infinite where no sample of so few reaches the level.
    """
    critical = np.full(patients + 1, np.inf)
    chance = np.ones(1)
    for n in range(1, patients + 1):
        grown = np.zeros(len(chance) + n)
        grown[: len(chance)] = chance / 2
        grown[n:] += chance / 2
        chance = grown
        # The sum of positive ranks is as likely to be total - w as w: the highest w with at most half the level below.
        within = np.flatnonzero(np.cumsum(chance) <= level / 2)
        if len(within):
            total = n * (n + 1) / 2
            critical[n] = (total - 2 * within[-1]) / np.sqrt(n * (n + 1) * (2 * n + 1) / 6)
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
    groups = len(size)
    ends = np.rint(np.cumsum(tilted) * POINTS).astype(int)
    codes = np.concatenate([np.arange(groups)[::-1], np.arange(groups, 2 * groups)])
    drawn = np.repeat(codes, np.diff(ends, prepend=0))[places]
    drawn += 2 * groups * np.arange(len(places))[:, None]
    counts = np.bincount(drawn.ravel(), minlength=2 * groups * len(places)).reshape(-1, 2, groups)
    if size[0] == 0:
        counts[:, :, 0] = 0
    negative, positive = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    both = positive + negative
    if scores == "ranks":
        score = np.cumsum(both, axis=1)
        score -= (both - 1) / 2
    else:
        score = np.broadcast_to(size, both.shape)
    norm = np.sqrt(np.einsum("sg,sg,sg->s", both, score, score))
    total = np.einsum("sg,sg->s", positive - negative, score)
    statistic = np.divide(total, norm, out=np.zeros(len(norm)), where=norm > 0)
    return float(np.mean(statistic >= critical[np.rint(both.sum(axis=1)).astype(int)] - 1e-9))
