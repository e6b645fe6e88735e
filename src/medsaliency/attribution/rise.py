"""RISE: Petsiuk, Das & Saenko 2018, arXiv:1806.07421, section 3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.method import Signed
from medsaliency.model.grids import upsample
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class RISE(Signed):
    """Mean of random smooth masks, each weighted by the score of the image seen through it.

    A mask is a coarse grid of zeros and ones, upsampled and shifted by less than a cell; what it hides becomes black.
    Costs ``masks`` forward passes an image. Masks are made a micro-batch at a time.

    Args:
        masks: Masks of an image; the paper takes 4000 to 8000.
        grid: Cells of a mask a side; 7 in the paper, whose masks have two axes.
        probability: That a cell is shown; 0.5 in the paper.
        sign: See :class:`~medsaliency.attribution.method.Signed`; the paper's probabilities are never negative.

    Raises:
        MedsaliencyError: If ``masks`` or ``grid`` is below 1, or ``probability`` not between 0 and 1.
    """

    masks: int = 1000
    grid: int = 7
    probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masks < 1 or self.grid < 1 or not 0 < self.probability < 1:
            raise MedsaliencyError(
                f"rise: expected masks >= 1, grid >= 1 and a probability between 0 and 1, got {self}"
            )

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); each image's generator draws its masks."""
        maps = [self._map(probe, i, rng) for i, (_, rng) in enumerate(zip(probe.images, rngs, strict=True))]
        return self.of_map(torch.stack(maps))

    def _map(self, probe: Probe, index: int, rng: np.random.Generator) -> Tensor:
        image = probe.images[index]
        total = torch.zeros_like(image[0])
        for masks in self.draw(rng, image, probe.together):
            scores = probe.scores(masks[:, None] * image, [index] * len(masks))
            total += torch.einsum("m,m...->...", scores, masks)
        return total / (self.masks * self.probability)

    def draw(self, rng: np.random.Generator, image: Tensor, together: int) -> Iterator[Tensor]:
        """Masks (M, H, W) in [0, 1] for an image (C, H, W), at most ``together`` at a time, which changes none of them.

        Of a volume (C, D, H, W) they are (M, D, H, W).
        """
        sides = image.shape[1:]
        # A volume of one slice is an image: along that axis there is nothing to hide.
        grid = [1 if side == 1 else self.grid for side in sides]
        cell = [-(-side // count) for side, count in zip(sides, grid, strict=True)]
        cells = rng.random((self.masks, *grid), dtype=np.float32) < self.probability
        shifts = rng.integers(cell, size=(self.masks, len(sides)))
        # One cell more than the image has, so that it is covered wherever the mask is shifted to.
        larger = [(count + 1) * side for count, side in zip(grid, cell, strict=True)]
        for start in range(0, self.masks, together):
            part = slice(start, start + together)
            masks = upsample(torch.from_numpy(cells[part]).to(image)[:, None], larger)[:, 0]
            yield torch.stack(
                [
                    mask[tuple(slice(first, first + side) for first, side in zip(shift, sides, strict=True))]
                    for mask, shift in zip(masks, shifts[part].tolist(), strict=True)
                ]
            )
