"""How far a map is from a reference that may itself be noisy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from medsaliency.types import FloatArray

Result = dict[str, Any]


@dataclass(frozen=True)
class Limit:
    """The map (H, W) that a method would give with no limit on passes, as far as it could be computed.

    Args:
        values: The map.
        variance: Expected square of its distance from the truth, summed over pixels, where it is a mean of samples.
        repeated: What the peer gives (R, H, W) instead if rounding is another, where ``values`` is the peer's own map.
    """

    values: FloatArray
    variance: float = 0.0
    repeated: FloatArray = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))


class Comparison(NamedTuple):
    """A map against a reference.

    Attributes:
        error: L2 distance from the truth over the norm of the truth; NaN where the reference's noise is above its
            signal, or it is zero.
        deviation: The same distance over the norm of the reference, noise included; NaN where that is zero.
        spearman: Rank correlation with the reference; NaN where one of them is constant.
    """

    error: float
    deviation: float
    spearman: float


def of_samples(maps: FloatArray) -> Limit:
    """The mean of independent maps (S, H, W), and its variance as they vary."""
    values = maps.astype(np.float64)
    # One sample says nothing of how they vary, which is not the same as not varying.
    spread = float(values.var(axis=0, ddof=1).sum()) if len(values) > 1 else float("nan")
    return Limit(values.mean(axis=0).astype(np.float32), spread / len(values))


def compare(found: FloatArray, reference: FloatArray, *, scaled: bool, variance: float = 0.0) -> Comparison:
    """Distance of a map (H, W) from the truth that a reference (H, W) of some variance estimates.

    The reference R is independent of the map A, so that for the truth T the mean of |A - R|^2 is |A - T|^2 and the
    variance of R, and that of |R|^2 is |T|^2 and the variance: it is subtracted from both.

    Args:
        found: Is judged.
        reference: By this.
        scaled: Whether each is first scaled to [0, 1]; such a reference has no variance.
        variance: Of the reference, summed over pixels.
    """
    assert not (scaled and variance), "a variance is in units that scaling takes away"
    a, b = (_scale(values) if scaled else values.astype(np.float64) for values in (found, reference))
    distance = float(np.sqrt(np.maximum(np.square(a - b).sum() - variance, 0)))
    size = float(np.square(b).sum())
    signal = size - variance
    varied = np.ptp(a) > 0 and np.ptp(b) > 0
    return Comparison(
        distance / signal**0.5 if size > 0 and signal >= variance else float("nan"),
        distance / size**0.5 if size > 0 else float("nan"),
        float(stats.spearmanr(a.ravel(), b.ravel()).statistic) if varied else float("nan"),
    )


def of_peer_itself(limit: Limit, *, scaled: bool) -> Comparison:
    """How far the peer's map, being the reference, is from itself: medians over its repetitions."""
    found = [compare(each, limit.values, scaled=scaled, variance=limit.variance) for each in limit.repeated]
    return Comparison(*np.median(np.array(found), axis=0).tolist())


def collected(found: Sequence[Comparison]) -> Result:
    """What was found on each image, and the medians."""
    errors, deviations, spearmans = (list(values) for values in zip(*found, strict=True))
    each = {"errors": errors, "deviations": deviations, "spearmans": spearmans}
    return each | medians(each, len(found))


def medians(each: Result, count: int) -> Result:
    """Medians over the first ``count`` images; NaN, with how often, where one of them has none."""
    names = (("error", "errors"), ("deviation", "deviations"), ("spearman", "spearmans"))
    values = {name: np.array(each[key][:count], dtype=np.float64) for name, key in names}
    undefined = int(np.isnan(values["error"]).sum())
    why = f"on {undefined} of {count} image(s) the reference has more noise than signal, or is zero"
    return {name: float(np.median(found)) for name, found in values.items()} | {"undefined": why if undefined else None}


def _scale(values: FloatArray) -> np.ndarray:
    reach = np.ptp(values)
    return (values.astype(np.float64) - values.min()) / reach if reach > 0 else np.zeros(values.shape)
