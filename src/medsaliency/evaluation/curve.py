"""What the information curves share: how steps become a curve from (0, 0) to (1, 1), and its area.

Kapishnikov et al. 2019, arXiv:1906.02825, section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medsaliency.types import Curve, Score

Floats = NDArray[np.float64]
FRACTIONS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.50, 0.75)
"""Shares of the pixels revealed in the literature."""
INFORMATION = ("entropy", "webp", "mean")
INFORMATION_WORDS = {
    "entropy": "gray-level entropy",
    "webp": "WebP length",
    "mean": "mean of entropy and WebP length",
}


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
