"""Intervals from the bootstrap over patients: images of one patient are not independent, so whole patients are drawn.

The interval is BCa, corrected for bias and skewness (Efron 1987, doi:10.1080/01621459.1987.10478410; Efron & Tibshirani
1993, An Introduction to the Bootstrap, eq. 14.9 to 14.15), with wider quantiles for few patients, see
:func:`widened_quantile`. What it covers is measured by ``benchmarks/interval_coverage.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from medsaliency.statistics.resampling import Integers, Patients, resampled_sums

Floats = NDArray[np.float64]
COLUMNS = 2**20
"""Values of images whose means are taken at a time, 8 MiB: more columns are taken one part after the other."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval; NaN where undefined."""

    value: float
    low: float
    high: float


def patient_weights(
    patients: ArrayLike, rng: np.random.Generator, draws: int, strata: ArrayLike | None = None
) -> Floats:
    """How often each image counts in each draw of patients with replacement.

    Args:
        patients: (n,) the patient of each image.
        rng: Draws. The same state and patients give the same draws, in whatever order the images come.
        draws: B.
        strata: (n,) the stratum of each image, such as its class. Patients are then drawn within strata, so that each
            draw has as many of each as the sample. A patient's stratum is the set of its images' strata. Patients that
            are alone in theirs are drawn together; a single such patient joins the largest stratum.

    Returns:
        (B, n) whole numbers as floats; all NaN for a single patient, which shows no spread between patients.
    """
    owner = Patients.of(patients, strata)
    if owner.count < 2:
        return np.full((draws, len(owner.of_image)), np.nan)
    return owner.draw(rng, draws)[:, owner.of_image].astype(np.float64)


