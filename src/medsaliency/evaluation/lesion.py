"""What metrics that compare a map with a lesion mask share: when such a comparison is undefined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Score


def score_lesions(probe: Probe, maps: Tensor, measure: Callable[[FloatArray, BoolArray], float]) -> list[Score]:
    """Apply ``measure`` to every map (H, W) and lesion (H, W) that can be compared; say why for the others."""
    scores = []
    for saliency, mask in zip(maps.cpu().numpy(), probe.lesions, strict=True):
        lesion = None if mask is None else mask.cpu().numpy().astype(np.bool_)
        if lesion is None:
            scores.append(Score.undefined("no lesion mask"))
        elif not lesion.any():
            scores.append(Score.undefined("no lesion pixel at the model's size"))
        elif lesion.all():
            scores.append(Score.undefined("the lesion covers the whole image"))
        elif not np.isfinite(saliency).all():
            scores.append(Score.undefined("the map is not finite"))
        else:
            scores.append(Score(measure(saliency, lesion)))
    return scores
