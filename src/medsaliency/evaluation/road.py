"""ROAD, remove and debias: Rong et al. 2022, arXiv:2202.00449, with its noisy linear imputation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
from torch import Tensor

from medsaliency.evaluation.metric import Scores, check_maps, check_rngs
from medsaliency.evaluation.ranking import ascending, counts, places, rank
from medsaliency.evaluation.revealing import class_probabilities
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, Curve, FloatArray, Generators, Measure, MedsaliencyError, Score

TOLERANCE = 1e-6
"""Residual of the linear system that is left, as a share of its right-hand side: far below the noise."""


@dataclass(frozen=True)
class ROAD:
    """Probability of the class once the map's most, or least, important pixels are replaced by what surrounds them.

    Exactly ``round(fraction * H * W)`` pixels are removed, ties in a seeded random order. Each becomes the weighted
    mean of its neighbors, removed ones included, plus faint noise: nothing of its own is left, and no edge along the
    shape of what was removed for a network to read. Probabilities are averaged over the shares. The noise of an image
    is the same for all maps and shares.

    Costs ``2 * len(fractions)`` forward passes a map, and as many linear systems a channel on the CPU. A volume's are
    large.

    Args:
        fractions: Shares of the pixels removed, ascending in (0, 1).
        noise: Standard deviation of the noise, in units of the display range, at least 0.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    noise: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", tuple(self.fractions))
        if not ascending(self.fractions) or not 0 <= self.noise < np.inf:
            raise MedsaliencyError(f"road: expected fractions ascending in (0, 1) and noise of 0 or more, got {self}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``road``, ``road_most`` and ``road_least``."""
        what = "Probability without the map's"
        return (
            Measure(
                "road",
                True,
                (-0.5, 0.5),
                "Half of what the probability keeps without the least, above the most",
                "faithfulness",
            ),
            Measure(
                "road_most", False, (0.0, 1.0), f"{what} most important pixels, imputed from the others", "faithfulness"
            ),
            Measure(
                "road_least",
                True,
                (0.0, 1.0),
                f"{what} least important pixels, imputed from the others",
                "faithfulness",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Three scores an image, each with its curve. Each generator draws the noise, then the order of ties.

        Raises:
            MedsaliencyError: If there is not one map and one generator an image, or a share is all of so few pixels.
        """
        check_maps("road", probe, maps)
        check_rngs("road", probe, rngs)
        pixels = maps[0].numel()
        shares = counts(self.fractions, pixels) / pixels
        if shares[-1] == 1:
            raise MedsaliencyError(
                f"road: expected fractions that leave a pixel to impute the others from, got {self.fractions[-1]} of "
                f"{pixels} pixels; give smaller ones"
            )
        weights = probe.once(("road", *maps.shape[1:]), lambda: grid_laplacian(*maps.shape[1:]))
        images, saliency = probe.images.cpu().numpy(), maps.cpu().numpy()

        threads = ThreadpoolController()

        def show(i: int) -> Tensor:
            # Products of vectors this short gain nothing from threads, and wait long for them on a busy machine.
            with threads.limit(limits=1, user_api="blas"):
                return torch.from_numpy(self._without(images[i], saliency[i], rngs[i], weights))

        found = class_probabilities(probe, show, 2 * len(shares))
        own = found[torch.arange(len(probe)), :, probe.targets].double().cpu().numpy()
        finite = np.isfinite(saliency).reshape(len(saliency), -1).all(axis=1)
        scores: Scores = {measure.name: [] for measure in self.measures}
        for (most, least), defined in zip(own.reshape(len(probe), 2, -1), finite, strict=True):
            curves = {"road": (least - most) / 2, "road_most": most, "road_least": least}
            for name, values in curves.items():
                scores[name].append(_mean(shares, values) if defined else Score.undefined("the map is not finite"))
        return scores

    def _without(
        self, image: FloatArray, saliency: FloatArray, rng: np.random.Generator, weights: sparse.csr_array
    ) -> FloatArray:
        """The image (2 T, C, H, W) without the map's best pixels, then without its worst, at each share."""
        noise = self.noise * rng.standard_normal(image.shape, dtype=np.float32)  # drawn first: the same for all maps
        place = places(rank(saliency, rng)).reshape(saliency.shape)
        many = counts(self.fractions, place.size).reshape(-1, *(1,) * place.ndim)
        removed = np.concatenate([place < many, place >= place.size - many])
        return np.stack([np.where(mask, impute(image, mask, weights) + noise, image) for mask in removed])


def _mean(shares: NDArray[np.float64], values: NDArray[np.float64]) -> Score:
    return Score(float(values.mean()), curve=Curve(tuple(shares.tolist()), tuple(values.tolist())))


def grid_laplacian(*sides: int) -> sparse.csr_array:
    """By what each pixel differs from its neighbors: (H W, H W), the Laplacian of the grid as a graph.

    A direct neighbor has the weight 1/6 and a diagonal one 1/12. Of the 26 in a volume those that share a face have
    4/56, an edge 2/56, a corner 1/56: half as much for each axis along which they differ more, as in the plane. On the
    rim, where some are missing, the weights of the others are the whole.

    Args:
        sides: (H, W) or (D, H, W); one slice has the neighbors of an image.
    """

    def along(size: int) -> sparse.dia_array:
        return sparse.diags_array([1.0, 2.0, 1.0], offsets=[-1, 0, 1], shape=(size, size))

    sides = sides[1:] if len(sides) == 3 and sides[0] == 1 else sides
    weights: Any = along(sides[0])
    for size in sides[1:]:
        weights = sparse.kron(weights, along(size))
    around = sparse.csr_array(weights / (4 ** len(sides) - 2 ** len(sides)))
    around.setdiag(0)
    return sparse.csr_array(sparse.diags_array(around.sum(axis=1)) - around)


def impute(image: FloatArray, removed: BoolArray, weights: sparse.csr_array) -> FloatArray:
    """Make every removed pixel the weighted mean of its neighbors, removed ones included, to :data:`TOLERANCE`.

    Args:
        image: (C, H, W) float32.
        removed: (H, W), True on the pixels to replace, not on all of them.
        weights: The :func:`grid_laplacian` of (H, W). Its weights are symmetric and its rows on removed pixels positive
            definite, as every group of those touches a known one: so conjugate gradients solve it.

    Returns:
        (C, H, W) float32, the other pixels as they were.

    Raises:
        MedsaliencyError: If the solution is not found.
    """
    where = removed.ravel()
    rows = weights[where]
    inner, outer = rows[:, where], rows[:, ~where]
    filled = image.copy()
    gray = bool((image == image[:1]).all())  # in three channels, as is common: one solution serves them all
    for channel in filled[:1] if gray else filled:
        known = channel[~removed].astype(np.float64)
        start = np.full(inner.shape[0], known.mean())
        channel[removed], failed = cg(inner, -(outer @ known), x0=start, rtol=TOLERANCE)
        if failed:
            raise MedsaliencyError(f"road: the imputation of {where.sum()} pixels did not converge; remove fewer")
    return np.repeat(filled[:1], len(image), axis=0) if gray else filled
