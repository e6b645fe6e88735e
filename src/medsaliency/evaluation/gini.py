"""Gini index of a map's magnitudes: Hurley & Rickard 2009, doi:10.1109/TIT.2009.2027527.

Proposed as the sparsity of explanations by Chalasani et al. 2020, arXiv:1810.06583.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medsaliency.evaluation.magnitudes import Magnitudes, score_magnitudes
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure


@dataclass(frozen=True)
class Gini:
    """How unevenly the map's magnitude is spread over the pixels: 0 where all are equal, near 1 where one has all.

    Needs no lesion. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``gini``."""
        return (
            Measure("gini", True, (0.0, 1.0), "Gini index of the map's magnitudes: how sparse it is", "complexity"),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("gini", probe, maps)
        return {"gini": score_magnitudes(maps, _gini)}


def _gini(magnitudes: Magnitudes) -> float:
    many = len(magnitudes)
    weights = (many - np.arange(1, many + 1) + 0.5) / many
    found = 1 - 2 * float(np.sort(magnitudes) @ weights) / float(magnitudes.sum())
    return max(found, 0.0)  # equal values may round to just below
