"""A randomized model's maps judged by the method's own baseline, for the checks after Adebayo et al. 2018.

Magnitudes are compared by the similarities of arXiv:1810.03292. The baseline is after Arun et al. 2021,
doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from torch import Tensor

from medsaliency.evaluation.check import compare, mean_score
from medsaliency.evaluation.metric import Scores
from medsaliency.evaluation.similarity import Similarity, hog, spearman, ssim
from medsaliency.types import Measure, Score, generator

COMPARED: dict[str, Similarity] = {"ssim": ssim, "spearman": spearman, "hog": hog}
WORDS = {"ssim": "SSIM", "spearman": "Rank correlation", "hog": "Correlation of HOG"}
PAIRS = 50
"""Pairs of images behind a baseline, where there are so many."""


def measures_of(kind: str, model: str) -> list[Measure]:
    """``KIND_ssim``, ``KIND_ssim_margin`` and likewise ``_spearman`` and ``_hog``; ``model`` is described in words."""
    found = []
    for name in COMPARED:
        likeness = f"{WORDS[name]} of the map with that {model}"
        found.append(Measure(f"{kind}_{name}", False, (-1.0, 1.0), likeness, "randomization"))
        margin = f"How far {kind}_{name} lies below the same of two images' maps; passes above 0"
        found.append(Measure(f"{kind}_{name}_margin", True, (-2.0, 2.0), margin, "randomization"))
    return found


def with_margins(name: str, similarities: Sequence[Score], baseline: Score) -> Scores:
    """Each image's similarity under ``name``, and under ``name_margin`` how far it lies below the baseline."""
    return {name: list(similarities), f"{name}_margin": [_margin(baseline, score) for score in similarities]}


def own_baseline(check: str, seed: int, similarity: Similarity, maps: Tensor) -> Score:
    """Mean similarity of a method's maps of different images, by the model that is explained.

    Args:
        check: Whose pairs are drawn.
        seed: Of the pairs, where there are more than :data:`PAIRS`.
        similarity: Compares two maps; pairs that it cannot compare are left out.
        maps: (N, H, W).

    Returns:
        Undefined with its reason where there is one image only, or no pair can be compared.
    """
    if len(maps) == 1:
        return Score.undefined("one image only, so no other to compare with")
    pairs = np.array(list(combinations(range(len(maps)), 2)))
    if len(pairs) > PAIRS:
        pairs = pairs[generator(seed, check, "pairs").choice(len(pairs), PAIRS, replace=False)]
    found = compare(similarity, maps[pairs[:, 0]], maps[pairs[:, 1]])
    values = [score for score in found if not score.reason]
    return mean_score(values) if values else Score.undefined("no two maps of the batch can be compared")


def _margin(baseline: Score, score: Score) -> Score:
    if reason := score.reason or baseline.reason:
        return Score.undefined(reason)
    return Score(baseline.value - score.value)
