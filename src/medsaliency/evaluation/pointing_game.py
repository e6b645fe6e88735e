"""Pointing game: Zhang et al. 2018, doi:10.1007/s11263-017-1059-x, section 4.2."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import ndimage
from torch import Tensor

from medsaliency.evaluation.lesion import score_lesions
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, MedsaliencyError


@dataclass(frozen=True)
class PointingGame:
    """Whether the map's highest pixel lies on the lesion.

    Where several pixels share the maximum the score is the share of them that hit, the expected result of picking one
    at random. Without a lesion it is undefined. Costs no model pass.

    Args:
        tolerance: Pixels around the lesion that still count; 0 is strict, 15 the original's (photographs).

    Raises:
        MedsaliencyError: If ``tolerance`` is negative.
    """

    tolerance: int = 0

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise MedsaliencyError(f"pointing_game: expected tolerance >= 0 pixels, got {self.tolerance}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``pointing_game``."""
        return (Measure("pointing_game", True, (0.0, 1.0), "The map's highest pixel lies on the lesion"),)

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; nothing is drawn."""
        del rngs
        check_maps("pointing_game", probe, maps)
        return {"pointing_game": score_lesions(probe, maps, self._hit)}

    def _hit(self, saliency: FloatArray, lesion: BoolArray) -> float:
        target = lesion
        if self.tolerance:
            target = ndimage.distance_transform_edt(~lesion) <= self.tolerance
        return float(target[saliency == saliency.max()].mean())
