"""Energy in the lesion: the energy-based pointing game of Wang et al. 2020 (Score-CAM), arXiv:1910.01279."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medsaliency.data.images import scale
from medsaliency.evaluation.lesion import score_lesions, share_on_lesion
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, Score


@dataclass(frozen=True)
class EnergyInLesion:
    """Share of the map's sum that lies on the lesion, the map scaled by its own minimum and maximum to [0, 1].

    Without a lesion, and for a constant map, it is undefined. Costs no model pass.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``energy_in_lesion``."""
        return (
            Measure(
                "energy_in_lesion", True, (0.0, 1.0), "Share of the scaled map's sum on the lesion", "localization"
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("energy_in_lesion", probe, maps)
        return score_lesions(probe, maps, energy_in_lesion=_energy)


def _energy(saliency: FloatArray, lesion: BoolArray) -> Score:
    if saliency.min() == saliency.max():
        return Score.undefined("the map is constant")
    return Score(share_on_lesion(scale(saliency), lesion))
