"""Lesion AUPRC: average precision of the map as a detector of lesion pixels."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.metrics import average_precision_score
from torch import Tensor

from medsaliency.evaluation.lesion import score_lesions
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, Score


@dataclass(frozen=True)
class LesionAUPRC:
    """Area under the precision-recall curve of pixels ranked by the map, as average precision (ties as one step).

    A map that knows nothing scores the lesion's share of the image, so values are compared on the same images only.
    Without a lesion it is undefined. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``lesion_auprc``."""
        return (
            Measure(
                "lesion_auprc",
                True,
                (0.0, 1.0),
                "How well the map ranks lesion pixels above all others",
                "localization",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("lesion_auprc", probe, maps)
        return score_lesions(probe, maps, lesion_auprc=_average_precision)


def _average_precision(saliency: FloatArray, lesion: BoolArray) -> Score:
    return Score(float(average_precision_score(lesion.ravel(), saliency.ravel())))
