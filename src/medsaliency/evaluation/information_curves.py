"""Accuracy and softmax information curves, audited: Kapishnikov et al. 2019, arXiv:1906.02825, section 4.2.

As used by Brima & Atemkeng 2024, doi:10.1186/s13040-024-00370-4, with three measures of information. What their code
leaves to chance is settled here; what is wrong with the measure itself is not: read the page of this metric, and see
``published_curves`` for the literature's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.curve import FRACTIONS, Floats, check_curve, curve_measures, score_curves
from medsaliency.evaluation.information import amounts, eight_bit
from medsaliency.evaluation.metric import Scores, check_display_range, check_maps, check_rngs
from medsaliency.evaluation.ranking import IntArray, counts, rank
from medsaliency.evaluation.revealing import AT_ONCE
from medsaliency.evaluation.threads import in_threads
from medsaliency.model.probe import Probe
from medsaliency.types import FloatArray, Generators, Measure, Score

Performance = Literal["probability", "logit"]


class Revealed(NamedTuple):
    """The steps of one image from one start: ``images`` (T, C, H, W), and ``information`` (2, T) of each."""

    images: FloatArray
    information: Floats


class End(NamedTuple):
    """Of one image, the start or the whole: ``performance`` (2, 1) for AIC and SIC, and ``information`` (2, 1)."""

    performance: Floats
    information: Floats


@dataclass(frozen=True)
class InformationCurves:
    """The model's score against the information in the image as its most important pixels are revealed.

    A start image shows a random ``start`` share of pixels and interpolates the rest linearly. Exactly
    ``round(fraction * H * W)`` of the map's highest pixels are added at each step (ties in a seeded random order).
    A volume's pixels are chosen among all of its slices, and each slice is interpolated in its plane.
    Score and information are averaged over ``starts`` start images, then scaled so that the start is 0 and the whole
    image 1, and clipped to [0, 1]. The score is made monotone; the measure is the area under the line through the
    points.

    AIC takes the accuracy of the target (1 where it is still the predicted class; for independent classes, where its
    probability is above one half), SIC its ``score``. Information is the Shannon entropy of the gray histogram, the
    length of the lossless WebP file, or the mean of these two scaled ones, all of the image in 8 bits; the model sees
    the image unrounded. One set of revealed images serves all six. Costs ``starts * len(fractions)`` forward passes a
    map, and ``starts + 1`` an image that all maps share.

    An image is undefined, with its reason, where the start scores no lower or carries no less information than the
    whole, where the whole scores below ``minimum``, or where the map is not finite. But for the last, this does not
    depend on the map: all methods have the same images.

    Args:
        fractions: Shares of the pixels revealed, ascending in (0, 1).
        start: Share of pixels of the start image, in [0, 1).
        starts: Start images averaged, at least 1.
        score: What SIC follows: "probability" (softmax, or sigmoid where classes are independent) or "logit".
        minimum: Lowest score of the whole image that counts. Kapishnikov's code has 0.8; 0 excludes no image for it.
        points: Grid points of the area.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    fractions: tuple[float, ...] = FRACTIONS
    start: float = 0.01
    starts: int = 3
    score: Performance = "probability"
    minimum: float = 0.0
    points: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(self.fractions))
        own = self.starts >= 1 and self.score in get_args(Performance)
        check_curve("information_curves", self, own, ", starts >= 1 and score probability or logit")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``aic_entropy``, ``aic_webp``, ``aic_mean`` and likewise ``sic_``."""
        return curve_measures(self.score)

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Six scores an image, each with its curve. Each generator draws the start pixels, then the order of ties.

        Raises:
            MedsaliencyError: If an image leaves [0, 1], so that its 8-bit form is not defined, or there is not one map
                and one generator an image.
        """
        check_maps("information_curves", probe, maps)
        check_rngs("information_curves", probe, rngs)
        check_display_range("information_curves", probe)
        pixels = maps[0].numel()
        # Sorted, so that neighbors enter the triangulation one after the other, which finds its place faster.
        starts = [
            [np.sort(rng.choice(pixels, size=int(pixels * self.start), replace=False)) for _ in range(self.starts)]
            for rng in rngs
        ]
        rankings = [rank(saliency, rng) for saliency, rng in zip(maps.cpu().numpy(), rngs, strict=True)]
        ends = self._ends(probe, starts)
        finite = torch.isfinite(maps).flatten(1).all(dim=1).tolist()
        scores: Scores = {measure.name: [] for measure in self.measures}
        group = max(1, AT_ONCE // (probe.images[0].numel() * self.starts * len(self.fractions)))
        for first in range(0, len(probe), group):
            part = range(first, min(first + group, len(probe)))
            performance, information = self._mean_over_starts(probe, part, starts, rankings)
            for i, steps, held in zip(part, performance, information, strict=True):
                start, whole = ends[i]
                found = (
                    score_curves(
                        np.concatenate([start.performance, steps, whole.performance], axis=1),
                        np.concatenate([start.information, held, whole.information], axis=1),
                        minimum=self.minimum,
                        points=self.points,
                    )
                    if finite[i]
                    else [Score.undefined("the map is not finite")] * len(scores)
                )
                for own, score in zip(scores.values(), found, strict=True):
                    own.append(score)
        return scores

    def _mean_over_starts(
        self, probe: Probe, part: Sequence[int], starts: list[list[IntArray]], rankings: list[IntArray] | None
    ) -> tuple[Floats, Floats]:
        """Performance and information, (n, 2, T) each, of the steps of n images; without rankings of the start."""
        tasks = [(i, start) for i in part for start in starts[i]]

        def reveal(task: tuple[int, IntArray]) -> Revealed:
            return self._reveal(probe, *task, None if rankings is None else rankings[task[0]])

        revealed = in_threads(reveal, tasks)
        steps = len(revealed[0].images)
        shown = torch.from_numpy(np.concatenate([each.images for each in revealed]))
        performance = self._performance(probe, probe.logits_of(shown), np.repeat([i for i, _ in tasks], steps))
        information = np.stack([each.information for each in revealed])
        return (
            performance.reshape(2, len(part), self.starts, steps).mean(axis=2).swapaxes(0, 1),
            information.reshape(len(part), self.starts, 2, steps).mean(axis=1),
        )

    def _ends(self, probe: Probe, starts: list[list[IntArray]]) -> list[tuple[End, End]]:
        """The start and the whole of each image.

        They do not depend on the map, so that all methods with the same start pixels share them.
        """

        def measure() -> list[tuple[End, End]]:
            group = max(1, AT_ONCE // (probe.images[0].numel() * self.starts))
            low: list[End] = []
            for first in range(0, len(probe), group):
                part = range(first, min(first + group, len(probe)))
                low += map(End, *self._mean_over_starts(probe, part, starts, None))
            performance = self._performance(probe, probe.logits, np.arange(len(probe)))
            held = in_threads(lambda image: amounts(eight_bit(image[None])), probe.images.cpu().numpy())
            return list(zip(low, map(End, performance.T[:, :, None], held), strict=True))

        return probe.once((type(self), self.score, *(s.tobytes() for own in starts for s in own)), measure)

    def _reveal(self, probe: Probe, i: int, start: IntArray, ranking: IntArray | None) -> Revealed:
        """The steps of image ``i`` from one start; without a ranking the start alone."""
        from medsaliency.evaluation.delaunay import reveal

        image = probe.images[i].cpu().numpy()
        if ranking is None:
            nothing = np.empty(0, dtype=np.int64)
            steps = reveal(image, start, nothing, nothing)
        else:
            steps = reveal(image, start, ranking, counts(self.fractions, len(ranking)))[1:]
        return Revealed(steps, amounts(eight_bit(steps)))

    def _performance(self, probe: Probe, logits: Tensor, owners: IntArray) -> Floats:
        """What AIC and SIC follow, (2, P), of logits (P, K), each by the class of the image that owns it."""
        probabilities = probe.classifier.to_probabilities(logits)
        own = torch.from_numpy(owners).to(logits.device)
        target = probe.targets[own]
        rows = torch.arange(len(target), device=logits.device)
        chosen = probabilities[rows, target]
        kept = probabilities.argmax(dim=1) == target if probe.classifier.output == "softmax" else chosen > 0.5
        followed = logits[rows, target] if self.score == "logit" else chosen
        found: Floats = torch.stack([kept.double(), followed.double()]).cpu().numpy()
        return found
