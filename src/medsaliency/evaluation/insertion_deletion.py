"""Insertion and deletion: Petsiuk et al. 2018, arXiv:1806.07421."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.evaluation.baselines import Baseline, baselines_of, check_baseline
from medsaliency.evaluation.metric import Scores, check_maps, check_rngs
from medsaliency.evaluation.ranking import counts
from medsaliency.evaluation.revealing import best_pixels, mixed_logits
from medsaliency.model.probe import Probe
from medsaliency.types import Curve, Generators, Measure, MedsaliencyError, Score


@dataclass(frozen=True)
class InsertionDeletion:
    """Area under the class's probability as the map's best pixels are shown on a baseline, or taken from the image.

    Exactly ``round(fraction * H * W)`` pixels are shown or taken at each step, ties in a seeded random order that all
    steps share. The area is that of the trapezoids between the true shares of the pixels, so that it does not depend on
    how the shares are spaced but for what the probability does between them.

    Costs ``2 * len(baselines) * len(fractions)`` forward passes a map, and ``1 + len(baselines)`` an image that all
    maps share.

    Args:
        baselines: What stands where a pixel is not shown, one or more, each with two measures of its own; see
            :func:`~medsaliency.evaluation.baselines.make_baseline`.
        fractions: Shares of the pixels, ascending in (0, 1]. Nothing and everything are always added.
        sigma: Width of the blur, a share of the shorter side, above 0.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    baselines: tuple[Baseline, ...] = ("blur", "mean")
    fractions: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
    sigma: float = 0.1875

    def __post_init__(self) -> None:
        object.__setattr__(self, "baselines", tuple(self.baselines))
        object.__setattr__(self, "fractions", tuple(self.fractions))
        for baseline in self.baselines:
            check_baseline("insertion_deletion", baseline)
        ascending = all(a < b for a, b in zip((0.0, *self.fractions), self.fractions, strict=False))
        in_range = ascending and self.fractions and self.fractions[-1] <= 1 and 0 < self.sigma < np.inf
        if not in_range or not self.baselines or len(set(self.baselines)) < len(self.baselines):
            raise MedsaliencyError(
                "insertion_deletion: expected baselines, each once, fractions ascending in (0, 1] and sigma above 0, "
                f"got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``insertion_`` and then ``deletion_`` of each baseline."""
        words = {"blur": "a blur of the image", "mean": "the image's mean", "black": "black"}
        unit = (0.0, 1.0)
        return (
            *(
                Measure(
                    f"insertion_{name}",
                    True,
                    unit,
                    f"Area under the probability as pixels appear on {words[name]}",
                    "faithfulness",
                )
                for name in self.baselines
            ),
            *(
                Measure(
                    f"deletion_{name}",
                    False,
                    unit,
                    f"Area under the probability as pixels give way to {words[name]}",
                    "faithfulness",
                )
                for name in self.baselines
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Two scores an image and baseline, each with its curve. Each generator draws the order of ties.

        Raises:
            MedsaliencyError: If there is not one map and one generator an image.
        """
        check_maps("insertion_deletion", probe, maps)
        check_rngs("insertion_deletion", probe, rngs)
        shares, curves = self._follow(probe, best_pixels(maps, rngs, self.fractions))
        finite = torch.isfinite(maps).flatten(1).all(dim=1).tolist()
        return {
            measure.name: [
                _area(shares, curve) if defined else Score.undefined("the map is not finite")
                for curve, defined in zip(curves[measure.name], finite, strict=True)
            ]
            for measure in self.measures
        }

    def _follow(self, probe: Probe, masks: Tensor) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """True shares (T + 2,), and the class's probability (N, T + 2) at each of them for every measure."""
        bases = {name: baselines_of(probe, name, self.sigma) for name in self.baselines}
        logits = torch.stack(
            [
                torch.stack([mixed_logits(probe, i, base[i], masks[i]) for base in bases.values()], dim=1)
                for i in range(len(probe))
            ]
        )  # (N, 2, bases, T, K), inserted before deleted
        found = probe.classifier.to_probabilities(logits.flatten(0, 3)).reshape(len(probe), -1, logits.shape[-1])
        steps = _of_class(probe, found).reshape(len(probe), 2 * len(bases), -1)
        whole = _of_class(probe, probe.probabilities[:, None])
        low = {name: self._end(probe, name, base) for name, base in bases.items()}
        ends = [*((low[name], whole) for name in bases), *((whole, low[name]) for name in bases)]
        curves = {
            measure.name: np.concatenate([first, steps[:, at], last], axis=1)
            for at, (measure, (first, last)) in enumerate(zip(self.measures, ends, strict=True))
        }
        pixels = masks[0, 0].numel()
        return np.array([0, *counts(self.fractions, pixels), pixels]) / pixels, curves

    def _end(self, probe: Probe, name: Baseline, base: Tensor) -> NDArray[np.float64]:
        """The class's probability (N, 1) of the baselines, which do not depend on the map: all methods share it."""
        key = ("insertion_deletion", name, self.sigma)
        return probe.once(key, lambda: _of_class(probe, probe.probabilities_of(base)[:, None]))


def _of_class(probe: Probe, probabilities: Tensor) -> NDArray[np.float64]:
    """Of probabilities (N, T, K), those (N, T) of each image's class."""
    own = probabilities[torch.arange(len(probe)), :, probe.targets]
    found: NDArray[np.float64] = own.double().cpu().numpy()
    return found


def _area(shares: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Score:
    curve = Curve(tuple(shares.tolist()), tuple(probabilities.tolist()))
    return Score(float(np.trapezoid(probabilities, shares)), curve=curve)