def leave_one_out(
    patients: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    groups: int | None = None,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Weights of the images when each patient in turn is left out: the jackknife behind the acceleration.

    With many patients it is as well to leave out groups of them, drawn at random. The acceleration is a sixth of
    ``sum(u^3) / sum(u^2)^1.5`` over the influences u of patients, which sum to zero. The influence of a group is the
    sum of its patients', and over random groups of m the products of different patients' influences average to zero
    but for a share of order m / P. So both sums keep their expectation, and the acceleration its own. What the draw of
    G groups adds to it has, for influences near normal, a standard deviation of about ``sqrt(6) / (6 G)``: 0.0014 for
    300 groups. That moves a 95% limit by 0.005 standard errors, where 2,000 draws leave it uncertain by 0.06.

    Args:
        patients: (n,) the patient of each image.
        strata: (n,) as for :func:`patient_weights`. The rest of a patient's stratum then makes up for it, so that every
            stratum keeps its number of patients.
        groups: At least 2, the most rows. With more patients than that they are left out in so many groups of equal
            size (but for one patient), which hold equally many of each stratum; None leaves out single patients.
        rng: Draws the groups; needed, and used, where there are more patients than ``groups``.

    Returns:
        (P, n), a row a patient in sorted order, or (groups, n); NaN for a single patient.

    Raises:
        ValueError: If groups have to be drawn and there is no ``rng``.
    """
    owner = Patients.of(patients, strata)
    return groups_left_out(owner, groups=groups, rng=rng)[:, owner.of_image]


def groups_left_out(owner: Patients, *, groups: int | None, rng: np.random.Generator | None) -> Floats:
    """:func:`leave_one_out` with a column a patient, (P, P) or (groups, P)."""
    count, members = owner.count, owner.members
    if count < 2:
        return np.full((count, count), np.nan)
    out = np.arange(count)
    if groups is not None and count > groups:
        if rng is None:
            raise ValueError("expected a generator to draw the groups of patients with")
        # Dealt stratum by stratum, so that no group takes all patients of one.
        out[np.concatenate([rng.permutation(part) for part in members])] = np.arange(count) % groups
    times = np.ones((out.max() + 1, count))
    if owner.stratified:
        for part in members:
            lost = np.bincount(out[part], minlength=len(times))
            times[:, part] = (len(part) / (len(part) - lost))[:, None]
    times[out, np.arange(count)] = 0
    return times


def intraclass_correlation(values: ArrayLike, patients: ArrayLike) -> Floats:
    """How alike images of one patient are: the analysis-of-variance estimator for groups of unequal size.

    ``(MSB - MSW) / (MSB + (m0 - 1) MSW)``, Donner 1986, International Statistical Review 54(1), 67-82.

    Args:
        values: (n, ...) a value an image.
        patients: (n,) the patient of each image.

    Returns:
        (...) clipped to [0, 1]; 0 where nothing varies, where no patient has two images, or for a single patient.
    """
    return _likeness(np.asarray(values, dtype=np.float64), Patients.of(patients))


def _likeness(value: Floats, owner: Patients) -> Floats:
    """:func:`intraclass_correlation` of patients that are known."""
    patient, count = owner.of_image, owner.count
    if not 1 < count < len(patient):
        return np.zeros(value.shape[1:])
    flat = (value - value[0]).reshape(len(value), -1)
    sizes = np.bincount(patient)
    means = owner.sums(flat / sizes[patient, None])
    between = (sizes[:, None] * (means - flat.mean(axis=0)) ** 2).sum(axis=0) / (count - 1)
    within = ((flat - means[patient]) ** 2).sum(axis=0) / (len(patient) - count)
    typical = (len(patient) - (sizes**2).sum() / len(patient)) / (count - 1)
    total = between + (typical - 1) * within
    found = np.divide(between - within, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(found.clip(0, 1).reshape(value.shape[1:]))


def widened_quantile(
    patients: ArrayLike, level: float, *, correlation: ArrayLike = 0.0, strata: ArrayLike | None = None
) -> Floats:
    """The upper quantile that takes the place of the normal one, so that few patients give an interval wide enough.

    The bootstrap's variance of a mean is, up to a constant, ``sum(e_i^2)`` over patients, with the residuals
    ``e_i = S_i - m_i mean(y)`` of the sums S over the m_i images of each. It is too small, as the mean is fitted to the
    same values, and it is itself uncertain. For n patients of one size ``sqrt(n / (n - 1)) t(n - 1)`` in place of ``z``
    mends both: the expanded percentiles of Hesterberg 2015, doi:10.1080/00031305.2015.1089789.

    Patients of unequal size are worth fewer. Let two images of a patient correlate by ``rho``, so that S_i has the
    variance ``v_i = m_i + rho m_i (m_i - 1)``, and let ``V = diag(v)``. Then ``e = A S``, ``A = I - m 1' / sum(m)``,
    and ``sum(e_i^2) = S' G S``, ``G = A' C A``, where C centers within strata (without strata it changes nothing). Its
    expectation is ``trace(G V)``, the true variance ``sum(v)``. Taken for a multiple of a chi-squared variable
    (Satterthwaite), it has ``df = trace(G V)^2 / trace(G V G V)`` degrees of freedom. The quantile is
    ``t(df) sqrt(sum(v) / trace(G V))``. These are the degrees of freedom of Bell and McCaffrey for clustered errors,
    under random effects as Imbens and Kolesar 2016, doi:10.1162/REST_a_00552, advise. For patients of one size it is
    Hesterberg's, whatever ``rho``. For ``rho = 0`` the factor beside t is ``sqrt(n / (n - 1))`` with Kish's effective
    number ``n = sum(m)^2 / sum(m^2)``, which by itself is too little where images of a patient are alike.

    Args:
        patients: (n,) the patient of each image.
        level: Coverage aimed at, in (0, 1).
        correlation: (...) rho, in [0, 1], see :func:`intraclass_correlation`.
        strata: (n,) as for :func:`patient_weights`.

    Returns:
        (...) above the normal quantile; NaN for fewer than two patients.
    """
    return _widened(Patients.of(patients, strata), level, np.asarray(correlation, dtype=np.float64))


def _widened(owner: Patients, level: float, rho: Floats) -> Floats:
    """:func:`widened_quantile` of patients that are known."""
    if owner.count < 2:
        return np.full(rho.shape, np.nan)
    sizes = np.bincount(owner.of_image).astype(np.float64)
    variance = sizes[:, None] + rho.ravel() * (sizes * (sizes - 1))[:, None]
    expected, squared = _traces(sizes, variance, owner.members)
    quantile = stdtrit(expected**2 / squared, (1 + level) / 2) / np.sqrt(expected / variance.sum(axis=0))
    return np.asarray(quantile, dtype=np.float64).reshape(rho.shape)


def _traces(sizes: Floats, variance: Floats, members: list[Integers]) -> tuple[Floats, Floats]:
    """``trace(G V)`` and ``trace(G V G V)`` of :func:`widened_quantile` for each column of ``variance`` (P, k).

    With ``c = C m`` and ``q = c'c / sum(m)^2`` the form is ``G_ij = 1[i = j] - 1[same stratum] / n + f_ij``, where n is
    the size of the stratum and ``f_ij = q - (c_i + c_j) / sum(m)``. Its sums need no matrix of patients by patients.
    """
    every = sizes.sum()
    of = np.zeros((len(sizes), len(members)))
    for number, part in enumerate(members):
        of[part, number] = 1
    count = of.sum(axis=0)
    away = sizes - of @ (sizes @ of / count)
    level = away @ away / every**2
    within = of @ (1 / count)
    own = level - 2 * away / every - within
    expected = (1 + own) @ variance
    plain, once, twice = variance.sum(axis=0), away @ variance, away**2 @ variance
    summed, weighted = of.T @ variance, of.T @ (away[:, None] * variance)
    squared = (
        (1 + 2 * own) @ variance**2
        + (1 / count**2) @ summed**2
        - 2 / count @ (level * summed**2 - 2 * summed * weighted / every)
        + level**2 * plain**2
        - 4 * level * plain * once / every
        + 2 * (plain * twice + once**2) / every**2
    )
    return np.asarray(expected), np.asarray(squared)


def bca_limits(
    estimate: ArrayLike, drawn: ArrayLike, jackknife: ArrayLike, level: float, *, quantile: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """BCa limits of many estimates at once.

    The limits are the quantiles of the draws at ``Phi(z0 + (z0 + z) / (1 - a (z0 + z)))`` for ``z = -quantile`` and
    ``z = quantile``, where ``Phi(z0)`` is the share of draws below the estimate (ties count half) and ``a`` the
    :func:`acceleration`.

    Args:
        estimate: (...) from all images.
        drawn: (B, ...) from each row of :func:`patient_weights`; those without a value (NaN) are left out.
        jackknife: (P, ...) from each row of :func:`leave_one_out`.
        level: Coverage aimed at, in (0, 1).
        quantile: Upper quantile, which broadcasts against ``estimate``, see :func:`widened_quantile`; by default that
            for P patients of one size. The normal quantile gives the BCa of the literature.

    Returns:
        Lower and upper limits (...). Where all draws equal the estimate, as for values that are all equal, both are the
        estimate: the sample shows no spread, which is no proof that there is none. Both are NaN where the interval is
        undefined: a single patient; an estimate that is undefined without one of the patients; or draws that all lie on
        one side of the estimate, where z0 is infinite.
    """
    value, draw, left = (np.asarray(part, dtype=np.float64) for part in (estimate, drawn, jackknife))
    upper = widened_quantile(np.arange(len(left)), level) if quantile is None else np.asarray(quantile)
    count = np.isfinite(draw).sum(axis=0)
    ordered = np.sort(draw, axis=0)
    least, most = (_quantiles(ordered, count, np.full(value.shape, share)) for share in (0.0, 1.0))
    # Draws that equal the estimate but for rounding count half, as ties do.
    rounding = 1e-10 * (most - least)
    below = ((draw < value - rounding).sum(axis=0) + (draw <= value + rounding).sum(axis=0)) / 2
    bias = ndtri(np.divide(below, count, out=np.full(value.shape, np.nan), where=count > 0))
    known = np.isfinite(value) & np.isfinite(bias) & np.isfinite(left).all(axis=0) & np.isfinite(upper)
    bias = np.where(known, bias, 0)
    skew = acceleration(left)
    limits = []
    for side in (-upper, upper):
        moved = bias + side
        room = 1 - skew * moved
        # Past its pole the formula would turn back: there the limit is the outermost draw.
        place = np.where(room > 0, bias + moved / np.where(room > 0, room, 1), np.copysign(np.inf, side))
        limits.append(np.where(known, _quantiles(ordered, count, np.where(known, ndtr(place), 0)), np.nan))
    return limits[0], limits[1]


def acceleration(jackknife: ArrayLike) -> Floats:
    """A sixth of the skewness of the jackknife values (P, ...), Efron & Tibshirani 1993, eq. 14.15.

    Returns:
        (...) in [-1/6, 1/6]; 0 where they do not vary.
    """
    left = np.asarray(jackknife, dtype=np.float64)
    if not len(left):
        return np.zeros(left.shape[1:])
    away = left.mean(axis=0) - left
    spread = 6 * (away**2).sum(axis=0) ** 1.5
    return np.asarray(np.divide((away**3).sum(axis=0), spread, out=np.zeros(left.shape[1:]), where=spread > 0))


def bca_interval(
    estimate: float, drawn: ArrayLike, jackknife: ArrayLike, level: float, *, quantile: float | None = None
) -> Interval:
    """:func:`bca_limits` of one estimate: ``drawn`` (B,), ``jackknife`` (P,)."""
    low, high = bca_limits(estimate, drawn, jackknife, level, quantile=quantile)
    return Interval(float(estimate), float(low), float(high))


def mean_limits(
    values: ArrayLike,
    patients: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    level: float = 0.95,
    strata: ArrayLike | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Means over images of many columns, with BCa limits over patients; all columns share the draws.

    Args:
        values: (n, k) defined values, a row an image.
        patients: (n,) the patient of each image.
        rng: Draws patients.
        draws: Bootstrap samples.
        level: Coverage aimed at, in (0, 1).
        strata: (n,) the stratum of each image, such as its class, where patients are to be drawn within strata.

    Returns:
        Means, lower and upper limits, (k,) each; see :func:`bca_limits` for equal and undefined ones.
    """
    table = np.asarray(values, dtype=np.float64)
    if not len(table):
        nothing = np.full(table.shape[1:], np.nan)
        return nothing, nothing, nothing
    owner = Patients.of(patients, strata)
    state = rng.bit_generator.state
    parts = []
    for part in np.array_split(table, max(1, -(-table.size // COLUMNS)), axis=1):
        rng.bit_generator.state = state
        parts.append(_mean_limits(part, owner, rng, draws, level))
    mean, low, high = (np.concatenate(each) for each in zip(*parts, strict=True))
    return mean, low, high


def _mean_limits(
    table: Floats, owner: Patients, rng: np.random.Generator, draws: int, level: float
) -> tuple[Floats, Floats, Floats]:
    """:func:`mean_limits` of a few columns (n, k)."""
    # Less the first row, for which equal values have equal means to the last bit under all weights.
    away = table - table[0]

    def means(sums: Floats) -> Floats:
        return np.asarray(table[0] + sums[:, :-1] / sums[:, -1:])

    features = np.concatenate([away, np.ones((len(table), 1))], axis=1)
    drawn, left = (means(sums) for sums in resampled_sums(features, owner, rng, draws))
    mean = (table[0] + np.ones((1, len(table))) @ away / len(table))[0]
    quantile = _widened(owner, level, _likeness(away, owner))
    return mean, *bca_limits(mean, drawn, left, level, quantile=quantile)


def mean_interval(
    values: ArrayLike,
    patients: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    level: float = 0.95,
    strata: ArrayLike | None = None,
) -> Interval:
    """Mean over images with its interval over patients; undefined (NaN) values are left out.

    Args:
        values: (n,) one value an image.
        patients: (n,) the patient of each image.
        rng: Draws patients.
        draws: Bootstrap samples.
        level: Coverage aimed at, in (0, 1).
        strata: (n,) the stratum of each image, such as its class, where patients are to be drawn within strata.

    Returns:
        All NaN where nothing is defined. See :func:`bca_limits` for equal values and a single patient.

    Raises:
        ValueError: If ``values`` and ``patients`` differ in length.
    """
    value = np.asarray(values, dtype=np.float64)
    owner = np.asarray(patients, dtype=str)
    if value.shape != owner.shape:
        raise ValueError(f"expected one patient a value, got {value.shape} values and {owner.shape} patients")
    defined = np.isfinite(value)
    stratum = None if strata is None else np.asarray(strata, dtype=str)[defined]
    column = value[defined][:, None]
    mean, low, high = mean_limits(column, owner[defined], rng, draws=draws, level=level, strata=stratum)
    return Interval(float(mean[0]), float(low[0]), float(high[0]))


def _quantiles(ordered: Floats, count: Integers, share: Floats) -> Floats:
    """The quantile at ``share`` (...) of the first ``count`` (...) of ``ordered`` (B, ...), interpolated linearly."""
    place = share * (count - 1).clip(0)
    before = np.floor(place).astype(np.intp)
    after = np.minimum(before + 1, (count - 1).clip(0))
    first, second = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (before, after))
    return np.asarray(first + (second - first) * (place - before))
