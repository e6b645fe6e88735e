"""Entropy of a map: the complexity of Bhatt et al. 2020, arXiv:2005.00631, brought to [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats
from torch import Tensor

from medsaliency.evaluation.magnitudes import Magnitudes, score_magnitudes
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure


@dataclass(frozen=True)
class Entropy:
    """Shannon entropy of the map's magnitudes as shares of their sum, divided by the logarithm of the pixels.

    0 where one pixel has all, 1 where all are equal. Needs no lesion. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``entropy``."""
        return (
            Measure(
                "entropy", False, (0.0, 1.0), "Entropy of the map's magnitudes: how spread out it is", "complexity"
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("entropy", probe, maps)
        return {"entropy": score_magnitudes(maps, _entropy)}


def _entropy(magnitudes: Magnitudes) -> float:
    return min(float(stats.entropy(magnitudes, base=len(magnitudes))), 1.0)  # equal values may round to just above
