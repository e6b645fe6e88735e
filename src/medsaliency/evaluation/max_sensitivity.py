"""Max-sensitivity: Yeh et al. 2019, arXiv:1901.09392, as a share of the map as in Captum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.check import Explain, explain_again
from medsaliency.evaluation.metric import Scores, check_maps, check_rngs
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, MedsaliencyError, Score


@dataclass(frozen=True)
class MaxSensitivity:
    """How far the map moves at most under noise too faint to see: ``max |map(x + d) - map(x)| / |map(x)|``.

    Lengths are Euclidean, over all pixels. Costs ``samples`` explanations.

    Args:
        samples: Noisy copies of each image, at least 1. The maximum over a few is a lower bound of the true one.
        radius: Each value of the noise is uniform between minus and plus this, in units of the display range, above 0.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    samples: int = 10
    radius: float = 0.02

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 < self.radius < float("inf"):
            raise MedsaliencyError(f"max_sensitivity: expected samples of 1 or more and radius above 0, got {self}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``max_sensitivity``."""
        text = "Largest change of the map under faint noise, as a share of the map"
        return (Measure("max_sensitivity", False, (0.0, float("inf")), text, "stability"),)

    def __call__(self, probe: Probe, explain: Explain, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image; its generator draws its noise, copy after copy."""
        check_maps("max_sensitivity", probe, maps)
        check_rngs("max_sensitivity", probe, rngs)
        own = maps.detach().cpu().double().flatten(1)
        largest = torch.zeros(len(own), dtype=torch.float64)
        for _ in range(self.samples):
            again = explain_again("max_sensitivity", explain, self._noisy(probe, rngs)).double().flatten(1)
            largest = torch.maximum(largest, torch.linalg.vector_norm(again - own, dim=1))  # NaN stays
        lengths = torch.linalg.vector_norm(own, dim=1)
        return {"max_sensitivity": [_score(*pair) for pair in zip(largest.tolist(), lengths.tolist(), strict=True)]}

    def _noisy(self, probe: Probe, rngs: Generators) -> Probe:
        """The images under new noise, each with its own target."""
        size = tuple(probe.images.shape[1:])
        noise = np.stack([rng.uniform(-self.radius, self.radius, size).astype(np.float32) for rng in rngs])
        return probe.others(probe.images + torch.from_numpy(noise).to(probe.images.device), range(len(probe)))


def _score(change: float, length: float) -> Score:
    if not np.isfinite([change, length]).all():
        return Score.undefined("a map is not finite")
    if length == 0:
        return Score.undefined("the map is zero everywhere")
    return Score(change / length)
