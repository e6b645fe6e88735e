"""Accuracy and softmax information curves: Kapishnikov et al. 2019, arXiv:1906.02825, section 4.2.

As used by Brima & Atemkeng 2024, doi:10.1186/s13040-024-00370-4, with three measures of information. They are the
literature's metric and known to have limits: read the page of this metric before believing a number.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.evaluation.information import shannon_entropy, webp_length
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.model.probe import Probe
from medsaliency.types import Curve, FloatArray, Generators, Measure, MedsaliencyError, Score

FRACTIONS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.13, 0.21, 0.34, 0.50, 0.75)
INFORMATION = ("entropy", "webp", "mean")
PERFORMANCE = {"aic": "still predicted (1) or not (0)", "sic": "softmax probability"}


@dataclass(frozen=True)
class InformationCurves:
    """The model's score against the information in the image as its most important pixels are revealed.

    The start image shows a random ``start`` share of pixels and interpolates the rest linearly. Exactly
    ``round(fraction * H * W)`` of the map's highest pixels are added at each step (ties in a seeded random order), the
    image is rounded to 8 bits, and its score and information are scaled so that the start image is 0 and the whole
    image 1, clipped to [0, 1]. The score is made monotone; the measure is the area under the line through the points.

    AIC takes the accuracy of the target (1 where it is still the predicted class), SIC its probability. Information
    is the Shannon entropy of the grey histogram, the length of the lossless WebP file, or the mean of these two
    scaled ones. (The mean of the raw ones would be the file's length again: bytes are thousands, bits at most eight.)
    One set of revealed images serves all six. Costs ``len(fractions) + 2`` forward passes an image.

    An image is undefined, with its reason, where the start image scores no lower or carries no less information than
    the whole, where the whole scores below ``minimum``, or where the map is not finite.

    Args:
        fractions: Shares of the pixels revealed, ascending in (0, 1).
        start: Share of pixels of the start image, in [0, 1).
        minimum: Lowest score of the whole image that counts. Kapishnikov's code has 0.8; 0 excludes no image for it.
        points: Grid points of the area.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    fractions: tuple[float, ...] = FRACTIONS
    start: float = 0.01
    minimum: float = 0.0
    points: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(self.fractions))
        ascending = all(a < b for a, b in zip((0.0, *self.fractions), (*self.fractions, 1.0), strict=True))
        if not ascending or not 0 <= self.start < 1 or not 0 <= self.minimum <= 1 or self.points < 2:
            raise MedsaliencyError(
                "information_curves: expected fractions ascending in (0, 1), start in [0, 1), minimum in [0, 1] and "
                f"points >= 2, got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``aic_entropy``, ``aic_webp``, ``aic_mean`` and likewise ``sic_``."""
        words = {"entropy": "grey-level entropy", "webp": "WebP length", "mean": "mean of entropy and WebP length"}
        return tuple(
            Measure(f"{kind}_{name}", True, (0.0, 1.0), f"Area under {kind.upper()}: {text} against {words[name]}")
            for kind, text in PERFORMANCE.items()
            for name in INFORMATION
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Six scores an image, each with its curve. Each generator draws the start pixels, then the order of ties.

        Raises:
            MedsaliencyError: If an image leaves [0, 1], so that its 8-bit form is not defined, or there is not one map
                and one generator an image.
        """
        check_maps("information_curves", probe, maps)
        if len(rngs) != len(probe):
            raise MedsaliencyError(
                f"information_curves: expected one generator an image, {len(probe)}, got {len(rngs)}"
            )
        low, high = float(probe.images.min()), float(probe.images.max())
        if low < 0 or high > 1:
            raise MedsaliencyError(
                f"information_curves: expected images in display range [0, 1], got {low:.3g} to {high:.3g}; wrap the "
                "model in Classifier(..., mean=, std=) and give it images before normalization"
            )
        images = probe.images.cpu().numpy()
        # Triangulation and WebP run outside the interpreter's lock, so threads use all cores.
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            shown = list(pool.map(self._show, images, maps.cpu().numpy(), rngs))
        reveals = torch.from_numpy(np.concatenate([steps for steps, _ in shown])).to(probe.images.device)
        probabilities = probe.classifier.probabilities(reveals).cpu().numpy()
        probabilities = probabilities.reshape(len(probe), len(self.fractions) + 2, -1)
        scores: Scores = {measure.name: [] for measure in self.measures}
        finite = torch.isfinite(maps).flatten(1).all(dim=1).tolist()
        for i, target in enumerate(probe.targets.tolist()):
            if not finite[i]:
                for found in scores.values():
                    found.append(Score.undefined("the map is not finite"))
                continue
            performance = {
                "aic": (probabilities[i].argmax(axis=1) == target).astype(np.float64),
                "sic": probabilities[i, :, target].astype(np.float64),
            }
            for kind, values in performance.items():
                for name, information in zip(INFORMATION, _scaled_information(shown[i][1]), strict=True):
                    scores[f"{kind}_{name}"].append(self._score(values, information))
        return scores

    def _show(
        self, image: FloatArray, saliency: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, NDArray[np.float64]]:
        """The start image, every step and the whole, (T + 2, C, H, W) of 8-bit values; their information (2, T + 2)."""
        from medsaliency.evaluation.delaunay import reveal

        pixels = saliency.size
        start = rng.choice(pixels, size=int(pixels * self.start), replace=False)
        order = rank(saliency, rng)
        counts = np.round(np.array(self.fractions) * pixels).astype(np.int64)
        steps = reveal(image, start, order, counts)
        eight_bit = np.round(np.concatenate([steps, image[None]]) * 255).astype(np.uint8)
        information = np.array([[shannon_entropy(step), webp_length(step)] for step in eight_bit]).T
        return np.divide(eight_bit, 255, dtype=np.float32), information

    def _score(self, performance: NDArray[np.float64], information: NDArray[np.float64] | None) -> Score:
        """One curve from the scores of start, steps and whole (T + 2) and their information in [0, 1] (T + 2)."""
        start, whole = performance[0], performance[-1]
        if whole < self.minimum:
            return Score.undefined("the whole image scores below the minimum")
        if information is None:
            return Score.undefined("the start image carries no less information than the whole")
        if start >= whole:
            return Score.undefined("the start image scores no lower than the whole")
        scaled = np.clip((performance[1:-1] - start) / (whole - start), 0, 1)
        curve = information_curve(information[1:-1], np.maximum.accumulate(scaled))
        return Score(area(curve, self.points), curve=curve)


def rank(saliency: FloatArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """Flat indices of an (H, W) map's pixels from the most important down; equal ones in a random order.

    A value that is not a number ranks last.
    """
    shuffled = rng.permutation(saliency.size)
    return shuffled[np.argsort(-saliency.ravel()[shuffled], kind="stable")]


def information_curve(information: NDArray[np.float64], performance: NDArray[np.float64]) -> Curve:
    """The curve through the steps, in order of information, from (0, 0) to (1, 1).

    At information 0 the start's 0 is the last word, at 1 the first step that reached it counts, as in Kapishnikov's
    code.
    """
    x = np.concatenate([information, [0.0, 1.0]])
    y = np.concatenate([performance, [0.0, 1.0]])
    order = np.argsort(x, kind="stable")
    return Curve(tuple(x[order].tolist()), tuple(y[order].tolist()))


def area(curve: Curve, points: int) -> float:
    """Area under a curve over [0, 1] by the trapezoid rule on ``points`` equal steps."""
    grid = np.append(np.linspace(0, 1, points, endpoint=False), 1.0)
    values = np.interp(grid, curve.x, curve.y)
    values[-1] = 1.0
    return float(np.trapezoid(values, grid))


def _scaled_information(raw: NDArray[np.float64]) -> Sequence[NDArray[np.float64] | None]:
    """Entropy, WebP and their mean (T + 2 each), scaled to 0 at the start and 1 at the whole; None if it cannot be."""
    scaled: list[NDArray[np.float64] | None] = []
    for values in raw:
        start, whole = values[0], values[-1]
        scaled.append(np.clip((values - start) / (whole - start), 0, 1) if whole > start else None)
    both = None if scaled[0] is None or scaled[1] is None else (scaled[0] + scaled[1]) / 2
    return [*scaled, both]
