"""Relevance rank accuracy: Arras et al. 2022 (CLEVR-XAI), doi:10.1016/j.inffus.2021.11.008."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.evaluation.lesion import score_lesions
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.evaluation.ranking import chance_of_highest
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, Score


@dataclass(frozen=True)
class RelevanceRank:
    """Of the map's k highest pixels, k being as many as the lesion has, the share that lies on the lesion.

    Where a tie leaves open which pixels are the k highest, the score is the expected share over all choices. Without a
    lesion it is undefined. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``relevance_rank``."""
        return (
            Measure(
                "relevance_rank",
                True,
                (0.0, 1.0),
                "Share of the highest pixels, as many as lesion pixels, on it",
                "localization",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("relevance_rank", probe, maps)
        return score_lesions(probe, maps, relevance_rank=_rank)


def _rank(saliency: FloatArray, lesion: BoolArray) -> Score:
    size = int(lesion.sum())
    return Score(float(chance_of_highest(saliency, size)[lesion].sum() / size))
