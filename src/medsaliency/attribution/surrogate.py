"""Scores of masked images predicted from the scores of a few: a Gaussian process on the masks.

Rasmussen and Williams 2006, Gaussian Processes for Machine Learning: section 2.7 for the unknown constant, section
5.4.2 for leaving scores out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]

LENGTHS = (1.0, 2.0, 4.0)
"""Length scales that are tried, in median distances between masks."""

RIDGES = tuple(10.0**power for power in range(-6, 2))
"""Variances of the noise that are tried; the kernel of a mask at the median distance from the center is near 2."""

FOLDS = 8
"""Parts that are left out together to see how errors of similar masks add up."""

ROWS = 512
"""Rows of a kernel held at a time, where it is summed over pairs of masks without a score."""


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A Gaussian process fitted to the scores of the first n of K masks.

    Args:
        points: Masks (K, p), centered and in median distances.
        scores: Of the first n.
        length: Length scale of the kernel.
        ridge: Variance of the noise, in units of the kernel.
        inverse: (n, n), the inverse of the kernel with the noise, less what goes into the constant: times ``scores`` it
            gives the coefficients.
        averaging: (n,), sums to 1: times ``scores`` it gives the constant.
        doubt: Variance of that constant, in units of the kernel.
    """

    points: Array
    scores: Array
    length: float
    ridge: float
    inverse: Array
    averaging: Array
    doubt: float

    @property
    def coefficients(self) -> Array:
        """(n,) of the kernel's columns; they sum to 0."""
        return self.inverse @ self.scores

    @property
    def predicted(self) -> Array:
        """Scores (U,) of the masks that have none."""
        n = len(self.scores)
        return kernel(self.points[n:], self.points[:n], self.length) @ self.coefficients + self.averaging @ self.scores

    @property
    def left_out(self) -> Array:
        """(n,) each score minus its prediction from all others (eq. 5.12)."""
        return self.coefficients / np.diag(self.inverse)

    def spread(self, scored: Array, unscored: Array) -> float:
        """Root mean square norm of the predictions' errors, summed with these vectors as their factors.

        Errors of similar masks are alike and add up, which the covariance of the process knows. Its scale comes from
        scores that were predicted without them, one at a time or, where that says more, a fold at a time; of the sums
        of folds, since these are what errors add up to.

        Args:
            scored: Factors (n, q) of the masks with a score: they tell the scale.
            unscored: Factors (U, q) of the others.
        """
        one_by_one = float(np.mean(self.left_out**2 * np.diag(self.inverse)))
        seen = expected = 0.0
        for fold in range(FOLDS):
            part = slice(fold, None, FOLDS)
            covariance = np.linalg.inv(self.inverse[part, part])
            seen += float(np.sum((covariance @ self.coefficients[part] @ scored[part]) ** 2))
            expected += float(np.sum(scored[part] * (covariance @ scored[part])))
        scale = max(one_by_one, seen / expected if expected > 0 else 0.0)
        return math.sqrt(scale * max(self._sum_of_covariances(unscored), 0.0))

    def _sum_of_covariances(self, factors: Array) -> float:
        """Over all pairs of masks without a score: inner product of their factors, times the errors' covariance."""
        n = len(self.scores)
        known, unknown = self.points[:n], self.points[n:]
        total = self.ridge * float(np.sum(factors**2))
        onto_known = np.zeros((n, factors.shape[1]))
        for start in range(0, len(unknown), ROWS):
            rows = slice(start, start + ROWS)
            total += float(np.sum(factors[rows] * (kernel(unknown[rows], unknown, self.length) @ factors)))
            onto_known += kernel(known, unknown[rows], self.length) @ factors[rows]
        # The kernel is factored anew, and the constant's part is one square: the inverse, and a difference of products
        # with it, would lose some four digits where the ridge is small.
        factor = linalg.cholesky(kernel(known, known, self.length) + self.ridge * np.eye(n), lower=True)
        total -= float(np.sum(linalg.solve_triangular(factor, onto_known, lower=True) ** 2))
        unexplained = factors.sum(axis=0) - self.averaging @ onto_known / self.doubt
        return total + self.doubt * float(unexplained @ unexplained)


def fit(masks: Array, scores: Array) -> Surrogate:
    """Fit a Gaussian process, of the length scale and the noise whose left-out errors have the least mean square.

    The kernel of masks a and b, centered and in median distances, is exp(-|a - b|^2 / 2 length^2) + a . b: close to
    linear far away, and free to bend nearby.

    Args:
        masks: (K, p), the scored ones first.
        scores: (n,) of the first n, 2 <= n <= K.
    """
    n = len(scores)
    points = masks - masks[:n].mean(axis=0)
    distances = np.sqrt(_squared_distances(points[:n], points[:n])[np.triu_indices(n, 1)])
    points = points / (np.median(distances) or 1.0)
    length, ridge, values, vectors = min(_candidates(points[:n], scores), key=lambda found: found[0])[1:]
    inverse = (vectors / (values + ridge)) @ vectors.T
    summed = inverse.sum(axis=0)
    doubt = 1 / summed.sum()
    inverse -= doubt * np.outer(summed, summed)
    averaging = doubt * summed
    return Surrogate(
        points=points,
        scores=scores,
        length=length,
        ridge=ridge,
        inverse=inverse,
        averaging=averaging,
        doubt=float(doubt),
    )


def kernel(left: Array, right: Array, length: float) -> Array:
    """Kernel (a, b) of points (a, p) and (b, p): a Gaussian of this length scale plus the inner product."""
    near: Array = np.exp(_squared_distances(left, right) / (-2 * length**2))
    return near + left @ right.T


def _squared_distances(left: Array, right: Array) -> Array:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    positive: Array = np.maximum(squares - 2 * left @ right.T, 0)  # rounding can take them below zero
    return positive


def _candidates(points: Array, scores: Array) -> Iterator[tuple[float, float, float, Array, Array]]:
    """Mean square of what is left out, for each length and ridge, with the eigenvalues and vectors of the kernel."""
    for length in LENGTHS:
        values, vectors = np.linalg.eigh(kernel(points, points, length))
        values = np.maximum(values, 0)
        onto_scores, onto_ones, squares = vectors.T @ scores, vectors.sum(axis=0), vectors**2
        for ridge in RIDGES:
            inverse = 1 / (values + ridge)  # one decomposition serves all ridges
            summed = vectors @ (inverse * onto_ones)
            constant = (summed @ scores) / summed.sum()
            coefficients = vectors @ (inverse * onto_scores) - constant * summed
            left_out = coefficients / (squares @ inverse - summed**2 / summed.sum())
            yield float(np.mean(left_out**2)), length, ridge, values, vectors
