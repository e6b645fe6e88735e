"""Information curves as published, for comparison with the literature: Kapishnikov et al. 2019, arXiv:1906.02825.

Faithful to the code of its authors (package ``saliency``, ``metrics.pic``), and with the two other measures of
information of Brima & Atemkeng 2024, doi:10.1186/s13040-024-00370-4. Its faults are kept on purpose.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.curve import (
    FRACTIONS,
    INFORMATION,
    INFORMATION_WORDS,
    Floats,
    scaled_information,
    score_curve,
)
from medsaliency.evaluation.information import Uint8Image, eight_bit, shannon_entropy, webp_length
from medsaliency.evaluation.metric import Scores, check_display_range, check_maps, check_rngs
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Generators, Measure, MedsaliencyError, Score

KINDS = {"aic": "still predicted (1) or not (0)", "sic": "softmax probability"}


@dataclass(frozen=True)
class PublishedCurves:
    """The accuracy and softmax information curves of the literature, with all that is known to be wrong with them.

    One start image shows a random ``start`` share of pixels. At each step every pixel is shown whose value is at or
    above a quantile of the map, so that a map with equal values shows more than the stated share. The others are
    interpolated as SciPy's ``griddata`` does, and every image is rounded to 8 bits. Costs ``len(fractions) + 2``
    forward passes a map.

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
        ascending = all(a < b for a, b in zip((0.0, *self.fractions), (*self.fractions, 1.0), strict=True))
        if not ascending or not 0 <= self.start < 1 or not 0 <= self.minimum <= 1 or self.points < 2:
            raise MedsaliencyError(
                "published_curves: expected fractions ascending in (0, 1), start in [0, 1), minimum in [0, 1] and "
                f"points >= 2, got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``aic_entropy_published``, ``aic_webp_published``, ``aic_mean_published`` and likewise ``sic_``."""
        return tuple(
            Measure(
                f"{kind}_{name}_published",
                True,
                (0.0, 1.0),
                f"Area under the published {kind.upper()}: {text} against {INFORMATION_WORDS[name]}",
            )
            for kind, text in KINDS.items()
            for name in INFORMATION
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Six scores an image, each with its curve. Each generator draws the start pixels.

        Raises:
            MedsaliencyError: If an image leaves [0, 1], so that its 8-bit form is not defined, or there is not one map
                and one generator an image.
        """
        check_maps("published_curves", probe, maps)
        check_rngs("published_curves", probe, rngs)
        check_display_range("published_curves", probe)
        scores: Scores = {measure.name: [] for measure in self.measures}
        for i, (image, saliency, rng) in enumerate(zip(probe.images, maps, rngs, strict=True)):
            for name, score in self._scores(probe, i, image.cpu().numpy(), saliency.cpu().numpy(), rng).items():
                scores[name].append(score)
        return scores

    def _scores(
        self, probe: Probe, i: int, image: FloatArray, saliency: FloatArray, rng: np.random.Generator
    ) -> dict[str, Score]:
        start = np.zeros(saliency.size, dtype=np.bool_)
        start[rng.choice(saliency.size, size=int(saliency.size * self.start), replace=False)] = True
        if not np.isfinite(saliency).all():
            return {measure.name: Score.undefined("the map is not finite") for measure in self.measures}
        steps = self._steps(eight_bit(image), saliency, start.reshape(saliency.shape))
        shown = torch.from_numpy(np.divide(steps, 255, dtype=np.float32))
        probabilities = probe.probabilities_of(shown, precise=True).cpu().numpy().astype(np.float64)
        target = int(probe.targets[i])
        performance = {
            "aic": (probabilities.argmax(axis=1) == target).astype(np.float64),
            "sic": probabilities[:, target],
        }
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            amounts: Floats = np.array(list(pool.map(lambda step: (shannon_entropy(step), webp_length(step)), steps))).T
        scaled = scaled_information(amounts)
        return {
            f"{kind}_{name}_published": score_curve(values, scaled[name], minimum=self.minimum, points=self.points)
            for kind, values in performance.items()
            for name in INFORMATION
        }

    def _steps(self, image: Uint8Image, saliency: FloatArray, start: BoolArray) -> Uint8Image:
        """The start image, every step and the whole, (T + 2, C, H, W)."""
        from medsaliency.evaluation.interpolation import interpolate

        wide = saliency.astype(np.float64)
        shown = [start, *((wide >= np.quantile(wide, 1 - fraction)) | start for fraction in self.fractions)]
        values = image.astype(np.float32)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            steps = list(pool.map(lambda known: interpolate(values, known), shown))
        return np.concatenate([np.round(steps).astype(np.uint8), image[None]])
