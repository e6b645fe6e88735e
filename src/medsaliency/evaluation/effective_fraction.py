"""Effective fraction: the smallest share of pixels that holds most of a map's magnitude.

The question is that of the effective complexity of Nguyen & Martínez 2020, arXiv:2007.07584; the answer is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medsaliency.evaluation.magnitudes import Magnitudes, score_magnitudes
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, MedsaliencyError


@dataclass(frozen=True)
class EffectiveFraction:
    """Smallest share of the pixels whose magnitudes come to ``mass`` of the map's whole magnitude.

    Needs no lesion. Costs no model pass.

    Args:
        mass: Share of the whole magnitude to be held, in (0, 1).

    Raises:
        MedsaliencyError: If ``mass`` is out of its range.
    """

    mass: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.mass < 1:
            raise MedsaliencyError(f"effective_fraction: expected mass in (0, 1), got {self.mass}; change it")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``effective_fraction``."""
        text = f"Smallest share of pixels that holds {self.mass:.0%} of the map's magnitude"
        return (Measure("effective_fraction", False, (0.0, 1.0), text, "complexity"),)

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("effective_fraction", probe, maps)
        return {"effective_fraction": score_magnitudes(maps, self._fraction)}

    def _fraction(self, magnitudes: Magnitudes) -> float:
        held = np.cumsum(np.sort(magnitudes)[::-1])
        # A sum that reaches the mass but for its rounding has reached it: without this a map of equal values would
        # need one pixel more or less by chance.
        enough = self.mass * held[-1] * (1 - 1e-12)
        return (int(np.searchsorted(held, enough)) + 1) / len(held)
