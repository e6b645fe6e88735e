"""Wilcoxon's signed-rank test of many pairs at once, exact also where differences tie."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

from medsaliency.statistics.bootstrap import Floats

EXACT = 100
"""Up to so many differences that are not zero the null distribution is computed; above, it is taken as normal."""


def signed_rank(differences: Floats) -> tuple[Floats, Floats]:
    """Two-sided p-values, and the matched-pairs rank-biserial correlations that go with them.

    Differences of zero are dropped (Wilcoxon 1945, doi:10.2307/3001968). Under the null hypothesis each of the rest is
    as likely to be positive as negative, given its size: the p-value is exact for the observed ranks, tied or not. In
    SciPy only the case without ties is exact. The correlation is the share of the ranks' sum in favor less the
    share against (Kerby 2014, doi:10.2466/11.IT.3.1).

    Args:
        differences: (m, P), m pairs of methods on P patients, rounded so that ties are ties.

    Returns:
        (m,) p-values, 1 where all differences are zero, and (m,) correlations in [-1, 1], 0 there.
    """
    ranks = signed_ranks(differences)
    up, down = ranks.clip(min=0).sum(axis=1), -ranks.clip(max=0).sum(axis=1)
    total = up + down
    correlation = np.divide(up - down, total, out=np.zeros(len(total)), where=total > 0)
    p = np.ones(len(total))
    count = (ranks != 0).sum(axis=1)
    for i in np.flatnonzero((count > 0) & (count <= EXACT)):
        own = np.rint(2 * np.abs(ranks[i][ranks[i] != 0])).astype(int)
        below = _null(tuple(sorted(own.tolist())))
        p[i] = min(1.0, 2 * below[round(2 * min(up[i], down[i]))])
    large = count > EXACT
    # Half a rank less, for the step of the statistic; the variance given the ranks is right with ties too.
    z = (np.abs(up - down)[large] / 2 - 0.5).clip(min=0) / np.sqrt((ranks[large] ** 2).sum(axis=1) / 4)
    p[large] = 2 * stats.norm.sf(z)
    return p, correlation


def signed_ranks(differences: Floats) -> Floats:
    """Ranks of the sizes of differences, with their signs, row by row: ties share their mean rank, zeros have 0."""
    ranks = stats.rankdata(np.abs(differences), axis=1) - (differences == 0).sum(axis=1, keepdims=True)
    return np.asarray(np.sign(differences) * ranks)


@lru_cache(maxsize=64)  # without ties all pairs of a study share one
def _null(doubled: tuple[int, ...]) -> Floats:
    """Chance that the sum over a random half of the ranks is at most 0, 1, 2, ...; ranks are doubled to be whole."""
    chance = np.zeros(sum(doubled) + 1)
    chance[0] = 1.0
    top = 1
    for rank in doubled:
        before = chance[:top] / 2
        chance[:top] = before
        chance[rank : top + rank] += before
        top += rank
    return np.asarray(np.minimum(np.cumsum(chance), 1.0))
