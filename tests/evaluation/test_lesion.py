from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation.lesion import score_lesions
from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.evaluation.metric import Metric
from medsaliency.evaluation.pointing_game import PointingGame
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


@pytest.mark.parametrize("metric", [LesionAUPRC(), PointingGame()])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_undefined_has_a_reason_and_is_never_a_hit(lesion_probe, metric: Metric, bad: float) -> None:
    lesion = [[1, 0], [0, 0]]
    probe = lesion_probe(lesion, None, [[0, 0], [0, 0]], [[1, 1], [1, 1]], lesion)
    maps = torch.tensor([lesion] * 4 + [[[bad, 0], [0, 0]]], dtype=torch.float32)
    (results,) = metric(probe, maps, []).values()
    assert results[0].value == 1
    assert all(math.isnan(result.value) for result in results[1:])
    assert [result.reason for result in results] == [
        "",
        "no lesion mask",
        "no lesion pixel at the model's size",
        "the lesion covers the whole image",
        "the map is not finite",
    ]
