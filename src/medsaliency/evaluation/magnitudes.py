"""What metrics of a map's magnitudes alone share: when they are undefined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.types import Score

Magnitudes = NDArray[np.float64]


def score_magnitudes(maps: Tensor, measure: Callable[[Magnitudes], float]) -> list[Score]:
    """Apply ``measure`` to the magnitudes (H * W,) of every map (H, W) that has any; say why for the others."""
    scores = []
    for saliency in maps.cpu().numpy():
        magnitudes = np.abs(saliency.astype(np.float64)).ravel()
        if not np.isfinite(magnitudes).all():
            scores.append(Score.undefined("the map is not finite"))
        elif not magnitudes.any():
            scores.append(Score.undefined("the map is zero everywhere"))
        elif len(magnitudes) == 1:
            scores.append(Score.undefined("the map has one pixel only"))
        else:
            scores.append(Score(measure(magnitudes)))
    return scores
