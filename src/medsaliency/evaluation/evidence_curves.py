"""Evidence curves: insertion and deletion against the same map in other places.

Made for this project: what the information curves of Kapishnikov et al. 2019, arXiv:1906.02825, ask, without what makes
them unable to tell an explanation from noise. Insertion and deletion are those of Petsiuk et al. 2018,
arXiv:1806.07421.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.evaluation.baselines import Baseline, baselines_of, check_baseline
from medsaliency.evaluation.metric import Scores, check_maps, check_rngs
from medsaliency.evaluation.ranking import ascending, counts, places, rank
from medsaliency.evaluation.revealing import mixed_logits
from medsaliency.model.probe import Probe
from medsaliency.types import Curve, FloatArray, Generators, Measure, MedsaliencyError, Score

Performance = Literal["probability", "logit"]


@dataclass(frozen=True)
class EvidenceCurves:
    """How much more the model says of a class where the map is than where the same map would be elsewhere.

    Insertion shows the map's best pixels on an image that says little of the class (a strong blur of it), deletion
    puts that in their place on the whole image, at the same areas for every map. What both give is compared with what
    they give for ``placements`` copies of the map, turned, mirrored and moved around the image at random: copies have
    the same number of pixels, the same smoothness and the same shape, and differ in the place alone. So a map gains
    nothing by being smooth, and a random map has a gain of zero on average.

    No image is left out for its scores: nothing is divided by the difference of two of them. Costs
    ``2 * len(fractions) * (1 + placements)`` forward passes a map.

    Args:
        fractions: Shares of the pixels shown or taken, ascending in (0, 1).
        placements: Copies of the map elsewhere, at least 1.
        baseline: What stands where a pixel is not shown; see :func:`~medsaliency.evaluation.baselines.make_baseline`.
        sigma: Width of the blur, a share of the shorter side.
        score: What is followed: "probability" or "logit" of the class.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    fractions: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    placements: int = 6
    baseline: Baseline = "blur"
    sigma: float = 0.1875
    score: Performance = "probability"

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(self.fractions))
        check_baseline("evidence_curves", self.baseline)
        in_range = ascending(self.fractions) and self.placements >= 1 and self.sigma > 0
        if not in_range or self.score not in get_args(Performance):
            raise MedsaliencyError(
                "evidence_curves: expected fractions ascending in (0, 1), placements >= 1, sigma above 0 and score "
                f"probability or logit, got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``evidence``, ``insertion_gain``, ``deletion_gain`` and ``place_rank``."""
        top = (-1.0, 1.0) if self.score == "probability" else (-np.inf, np.inf)
        both = (2 * top[0], 2 * top[1])
        what = f"{self.score} of the class"
        return (
            Measure("evidence", True, both, "Insertion gain and deletion gain together", "faithfulness"),
            Measure(
                "insertion_gain",
                True,
                top,
                f"Rise of the {what} where the map shows, above the same map elsewhere",
                "faithfulness",
            ),
            Measure(
                "deletion_gain",
                True,
                top,
                f"Fall of the {what} where the map takes, above the same map elsewhere",
                "faithfulness",
            ),
            Measure(
                "place_rank",
                True,
                (0.0, 1.0),
                "Share of the same map's other places with less evidence",
                "faithfulness",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Four scores an image, the gains with the curve of the map itself. Each generator draws places, then ties.

        Raises:
            MedsaliencyError: If there is not one map and one generator an image.
        """
        check_maps("evidence_curves", probe, maps)
        check_rngs("evidence_curves", probe, rngs)
        scores: Scores = {measure.name: [] for measure in self.measures}
        for i, (saliency, rng) in enumerate(zip(maps.cpu().numpy(), rngs, strict=True)):
            if not np.isfinite(saliency).all():
                found = dict.fromkeys(scores, Score.undefined("the map is not finite"))
            else:
                found = self._judge(*self._follow(probe, i, self.masks(saliency, rng)))
            for name, score in found.items():
                scores[name].append(score)
        return scores

    def masks(self, saliency: FloatArray, rng: np.random.Generator) -> Tensor:
        """(1 + placements, T, H, W) bool: the best pixels of a map (H, W), then of its copies elsewhere."""
        copies = [saliency, *(moved(saliency, rng) for _ in range(self.placements))]
        many = counts(self.fractions, saliency.size)
        found = np.stack([places(rank(copy, rng))[None] < many[:, None] for copy in copies])
        return torch.from_numpy(found).reshape(*found.shape[:2], *saliency.shape)

    def _follow(self, probe: Probe, i: int, masks: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Performance of insertion and deletion, (1 + placements, T) each."""
        base = baselines_of(probe, self.baseline, self.sigma)[i]
        logits = mixed_logits(probe, i, base, masks.flatten(0, 1)).flatten(0, 1)
        values = logits if self.score == "logit" else probe.classifier.to_probabilities(logits)
        followed = values[:, int(probe.targets[i])].double().cpu()
        insertion, deletion = followed.reshape(2, *masks.shape[:2]).numpy()
        return insertion, deletion

    def _judge(self, insertion: NDArray[np.float64], deletion: NDArray[np.float64]) -> dict[str, Score]:
        """Scores from performances (1 + placements, T), the map itself first."""
        risen, fallen = insertion.mean(axis=1), -deletion.mean(axis=1)
        both = risen + fallen
        rank_of_place = float((both[1:] < both[0]).mean() + 0.5 * (both[1:] == both[0]).mean())
        x = self.fractions
        return {
            "evidence": Score(float(both[0] - both[1:].mean())),
            "insertion_gain": Score(float(risen[0] - risen[1:].mean()), curve=Curve(x, tuple(insertion[0].tolist()))),
            "deletion_gain": Score(float(fallen[0] - fallen[1:].mean()), curve=Curve(x, tuple(deletion[0].tolist()))),
            "place_rank": Score(rank_of_place),
        }


def moved(saliency: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The map elsewhere: mirrored, turned (by half a turn where it is not square) and shifted around the edges.

    A volume's axes are mirrored, each or not, and those of one length change places, so that it is turned and mirrored
    in every way that keeps its shape; then it is shifted along each of them. Of one slice it is an image.
    """
    if saliency.ndim == 3:
        return _moved_slice(saliency, rng) if len(saliency) == 1 else _moved_volume(saliency, rng)
    turns = int(rng.integers(4)) if saliency.shape[0] == saliency.shape[1] else 2 * int(rng.integers(2))
    found = np.rot90(saliency, turns)
    if rng.integers(2):
        found = found[:, ::-1]
    shift = (int(rng.integers(saliency.shape[0])), int(rng.integers(saliency.shape[1])))
    return np.roll(found, shift, axis=(0, 1))


def _moved_slice(volume: FloatArray, rng: np.random.Generator) -> FloatArray:
    return moved(volume[0], rng)[None]


def _moved_volume(volume: FloatArray, rng: np.random.Generator) -> FloatArray:
    order = np.arange(volume.ndim)
    for length in sorted(set(volume.shape)):
        alike = np.flatnonzero(np.array(volume.shape) == length)
        order[alike] = rng.permutation(alike)
    mirrored = tuple(axis for axis in range(volume.ndim) if rng.integers(2))
    shift = tuple(int(rng.integers(length)) for length in volume.shape)
    return np.roll(np.flip(volume.transpose(order), mirrored), shift, axis=(0, 1, 2))
