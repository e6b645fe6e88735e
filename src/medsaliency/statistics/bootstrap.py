"""Bootstrap over patients: images of one patient are not independent, so whole patients are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval; all NaN where nothing was defined."""

    value: float
    low: float
    high: float


def patient_weights(patients: ArrayLike, rng: np.random.Generator, draws: int) -> Floats:
    """How often each image counts in each draw of patients with replacement.

    Args:
        patients: (n,) the patient of each image.
        rng: Draws.
        draws: B.

    Returns:
        (B, n) whole numbers as floats; all NaN for a single patient.
    """
    _, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    count = int(patient.max()) + 1 if len(patient) else 0
    if count == 0:
        return np.zeros((draws, 0))
    if count == 1:  # one patient shows no spread between patients: nothing can be drawn
        return np.full((draws, len(patient)), np.nan)
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return times[:, patient].astype(np.float64)


def percentile_interval(estimate: float, drawn: Floats, level: float) -> Interval:
    """The central ``level`` share of the drawn estimates around ``estimate``; draws without a value are left out."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(estimate) or len(defined) == 0:
        return Interval(float(estimate), float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))


def mean_interval(
    values: ArrayLike, patients: ArrayLike, rng: np.random.Generator, *, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Mean over images with a percentile interval over patients; undefined (NaN) values are left out.

    Args:
        values: (n,) one value an image.
        patients: (n,) the patient of each image.
        rng: Draws patients.
        draws: Bootstrap samples.
        level: Coverage aimed at, in (0, 1).

    Raises:
        ValueError: If ``values`` and ``patients`` differ in length.
    """
    value = np.asarray(values, dtype=np.float64)
    owner = np.asarray(patients, dtype=str)
    if value.shape != owner.shape:
        raise ValueError(f"expected one patient a value, got {value.shape} values and {owner.shape} patients")
    defined = np.isfinite(value)
    if not defined.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    weights = patient_weights(owner[defined], rng, draws)
    return percentile_interval(float(value[defined].mean()), weights @ value[defined] / weights.sum(axis=1), level)
