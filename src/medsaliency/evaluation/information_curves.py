"""Accuracy and softmax information curves, audited: Kapishnikov et al. 2019, arXiv:1906.02825, section 4.2.

As used by Brima & Atemkeng 2024, doi:10.1186/s13040-024-00370-4, with three measures of information. What their code
leaves to chance is settled here; what is wrong with the measure itself is not: read the page of this metric, and see
``published_curves`` for the literature's numbers.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

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
from medsaliency.evaluation.information import eight_bit, shannon_entropy, webp_length
from medsaliency.evaluation.metric import Scores, check_display_range, check_maps, check_rngs
from medsaliency.evaluation.ranking import IntArray, counts, rank
from medsaliency.model.probe import Probe
from medsaliency.types import FloatArray, Generators, Measure, MedsaliencyError, Score

Performance = Literal["probability", "logit"]
AT_ONCE = 2**25
"""Numbers of revealed images held at once."""


class Revealed(NamedTuple):
    """The steps of one image from one start: ``images`` (T, C, H, W), and ``information`` (2, T) of each."""

    images: FloatArray
    information: Floats


@dataclass(frozen=True)
class InformationCurves:
    """The model's score against the information in the image as its most important pixels are revealed.

    A start image shows a random ``start`` share of pixels and interpolates the rest linearly. Exactly
    ``round(fraction * H * W)`` of the map's highest pixels are added at each step (ties in a seeded random order).
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
        ascending = all(a < b for a, b in zip((0.0, *self.fractions), (*self.fractions, 1.0), strict=True))
        in_range = 0 <= self.start < 1 and self.starts >= 1 and 0 <= self.minimum <= 1 and self.points >= 2
        if not ascending or not in_range or self.score not in get_args(Performance):
            raise MedsaliencyError(
                "information_curves: expected fractions ascending in (0, 1), start in [0, 1), starts >= 1, score "
                f"probability or logit, minimum in [0, 1] and points >= 2, got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``aic_entropy``, ``aic_webp``, ``aic_mean`` and likewise ``sic_``."""
        performance = {"aic": "still predicted (1) or not (0)", "sic": self.score}
        return tuple(
            Measure(
                f"{kind}_{name}",
                True,
                (0.0, 1.0),
                f"Area under {kind.upper()}: {text} against {INFORMATION_WORDS[name]}",
            )
            for kind, text in performance.items()
            for name in INFORMATION
        )

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
        follow = _Follow(self, probe)
        finite = torch.isfinite(maps).flatten(1).all(dim=1).tolist()
        scores: Scores = {measure.name: [] for measure in self.measures}
        group = max(1, AT_ONCE // (probe.images[0].numel() * self.starts * len(self.fractions)))
        for first in range(0, len(probe), group):
            part = range(first, min(first + group, len(probe)))
            tasks = [(i, start) for i in part for start in starts[i]]
            with _threads() as pool:
                revealed = list(pool.map(lambda task: self._reveal(probe, task[0], task[1], rankings[task[0]]), tasks))
            shown = torch.from_numpy(np.concatenate([r.images for r in revealed]))
            performance = follow(shown, [i for i in part for _ in range(self.starts * len(self.fractions))])
            performance = performance.reshape(2, len(part), self.starts, len(self.fractions)).mean(axis=2)
            information = np.stack([r.information for r in revealed]).reshape(len(part), self.starts, 2, -1).mean(1)
            for at, i in enumerate(part):
                steps = np.concatenate([ends[i][0], performance[:, at], ends[i][1]], axis=1)
                amounts = np.concatenate([ends[i][2], information[at], ends[i][3]], axis=1)
                for name, score in self._scores(steps, amounts, finite[i]).items():
                    scores[name].append(score)
        return scores

    def _scores(self, performance: Floats, amounts: Floats, finite: bool) -> dict[str, Score]:
        """The six scores of one image from its (2, T + 2) performances and (2, T + 2) amounts of information."""
        if not finite:
            return {measure.name: Score.undefined("the map is not finite") for measure in self.measures}
        scaled = scaled_information(amounts)
        return {
            f"{kind}_{name}": score_curve(values, scaled[name], minimum=self.minimum, points=self.points)
            for kind, values in zip(("aic", "sic"), performance, strict=True)
            for name in INFORMATION
        }

    def _ends(self, probe: Probe, starts: list[list[IntArray]]) -> list[tuple[Floats, Floats, Floats, Floats]]:
        """For each image: performance at the start and of the whole (2, 1 each), information likewise.

        They do not depend on the map, so that all methods with the same start pixels share them.
        """
        key = (type(self), self.score, *(start.tobytes() for own in starts for start in own))
        return probe.once(key, lambda: self._measure_ends(probe, starts))

    def _measure_ends(self, probe: Probe, starts: list[list[IntArray]]) -> list[tuple[Floats, Floats, Floats, Floats]]:
        tasks = [(i, start) for i, own in enumerate(starts) for start in own]
        nothing = np.empty(0, dtype=np.int64)
        with _threads() as pool:
            first = list(pool.map(lambda task: self._reveal(probe, task[0], task[1], nothing), tasks))
            whole = list(pool.map(lambda image: _information(image[None]), probe.images.cpu().numpy()))
        follow = _Follow(self, probe)
        owners = range(len(probe))
        low = follow(torch.from_numpy(np.concatenate([r.images for r in first])), np.repeat(owners, self.starts))
        low = low.reshape(2, len(probe), self.starts).mean(axis=2)
        high = follow(probe.images, owners)
        amounts = np.stack([r.information for r in first]).reshape(len(probe), self.starts, 2, 1).mean(axis=1)
        return [(low[:, i, None], high[:, i, None], amounts[i], whole[i]) for i in owners]

    def _reveal(self, probe: Probe, i: int, start: IntArray, ranking: IntArray) -> Revealed:
        """The steps of image ``i`` from one start; with an empty ranking the start alone."""
        from medsaliency.evaluation.delaunay import reveal

        image = probe.images[i].cpu().numpy()
        if not len(ranking):
            steps = reveal(image, start, ranking, ranking)
        else:
            steps = reveal(image, start, ranking, counts(self.fractions, len(ranking)))[1:]
        return Revealed(steps, _information(steps))


class _Follow:
    """What AIC and SIC follow: performance (2, P) of P images, each by the class of the image that owns it."""

    def __init__(self, metric: InformationCurves, probe: Probe) -> None:
        self.metric = metric
        self.probe = probe
        self.targets = probe.targets.cpu().numpy()

    def __call__(self, images: Tensor, owners: range | list[int] | IntArray) -> Floats:
        logits = self.probe.logits_of(images)
        classifier = self.probe.classifier
        probabilities = classifier.to_probabilities(logits).cpu().numpy().astype(np.float64)
        target = self.targets[np.asarray(owners)]
        rows = np.arange(len(target))
        chosen = probabilities[rows, target]
        kept = probabilities.argmax(axis=1) == target if classifier.output == "softmax" else chosen > 0.5
        if self.metric.score == "logit":
            chosen = logits.cpu().numpy().astype(np.float64)[rows, target]
        return np.stack([kept.astype(np.float64), chosen])


def _information(images: FloatArray) -> Floats:
    return np.array([[shannon_entropy(image), webp_length(image)] for image in eight_bit(images)]).T


def _threads() -> ThreadPoolExecutor:
    """Triangulation and WebP run outside the interpreter's lock, so threads use all cores."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())
