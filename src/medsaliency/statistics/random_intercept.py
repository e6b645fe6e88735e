"""A linear model with a random intercept of the patient, and F tests that hold for few patients.

One random intercept has one ratio of variances, so that the restricted likelihood is searched along a line: no start
values, no failure to converge, and a variance of zero between patients is an answer like any other. Several responses
of the same images (contrasts between methods) share the ratio; their own variances and correlations enter the tests by
the correction of Huynh and Feldt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsaliency.statistics.bootstrap import Floats

RATIOS = np.logspace(-3, 10, 27)
"""Where the ratio of the variances between and within patients is looked for first, besides 0."""
SAME = 1e-8
"""Images of one patient say the same where they hold no more than this share of the residual squares."""
WITHIN = 10
"""Fewest degrees of freedom within patients that a variance is taken from; below, it misleads F tests."""
ROUNDING = 1e-10
"""Singular values of a design below this share of the largest are zeros with rounding."""


@dataclass(frozen=True)
class FTest:
    """An F test: ``statistic`` with ``df`` and ``df_error`` degrees of freedom (corrected, so not whole) and its p."""

    statistic: float
    df: float
    df_error: float
    p: float


@dataclass(frozen=True, eq=False)
class RandomIntercept:
    """A fitted model y = X b + u[patient] + e of c responses, whitened: least squares on it are generalized ones.

    Args:
        design: (n, p) whitened X, of any rank.
        response: (n, c) whitened y.
        ratio: Var(u) / Var(e), at least 0.
        patients: P.
    """

    design: Floats
    response: Floats
    ratio: float
    patients: int

    @property
    def freedom(self) -> int:
        """Degrees of freedom between patients: patients less the rank of the design; tests need at least 1."""
        return self.patients - self.rank

    @cached_property
    def rank(self) -> int:
        """Rank of the design."""
        return rank(self.design)

    @cached_property
    def coefficients(self) -> Floats:
        """(p, c) generalized least squares; of least norm where the design is not of full rank."""
        return np.asarray(self._inverse @ self.response)

    @cached_property
    def covariance(self) -> Floats:
        """(c, c) residual covariance of the responses, restricted maximum likelihood."""
        left = self.response - self.design @ self.coefficients
        return np.asarray(left.T @ left / (len(left) - self.rank))

    def standard_errors(self, weights: Floats, contrasts: Floats) -> Floats:
        """Standard error of ``weights @ coefficients @ contrasts``, each column with its own residual variance.

        Args:
            weights: (r, p) estimable combinations of coefficients.
            contrasts: (c, m) combinations of responses.

        Returns:
            (r, m).
        """
        spread = ((weights @ self._inverse) ** 2).sum(axis=1)
        variance = (contrasts * (self.covariance @ contrasts)).sum(axis=0)
        return np.asarray(np.sqrt(np.outer(spread, variance)))

    def test(self, columns: NDArray[np.bool_]) -> FTest:
        """Whether the marked columns of the design have any effect on any response, in one test.

        The statistic pools the c responses. Its degrees of freedom count patients, not images, and are multiplied by
        :attr:`sphericity`, as in a repeated measures analysis of variance.

        Args:
            columns: (p,) bool.
        """
        from scipy.stats import f as fisher

        others = self.design[:, ~columns]
        full, reduced = (residual_squares(self.response, design) for design in (self.design, others))
        effects, responses = self.rank - rank(others), self.response.shape[1]
        statistic = (reduced - full) / effects / (full / (len(self.design) - self.rank))
        df, df_error = (self.sphericity * responses * count for count in (effects, self.freedom))
        return FTest(float(statistic), float(df), float(df_error), float(fisher.sf(statistic, df, df_error)))

    @cached_property
    def sphericity(self) -> float:
        """How far the responses vary alike and independently, epsilon in [1 / c, 1].

        Huynh & Feldt 1976, doi:10.3102/10769986001001069, as corrected for several groups by Lecoutre 1991,
        doi:10.3102/10769986016004371.
        """
        count, freedom = len(self.covariance), len(self.design) - self.rank
        # c times the epsilon of Greenhouse & Geisser: at most the rank of the covariance, so at most ``freedom``.
        geisser = np.trace(self.covariance) ** 2 / (self.covariance**2).sum()
        if freedom - geisser < 1e-9:
            return 1.0
        corrected = ((freedom + 1) * geisser - 2) / (count * (freedom - geisser))
        return float(np.clip(corrected, 1 / count, 1))

    @cached_property
    def _inverse(self) -> Floats:
        return np.asarray(np.linalg.pinv(self.design, rcond=ROUNDING))


def rank(design: Floats) -> int:
    """How many columns of a design (n, p) are independent, up to rounding; 0 of none."""
    return int(np.linalg.matrix_rank(design, rtol=ROUNDING)) if design.size else 0


def residual_squares(response: Floats, design: Floats) -> float:
    """Sum over (n, c) of what least squares on the design (n, p) leave."""
    return float(((response - design @ (np.linalg.pinv(design, rcond=ROUNDING) @ response)) ** 2).sum())


def fit(response: Floats, design: Floats, patients: ArrayLike) -> RandomIntercept:
    """Fit by restricted maximum likelihood, searched over the ratio of the variances between and within patients.

    Given the ratio, dividing by the square root of the covariance takes a part of its patient's mean from each value,
    and ordinary least squares follow (Searle, Casella & McCulloch 1992, doi:10.1002/9780470316856, chapter 6). Where
    the differences within patients cannot show their variance (they leave fewer than ``WITHIN`` degrees of freedom, or
    images of one patient say the same), patients' means are fitted, and the ratio is 0.

    Args:
        response: (n, c).
        design: (n, p) with its intercept, of a rank below the number of patients.
        patients: (n,) the patient of each row.

    Returns:
        The model, whitened at the ratio of the highest likelihood.
    """
    _, owner, sizes = np.unique(np.asarray(patients, dtype=str), return_inverse=True, return_counts=True)
    means = [_sums(values, owner, sizes) / sizes[:, None] for values in (response, design)]
    inside = [values - mean[owner] for values, mean in zip((response, design), means, strict=True)]
    freedom = len(owner) - len(sizes) - rank(inside[1])
    if freedom < WITHIN or residual_squares(*inside) <= SAME * residual_squares(response, design):
        return RandomIntercept(means[1], means[0], 0.0, len(sizes))
    ratio = _ratio(response, design, owner, sizes)
    whitened = [_whiten(values, ratio, owner, sizes) for values in (design, response)]
    return RandomIntercept(whitened[0], whitened[1], ratio, len(sizes))


def _ratio(response: Floats, design: Floats, owner: NDArray[np.intp], sizes: NDArray[np.intp]) -> float:
    from scipy.optimize import minimize_scalar

    def criterion(ratio: float) -> float:
        """Minus twice the restricted log likelihood of a response, up to a constant."""
        left, scale, _ = np.linalg.svd(_whiten(design, ratio, owner, sizes), full_matrices=False)
        kept = scale > scale[0] * ROUNDING
        values = _whiten(response, ratio, owner, sizes)
        squares = ((values - left[:, kept] @ (left[:, kept].T @ values)) ** 2).sum()
        determinants = np.log1p(ratio * sizes).sum() + 2 * np.log(scale[kept]).sum()
        return float((len(values) - kept.sum()) * np.log(squares) + determinants)

    logs = np.log(RATIOS)
    best = int(np.argmin([criterion(ratio) for ratio in RATIOS]))
    ends = (logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)])
    inside = minimize_scalar(lambda log: criterion(np.exp(log)), bounds=ends, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(inside.x)) if inside.fun < criterion(0.0) else 0.0


def _whiten(values: Floats, ratio: float, owner: NDArray[np.intp], sizes: NDArray[np.intp]) -> Floats:
    """(n, c) values with a part of their patient's mean taken off, so that what is left is uncorrelated."""
    part = (1 - 1 / np.sqrt(1 + ratio * sizes)) / sizes
    return np.asarray(values - (part[:, None] * _sums(values, owner, sizes))[owner])


def _sums(values: Floats, owner: NDArray[np.intp], sizes: NDArray[np.intp]) -> Floats:
    """(P, c) sums over the images of each patient."""
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, owner, values)
    return sums
