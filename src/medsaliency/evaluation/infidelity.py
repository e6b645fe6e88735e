"""Infidelity: Yeh et al. 2019, arXiv:1901.09392, definition 2.1, with the best scale as in the authors' code.

And faithfulness correlation, Bhatt et al. 2020, arXiv:2005.00631, from the same passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import pearsonr
from torch import Tensor

from medsaliency.evaluation.baselines import Baseline, baselines_of, check_baseline, shorter_side
from medsaliency.evaluation.metric import Scores, check_maps, check_rngs
from medsaliency.evaluation.ranking import IntArray
from medsaliency.model.probe import Probe
from medsaliency.types import FloatArray, Generators, Measure, MedsaliencyError, Score

Floats = NDArray[np.float64]
RESOLUTION = 1e-6
"""Differences below this share of the largest value are those of rounding in float32, and count as none."""


@dataclass(frozen=True)
class Infidelity:
    """How badly the map's sum over a hidden patch predicts by how much the score falls, and how the two correlate.

    Square patches (of volumes: cubes) are hidden behind a baseline, one at a time, at places drawn for each image, the
    same for all maps. What falls is the target's own score in float32 and not the probability: it is what the map
    explains, methods that distribute it do so exactly for it, and a saturated probability does not move.

    ``infidelity`` is the mean squared error of the prediction, divided by that of a map of zeros. Maps have no common
    unit, so each is first multiplied by the number of at least 0 that serves it best: 0 says that falls are
    proportional to the map's sums, 1 that no multiple of it predicts better than nothing. A negative number is not
    allowed, or a map with all signs the wrong way round would score like the right one. ``faithfulness_correlation`` is
    Pearson's, so that it asks for differences between patches and not for the fall that they have in common.

    Costs ``1 + samples`` forward passes an image, in float32, that all maps share, and none a map.

    Args:
        samples: Patches of an image, at least 3.
        patch: Side of the patch, a share of the image's (or of a volume's slices') shorter side, in (0, 1]; a volume
            of fewer slices than that has all of them in each patch.
        baseline: What stands in the patch; see :func:`~medsaliency.evaluation.baselines.make_baseline`.
        sigma: Width of the blur, a share of the shorter side, above 0.

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    samples: int = 128
    patch: float = 0.15
    baseline: Baseline = "blur"
    sigma: float = 0.1875

    def __post_init__(self) -> None:
        check_baseline("infidelity", self.baseline)
        if self.samples < 3 or not 0 < self.patch <= 1 or not 0 < self.sigma < np.inf:
            raise MedsaliencyError(
                f"infidelity: expected samples of 3 or more, patch in (0, 1] and sigma above 0, got {self}"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``infidelity`` and ``faithfulness_correlation``."""
        return (
            Measure(
                "infidelity",
                False,
                (0.0, 1.0),
                "Error of the map as a prediction of what hiding a patch costs, as a share of no prediction's",
                "faithfulness",
            ),
            Measure(
                "faithfulness_correlation",
                True,
                (-1.0, 1.0),
                "Correlation of the map's sum over a patch with what hiding it costs",
                "faithfulness",
            ),
        )

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Two scores an image; its generator draws the places of its patches.

        Raises:
            MedsaliencyError: If there is not one map and one generator an image.
        """
        check_maps("infidelity", probe, maps)
        check_rngs("infidelity", probe, rngs)
        shape = np.array(maps.shape[1:])
        sides = np.minimum(max(1, round(self.patch * shorter_side(maps.shape))), shape)
        corners = np.stack([rng.integers(shape - sides + 1, size=(self.samples, len(shape))) for rng in rngs])
        key = (self, corners.tobytes())
        scores = probe.once(key, lambda: self._hidden_scores(probe, corners, sides))
        found: Scores = {measure.name: [] for measure in self.measures}
        for saliency, own, places in zip(maps.cpu().numpy(), scores, corners, strict=True):
            for name, score in zip(found, _compare(saliency, places, sides, own), strict=True):
                found[name].append(score)
        return found

    def _hidden_scores(self, probe: Probe, corners: IntArray, sides: IntArray) -> Floats:
        """Scores (N, 1 + samples) of the whole images and of those with a patch hidden, by the images' own targets."""
        bases = baselines_of(probe, self.baseline, self.sigma)
        found = [probe.own_scores[:, None]]
        for at in range(0, self.samples, probe.together):
            part = corners[:, at : at + probe.together]
            hidden = [
                probe.scores(hide(image, base, places, sides), [i] * len(places), precise=True)
                for i, (image, base, places) in enumerate(zip(probe.images, bases, part, strict=True))
            ]
            found.append(torch.stack(hidden))
        together: Floats = torch.cat(found, dim=1).double().cpu().numpy()
        return together


def hide(image: Tensor, base: Tensor, corners: IntArray, sides: IntArray) -> Tensor:
    """Copies of an image, each with one patch of it replaced.

    Args:
        image: (C, H, W).
        base: (C, H, W), what stands in the patches.
        corners: (P, 2), row and column of each patch's first pixel; of volumes (P, 3).
        sides: Of the patches along each axis, in pixels.

    Returns:
        (P, C, H, W).
    """
    hidden = image.repeat(len(corners), *(1,) * image.ndim)
    for copy, first, end in zip(hidden, corners.tolist(), (corners + sides).tolist(), strict=True):
        patch = (slice(None), *map(slice, first, end))
        copy[patch] = base[patch]
    return hidden


def patch_sums(saliency: FloatArray, corners: IntArray, sides: IntArray) -> Floats:
    """Sums (P,) of a map (H, W) over patches with the first pixels ``corners`` (P, 2); of volumes (P, 3)."""
    patches = sliding_window_view(saliency, tuple(sides))[tuple(corners.T)]
    sums: Floats = patches.sum(axis=tuple(range(1, patches.ndim)), dtype=np.float64)
    return sums


def _compare(saliency: FloatArray, corners: IntArray, sides: IntArray, scores: Floats) -> tuple[Score, Score]:
    """Infidelity and correlation of a map with scores (1 + P,), first the whole image's, then without each patch."""
    if not np.isfinite(saliency).all():
        return (Score.undefined("the map is not finite"),) * 2
    falls = scores[0] - scores[1:]
    rounding = RESOLUTION * float(np.abs(scores).max())
    if np.abs(falls).max() <= rounding:
        return (Score.undefined("no patch changes the score"),) * 2
    sums = patch_sums(saliency, corners, sides)
    return Score(scaled_infidelity(sums, falls)), _correlation(sums, falls, rounding)


def scaled_infidelity(sums: Floats, falls: Floats) -> float:
    """Mean squared error of the best multiple, at least 0, of sums (P,) as a prediction of falls (P,), over that of 0.

    In [0, 1]; sums that are all 0 have 1.
    """
    power = float(sums @ sums)
    scale = max(0.0, float(sums @ falls)) / power if power > 0 else 0.0
    error = float(((falls - scale * sums) ** 2).mean())
    return min(1.0, error / float((falls**2).mean()))  # by rounding, the best multiple can seem worse than 0


def _correlation(sums: Floats, falls: Floats, rounding: float) -> Score:
    if np.ptp(sums) <= RESOLUTION * np.abs(sums).max():
        return Score.undefined("the map has the same sum over every patch")
    if np.ptp(falls) <= rounding:
        return Score.undefined("every patch changes the score alike")
    return Score(float(pearsonr(sums, falls).statistic))
