"""What a check is: it explains again, with something changed, and compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.evaluation.similarity import Similarity
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, Score

Explain = Callable[[Probe], Tensor]
"""A method's maps (N, H, W) of any probe of N images. It draws the same numbers for image i in every call, so that only
what a check changes makes a difference."""


class Check(Protocol):
    """Tests a method, where a metric scores maps: a frozen dataclass whose fields are its parameters."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures it gives, in order."""

    def __call__(self, probe: Probe, explain: Explain, maps: Tensor, rngs: Generators) -> Scores:
        """One score an image and measure.

        Whatever is explained again has the targets of ``probe``, and not what another model or image would predict.

        Args:
            probe: N images, their targets and the classifier.
            explain: The method.
            maps: (N, H, W), what ``explain`` gives for ``probe``.
            rngs: One generator an image, the same for every method, for what the check itself draws.
        """


def explain_again(check: str, explain: Explain, probe: Probe) -> Tensor:
    """A method's maps (N, H, W) of a changed probe, float32 on the CPU.

    Raises:
        MedsaliencyError: If there is not one map an image, on its pixels.
    """
    maps = explain(probe)
    check_maps(check, probe, maps)
    return maps.detach().float().cpu()


def compare(similarity: Similarity, one: Tensor, other: Tensor) -> list[Score]:
    """The similarity of each of N maps (N, H, W) to its own of N others."""
    return [similarity(a, b) for a, b in zip(one.cpu().numpy(), other.cpu().numpy(), strict=True)]


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of an image's scores under several changes; undefined where one of them is."""
    for score in scores:
        if score.reason:
            return Score.undefined(score.reason)
    return Score(float(np.mean([score.value for score in scores])))
