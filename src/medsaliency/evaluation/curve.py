"""What the information curves share: how steps become a curve from (0, 0) to (1, 1), and its area.

Kapishnikov et al. 2019, arXiv:1906.02825, section 4.2.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medsaliency.evaluation.ranking import ascending
from medsaliency.types import Curve, Measure, MedsaliencyError, Score

Floats = NDArray[np.float64]
FRACTIONS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.50, 0.75)
"""Shares of the pixels revealed in the literature."""
INFORMATION = ("entropy", "webp", "mean")
INFORMATION_WORDS = {
    "entropy": "gray-level entropy",
    "webp": "WebP length",
    "mean": "mean of entropy and WebP length",
}


class Parameters(Protocol):
    """What all information curves are set by; see :class:`~medsaliency.evaluation.information_curves`."""

    @property
    def fractions(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def start(self) -> float: ...  # noqa: D102
    @property
    def minimum(self) -> float: ...  # noqa: D102
    @property
    def points(self) -> int: ...  # noqa: D102


def check_curve(name: str, metric: Parameters, own: bool = True, wanted: str = "") -> None:
    """Make sure that a metric's parameters are in their range.

    Args:
        name: Of the metric.
        metric: Holds them.
        own: Whether those are that it alone has.
        wanted: What is wanted of those, after a comma.

    Raises:
        MedsaliencyError: If one is not.
    """
    in_range = 0 <= metric.start < 1 and 0 <= metric.minimum <= 1 and metric.points >= 2
    if not ascending(metric.fractions) or not in_range or not own:
        raise MedsaliencyError(
            f"{name}: expected fractions ascending in (0, 1), start in [0, 1), minimum in [0, 1], points >= 2{wanted}, "
            f"got {metric}"
        )


def curve_measures(sic: str, ending: str = "", text: str = "") -> tuple[Measure, ...]:
    """``aic_entropy``, ``aic_webp``, ``aic_mean`` and likewise ``sic_``, with an ending.

    Args:
        sic: What SIC follows.
        ending: Of the names.
        text: Before the name of the curve in the descriptions.
    """
    return tuple(
        Measure(
            f"{kind}_{name}{ending}",
            True,
            (0.0, 1.0),
            f"Area under {text}{kind.upper()}: {performance} against {INFORMATION_WORDS[name]}",
            "information",
        )
        for kind, performance in (("aic", "still predicted (1) or not (0)"), ("sic", sic))
        for name in INFORMATION
    )


def score_curves(performance: Floats, amounts: Floats, *, minimum: float, points: int) -> list[Score]:
    """The scores of :func:`curve_measures`, in order, of one image.

    Args:
        performance: (2, T + 2) of the start image, the T steps and the whole, for AIC and for SIC.
        amounts: (2, T + 2) entropies and WebP lengths.
        minimum: Lowest performance of the whole image that counts.
        points: Grid points of the area.
    """
    scaled = scaled_information(amounts)
    return [
        score_curve(own, scaled[name], minimum=minimum, points=points) for own in performance for name in INFORMATION
    ]


def score_curve(performance: Floats, information: Floats | None, *, minimum: float, points: int) -> Score:
    """The area of one image, or why it has none.

    Args:
        performance: (T + 2,) score of the start image, the T steps and the whole.
        information: (T + 2,) theirs, scaled by :func:`scaled_information`; None where that cannot be.
        minimum: Lowest score of the whole image that counts.
        points: Grid points of the area.
    """
    start, whole = performance[0], performance[-1]
    if whole < minimum:
        return Score.undefined("the whole image scores below the minimum")
    if information is None:
        return Score.undefined("the start image carries no less information than the whole")
    if start >= whole:
        return Score.undefined("the start image scores no lower than the whole")
    scaled = np.clip((performance[1:-1] - start) / (whole - start), 0, 1)
    curve = information_curve(information[1:-1], np.maximum.accumulate(scaled))
    return Score(area(curve, points), curve=curve)


def information_curve(information: Floats, performance: Floats) -> Curve:
    """The curve through the steps, in order of information, from (0, 0) to (1, 1).

    At information 0 the start's 0 is the last word, at 1 the first step that reached it counts, as in Kapishnikov's
    code.
    """
    x = np.concatenate([information, [0.0, 1.0]])
    y = np.concatenate([performance, [0.0, 1.0]])
    order = np.argsort(x, kind="stable")
    return Curve(tuple(x[order].tolist()), tuple(y[order].tolist()))


def area(curve: Curve, points: int) -> float:
    """Area under a curve over [0, 1] by the trapezoid rule on ``points`` equal steps."""
    grid = np.append(np.linspace(0, 1, points, endpoint=False), 1.0)
    values = np.interp(grid, curve.x, curve.y)
    values[-1] = 1.0
    return float(np.trapezoid(values, grid))


def scaled_information(raw: Floats) -> dict[str, Floats | None]:
    """Entropy, WebP length (rows of ``raw``, (2, T + 2)) and their mean, scaled to 0 at the start and 1 at the whole.

    None where the start has no less of it than the whole.
    """
    scaled: list[Floats | None] = []
    for values in raw:
        start, whole = values[0], values[-1]
        scaled.append(np.clip((values - start) / (whole - start), 0, 1) if whole > start else None)
    both = None if scaled[0] is None or scaled[1] is None else (scaled[0] + scaled[1]) / 2
    return dict(zip(INFORMATION, [*scaled, both], strict=True))
