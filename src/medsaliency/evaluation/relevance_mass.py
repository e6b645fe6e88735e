"""Relevance mass accuracy: Arras et al. 2022 (CLEVR-XAI), doi:10.1016/j.inffus.2021.11.008."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.evaluation.lesion import score_lesions, share_on_lesion
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, Score


@dataclass(frozen=True)
class RelevanceMass:
    """Share of the sum of the map's positive values that lies on the lesion.

    Without a lesion, and where no value is positive, it is undefined. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``relevance_mass``."""
        return (
            Measure(
                "relevance_mass", True, (0.0, 1.0), "Share of the map's positive sum on the lesion", "localization"
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("relevance_mass", probe, maps)
        return score_lesions(probe, maps, relevance_mass=_mass)


def _mass(saliency: FloatArray, lesion: BoolArray) -> Score:
    positive = saliency.clip(min=0)
    if not positive.any():
        return Score.undefined("no value of the map is positive")
    return Score(share_on_lesion(positive, lesion))
