"""Overlap with the lesion: IoU and Dice of the map as a segmentation, cut at Otsu's threshold.

IoU at Otsu's threshold as Saporta et al. 2022 (CheXlocalize), doi:10.1038/s42256-022-00536-x; Otsu 1979,
doi:10.1109/TSMC.1979.4310076. A threshold tuned on other patients: :mod:`medsaliency.statistics.tuned_overlap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from skimage.filters import threshold_otsu
from torch import Tensor

from medsaliency.data.images import scale
from medsaliency.evaluation.lesion import score_lesions
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, Curve, FloatArray, Generators, Measure, Score

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Of the map scaled to [0, 1], at which the curves are taken."""


@dataclass(frozen=True)
class LesionOverlap:
    """Intersection over union, and Dice coefficient, of the lesion and the pixels above a threshold.

    The map is scaled by its own minimum and maximum to [0, 1]. The value is that at Otsu's threshold of the scaled map;
    the curve of each score gives the same at each of ``THRESHOLDS``. Without a lesion, and for a constant map, it is
    undefined. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``lesion_iou`` and ``lesion_dice``."""
        return (
            Measure(
                "lesion_iou", True, (0.0, 1.0), "IoU of the lesion and the map cut at Otsu's threshold", "localization"
            ),
            Measure(
                "lesion_dice",
                True,
                (0.0, 1.0),
                "Dice of the lesion and the map cut at Otsu's threshold",
                "localization",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Two scores an image, each with its curve over ``THRESHOLDS``; nothing is drawn."""
        del rngs
        check_maps("lesion_overlap", probe, maps)
        return score_lesions(probe, maps, lesion_iou=partial(_score, _iou), lesion_dice=partial(_score, _dice))


def _iou(shown: BoolArray, lesion: BoolArray) -> float:
    return np.count_nonzero(shown & lesion) / np.count_nonzero(shown | lesion)


def _dice(shown: BoolArray, lesion: BoolArray) -> float:
    return 2 * np.count_nonzero(shown & lesion) / (np.count_nonzero(shown) + np.count_nonzero(lesion))


def _score(overlap: Callable[[BoolArray, BoolArray], float], saliency: FloatArray, lesion: BoolArray) -> Score:
    if saliency.min() == saliency.max():
        return Score.undefined("the map is constant")
    scaled = scale(saliency)
    otsu = float(threshold_otsu(scaled.ravel()))  # type: ignore[no-untyped-call]
    value, *curve = (overlap(scaled > threshold, lesion) for threshold in (otsu, *THRESHOLDS))
    return Score(value, curve=Curve(THRESHOLDS, tuple(curve)))
