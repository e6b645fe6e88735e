"""Pointing game: Zhang et al. 2018, doi:10.1007/s11263-017-1059-x, section 4.2.

Its strict form is the hit rate of Saporta et al. 2022, doi:10.1038/s42256-022-00536-x.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import ndimage
from torch import Tensor

from medsaliency.evaluation.lesion import comparable
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Geometry, Measure, MedsaliencyError, Score


@dataclass(frozen=True)
class PointingGame:
    """Whether the map's highest pixel lies on the lesion (hit rate), or no further than a tolerance from it.

    Where several pixels share the maximum the score is the share of them that hit, the expected result of picking one
    at random. Without a lesion it is undefined. Costs no model pass.

    Distances in a volume are in millimeters, where it says how far its voxels are apart: slices often lie further from
    each other than pixels. In an image they are in pixels.

    Args:
        tolerance: Distance to the lesion that still counts as a hit for ``pointing_game``, as a share of the image's
            longest side, in [0, 1). The default is the original's 15 pixels on photographs of about 500.

    Raises:
        MedsaliencyError: If ``tolerance`` is out of its range.
    """

    tolerance: float = 0.03

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise MedsaliencyError(
                f"pointing_game: expected tolerance in [0, 1), got {self.tolerance}; give it as a share of the image's "
                "longer side (0.03 is 15 of 500 pixels)"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``hit_rate`` and ``pointing_game``."""
        return (
            Measure("hit_rate", True, (0.0, 1.0), "The map's highest pixel lies on the lesion", "localization"),
            Measure(
                "pointing_game",
                True,
                (0.0, 1.0),
                "The map's highest pixel lies on the lesion or close to it",
                "localization",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Two scores an image; nothing is drawn."""
        del rngs
        check_maps("pointing_game", probe, maps)
        pairs = comparable(probe, maps)
        return {
            "hit_rate": [pair if isinstance(pair, Score) else _hit(*pair) for pair in pairs],
            "pointing_game": [
                pair if isinstance(pair, Score) else self._close(*pair, geometry)
                for pair, geometry in zip(pairs, probe.geometries, strict=True)
            ],
        }

    def _close(self, saliency: FloatArray, lesion: BoolArray, geometry: Geometry | None) -> Score:
        apart = (1.0,) * lesion.ndim
        if lesion.ndim == 3 and geometry is not None and geometry.spacing is not None:
            apart = geometry.spacing
        reach = self.tolerance * max(length * between for length, between in zip(lesion.shape, apart, strict=True))
        return _hit(saliency, ndimage.distance_transform_edt(~lesion, sampling=apart) <= reach)


def _hit(saliency: FloatArray, target: BoolArray) -> Score:
    return Score(float(target[saliency == saliency.max()].mean()))
