"""What metrics that compare a map with a lesion mask share: on which pixels they do, and when they cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from medsaliency.data.geometry import to_native
from medsaliency.evaluation.metric import Scores
from medsaliency.model.probe import Probe
from medsaliency.types import BoolArray, FloatArray, Geometry, Score

Pair = tuple[FloatArray, BoolArray]
"""A finite map and a lesion on the same pixels, of which at least one is lesion and one is not."""
Compare = Callable[[FloatArray, BoolArray], Score]
"""Scores such a pair."""


def score_lesions(probe: Probe, maps: Tensor, **measures: Compare) -> Scores:
    """Apply every measure to every map and lesion that can be compared; say why for the others.

    Where the probe knows the way back to native pixels, maps are brought there first, so that lesions are taken as they
    were drawn and no padding is scored.

    Args:
        probe: Its lesions and geometries.
        maps: (N, H, W) on the model's grid.
        measures: What each measure of the metric computes, by its name.

    Returns:
        For each measure one score an image.
    """
    pairs = comparable(probe, maps)
    return {
        name: [pair if isinstance(pair, Score) else measure(*pair) for pair in pairs]
        for name, measure in measures.items()
    }


def comparable(probe: Probe, maps: Tensor) -> list[Pair | Score]:
    """What :func:`score_lesions` compares: each map with its lesion, or why they cannot be."""
    return [
        _on_the_same_pixels(saliency, mask, geometry)
        for saliency, mask, geometry in zip(maps.cpu().numpy(), probe.lesions, probe.geometries, strict=True)
    ]


def _on_the_same_pixels(saliency: FloatArray, mask: Tensor | None, geometry: Geometry | None) -> Pair | Score:
    """The map and the lesion, or why they cannot be compared."""
    if mask is None:
        return Score.undefined("no lesion mask")
    lesion = mask.cpu().numpy().astype(np.bool_)
    if not lesion.any():
        return Score.undefined("no lesion pixel")
    if lesion.all():
        return Score.undefined("the lesion covers the whole image")
    if not np.isfinite(saliency).all():
        return Score.undefined("the map is not finite")
    return (saliency if geometry is None else to_native(saliency.astype(np.float32), geometry)), lesion


def share_on_lesion(weights: FloatArray, lesion: BoolArray) -> float:
    """Share, in [0, 1], of the sum of ``weights`` (H, W) that lies on the lesion; none is negative, not all are 0."""
    inside, outside = (float(weights[where].sum(dtype=np.float64)) for where in (lesion, ~lesion))
    # Not over the sum of all: rounded in another order, that can be the smaller one.
    return inside / (inside + outside)
