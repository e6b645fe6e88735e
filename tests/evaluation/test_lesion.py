from __future__ import annotations

import numpy as np
import torch

from medsaliency.evaluation.lesion import score_lesions
from medsaliency.types import Score


def test_only_comparable_maps_are_measured_and_order_is_kept(lesion_probe) -> None:
    probe = lesion_probe([[1, 0]], None, [[0, 1]])
    seen = []

    def measure(saliency: np.ndarray, lesion: np.ndarray) -> float:
        seen.append((saliency.tolist(), lesion.tolist()))
        return float(saliency[lesion].sum())

    scores = score_lesions(probe, torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]), measure)
    assert scores == [Score(1.0), scores[1], Score(6.0)]
    assert scores[1].reason == "no lesion mask"
    assert seen == [([[1.0, 2.0]], [[True, False]]), ([[5.0, 6.0]], [[False, True]])]
