"""One change at a time between the published information curve and the evidence curves, to see which one matters.

Each measure is a metric that was tried; none is part of the library. All follow the probability of the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.baselines import baselines_of
from medsaliency.evaluation.curve import FRACTIONS, scaled_information, score_curve
from medsaliency.evaluation.delaunay import reveal
from medsaliency.evaluation.evidence_curves import EvidenceCurves
from medsaliency.evaluation.information import amounts, eight_bit
from medsaliency.evaluation.metric import Scores
from medsaliency.evaluation.ranking import counts, places, rank
from medsaliency.evaluation.threads import in_threads
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, Score

NAMES = {
    "interpolated_webp": "start of 1 % of the pixels, interpolated; WebP axis; scaled (exactly k pixels)",
    "interpolated_area": "the same, axis: share of pixels",
    "interpolated_area_falling": "the same, not made monotone",
    "interpolated_area_unscaled": "the same, not scaled: no image left out",
    "blur_webp": "start blurred; WebP axis; scaled",
    "blur_area": "the same, axis: share of pixels",
    "blur_area_unscaled": "the same, not made monotone, not scaled: plain insertion",
    "deletion": "deletion into the blur, not scaled",
    "insertion_less_random": "plain insertion less that of eight random maps",
}


@dataclass(frozen=True)
class Candidates:
    """Nine ways to score a map from the same revealed images; higher is better for each."""

    random_maps: int = 8

    @property
    def measures(self) -> tuple[Measure, ...]:
        """One for each of ``NAMES``."""
        return tuple(Measure(name, True, (-1.0, 1.0), text) for name, text in NAMES.items())

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Nine scores an image."""
        bases = baselines_of(probe, "blur", EvidenceCurves().sigma).cpu().numpy()
        scores: Scores = {name: [] for name in NAMES}
        for i, (saliency, rng) in enumerate(zip(maps.cpu().numpy(), rngs, strict=True)):
            image, target = probe.images[i].cpu().numpy(), int(probe.targets[i])
            pixels = saliency.size
            start = np.sort(rng.choice(pixels, size=pixels // 100, replace=False))
            null = [rank(rng.random(saliency.shape), rng) for _ in range(self.random_maps)]
            order, many = rank(saliency, rng), counts(FRACTIONS, pixels)

            def follow(images: np.ndarray, target: int = target) -> np.ndarray:
                found = probe.probabilities_of(torch.from_numpy(images.astype(np.float32)))
                return found[:, target].cpu().numpy().astype(np.float64)

            shown = np.concatenate([reveal(image, start, order, many), image[None]])
            mixed = _mixed(image, bases[i], order, many)
            taken = _mixed(bases[i], image, order, many)
            inserted, interpolated, deleted = follow(mixed), follow(shown), follow(taken)
            chance = np.mean([_plain(follow(_mixed(image, bases[i], other, many))) for other in null])
            area = np.array([0.0, *FRACTIONS, 1.0])
            for name, score in {
                "interpolated_webp": _scaled(interpolated, _webp(shown)),
                "interpolated_area": _scaled(interpolated, area),
                "interpolated_area_falling": _falling(interpolated, area),
                "interpolated_area_unscaled": Score(_plain(interpolated)),
                "blur_webp": _scaled(inserted, _webp(mixed)),
                "blur_area": _scaled(inserted, area),
                "blur_area_unscaled": Score(_plain(inserted)),
                "deletion": Score(-_plain(deleted)),
                "insertion_less_random": Score(_plain(inserted) - float(chance)),
            }.items():
                scores[name].append(score)
        return scores


def _mixed(image: np.ndarray, base: np.ndarray, order: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Start, steps and whole (T + 2, C, H, W): the best pixels from the image, the others from the base."""
    place = places(order).reshape(image.shape[1:])
    return np.stack([np.where(place < k, image, base) for k in (0, *many, place.size)])


def _webp(steps: np.ndarray) -> np.ndarray | None:
    held = in_threads(lambda step: amounts(step[None]), eight_bit(steps))
    return scaled_information(np.concatenate(held, axis=1))["webp"]


def _scaled(performance: np.ndarray, axis: np.ndarray | None) -> Score:
    return score_curve(performance, axis, minimum=0.0, points=1000)


def _falling(performance: np.ndarray, axis: np.ndarray) -> Score:
    if performance[0] >= performance[-1]:
        return Score.undefined("the start image scores no lower than the whole")
    scaled = np.clip((performance - performance[0]) / (performance[-1] - performance[0]), 0, 1)
    return Score(float(np.trapezoid(scaled, axis)))


def _plain(performance: np.ndarray) -> float:
    """Mean over the steps, each counting alike."""
    return float(performance[1:-1].mean())
