"""Information curves as published, for comparison with the literature: Kapishnikov et al. 2019, arXiv:1906.02825.

Faithful to the code of its authors (package ``saliency``, ``metrics.pic``), and with the two other measures of
information of Brima & Atemkeng 2024, doi:10.1186/s13040-024-00370-4. Its faults are kept on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.curve import FRACTIONS, check_curve, curve_measures, score_curves
from medsaliency.evaluation.information import Uint8Image, amounts, eight_bit
from medsaliency.evaluation.metric import Scores, check_display_range, check_maps, check_plane, check_rngs
from medsaliency.evaluation.threads import in_threads
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, Score


@dataclass(frozen=True)
class PublishedCurves:
    """The accuracy and softmax information curves of the literature, with all that is known to be wrong with them.

    One start image shows a random ``start`` share of pixels. At each step every pixel is shown whose value is at or
    above a quantile of the map, so that a map with equal values shows more than the stated share. The others are
    interpolated as SciPy's ``griddata`` does, and every image is rounded to 8 bits. Costs ``len(fractions) + 2``
    forward passes a map.

    Nothing was published for volumes, so they are refused: ``information_curves`` has a form for them.

    An image is undefined, with its reason, where the start scores no lower or carries no less information than the
    whole, where the whole scores below ``minimum``, or where the map is not finite.

    Args:
        fractions: Shares of the pixels revealed, ascending in (0, 1).
        start: Share of pixels of the start image, in [0, 1).
        minimum: Lowest score of the whole image that counts.
        points: Grid points of the area.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    fractions: tuple[float, ...] = FRACTIONS
    start: float = 0.01
    minimum: float = 0.8
    points: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(self.fractions))
        check_curve("published_curves", self)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``aic_entropy_published``, ``aic_webp_published``, ``aic_mean_published`` and likewise ``sic_``."""
        return curve_measures("softmax probability", "_published", "the published ")

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Six scores an image, each with its curve. Each generator draws the start pixels.

        Raises:
            MedsaliencyError: If an image leaves [0, 1], so that its 8-bit form is not defined, is a volume, or there is
                not one map and one generator an image.
        """
        check_maps("published_curves", probe, maps)
        check_plane("published_curves", probe)
        check_rngs("published_curves", probe, rngs)
        check_display_range("published_curves", probe)
        scores: Scores = {measure.name: [] for measure in self.measures}
        for i, (image, saliency, rng) in enumerate(zip(probe.images, maps, rngs, strict=True)):
            found = self._scores(probe, i, image.cpu().numpy(), saliency.cpu().numpy(), rng)
            for own, score in zip(scores.values(), found, strict=True):
                own.append(score)
        return scores

    def _scores(
        self, probe: Probe, i: int, image: FloatArray, saliency: FloatArray, rng: np.random.Generator
    ) -> list[Score]:
        start = np.zeros(saliency.size, dtype=np.bool_)
        start[rng.choice(saliency.size, size=int(saliency.size * self.start), replace=False)] = True
        if not np.isfinite(saliency).all():
            return [Score.undefined("the map is not finite")] * len(self.measures)
        steps = self._steps(eight_bit(image), saliency, start.reshape(saliency.shape))
        shown = torch.from_numpy(np.divide(steps, 255, dtype=np.float32))
        probabilities = probe.probabilities_of(shown, precise=True).cpu().numpy().astype(np.float64)
        target = int(probe.targets[i])
        performance = np.stack([probabilities.argmax(axis=1) == target, probabilities[:, target]])
        held = np.concatenate(in_threads(lambda step: amounts(step[None]), steps), axis=1)
        return score_curves(performance, held, minimum=self.minimum, points=self.points)

    def _steps(self, image: Uint8Image, saliency: FloatArray, start: BoolArray) -> Uint8Image:
        """The start image, every step and the whole, (T + 2, C, H, W)."""
        from medsaliency.evaluation.interpolation import interpolate

        wide = saliency.astype(np.float64)
        shown = [start, *((wide >= np.quantile(wide, 1 - fraction)) | start for fraction in self.fractions)]
        values = image.astype(np.float32)
        steps = in_threads(lambda known: interpolate(values, known), shown)
        return np.concatenate([np.round(steps).astype(np.uint8), image[None]])
