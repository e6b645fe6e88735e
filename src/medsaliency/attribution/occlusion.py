"""Occlusion: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from medsaliency.attribution.method import Signed
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class Occlusion(Signed):
    """How far the score falls when a window of the image is covered, averaged over the windows that cover a pixel.

    Costs one forward pass for the image and one for each position of the window, 225 with the defaults. Of a volume
    these are 3,375; a ``window`` of 0.25 and a ``stride`` of 0.125 make 343. Only one micro-batch of covered images is
    held at a time.

    Args:
        window: Side of the window as a share of the image's, at least one pixel.
        stride: Step from one window to the next, as a share of the image's side; at most ``window``, so that every
            pixel is covered.
        baseline: Display-range value that covers a window; 0 is black, the paper takes gray.
        sign: See :class:`~medsaliency.attribution.method.Signed`; below zero where the score rises.

    Raises:
        MedsaliencyError: If not 0 < ``stride`` <= ``window`` <= 1.
    """

    window: float = 0.125
    stride: float = 0.0625
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.stride <= self.window <= 1:
            raise MedsaliencyError(
                "occlusion: expected 0 < stride <= window <= 1 (shares of the image's side), got "
                f"stride {self.stride} and window {self.window}"
            )

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); nothing is drawn."""
        del rngs
        maps = [self._map(probe, i, whole) for i, whole in enumerate(probe.own_scores)]
        return self.of_map(torch.stack(maps))

    def _map(self, probe: Probe, index: int, whole: Tensor) -> Tensor:
        image = probe.images[index]
        windows = list(product(*(self._steps(side) for side in image.shape[1:])))
        falls, covers = torch.zeros_like(image[0]), torch.zeros_like(image[0])
        together = probe.together
        for part in (windows[start : start + together] for start in range(0, len(windows), together)):
            covered = image.repeat(len(part), *(1,) * image.ndim)
            for copy, window in zip(covered, part, strict=True):
                copy[:, *window] = self.baseline
            # A window changes the score by little: by less, in dark places, than rounding to bfloat16 does.
            scores = probe.scores(covered, [index] * len(part), precise=True)
            for window, score in zip(part, scores, strict=True):
                falls[window] += whole - score
                covers[window] += 1
        return falls / covers

    def _steps(self, side: int) -> list[slice]:
        """Where the window lies along one side; the last may reach beyond the edge and is cut there."""
        window, stride = (max(1, round(share * side)) for share in (self.window, self.stride))
        return [slice(start, start + window) for start in range(0, side - window + stride, stride)]
