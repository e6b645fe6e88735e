from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.types import MedsaliencyError

TWO = [[1, 0], [0, 1]]


def score(probe, *maps):
    return LesionAUPRC()(probe, torch.tensor(maps, dtype=torch.float32), [])["lesion_auprc"]


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[4, 1], [2, 3]], 1),  # both lesion pixels first
        ([[2, 4], [3, 1]], (1 / 3 + 2 / 4) / 2),  # lesion pixels third and fourth
        ([[4, 3], [1, 2]], (1 / 1 + 2 / 3) / 2),  # lesion pixels first and third
        ([[4, 4], [1, 2]], (1 / 2 + 2 / 3) / 2),  # a tie is one step: one hit in the first two
        ([[-1, -4], [-3, -2]], 1),
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    (result,) = score(lesion_probe(TWO), saliency)
    assert result.value == pytest.approx(expected)


@pytest.mark.parametrize("lesion", [TWO, [[1, 0], [0, 0]], [[1, 1], [1, 0]]])
def test_a_constant_map_scores_the_share_of_the_lesion(lesion_probe, lesion) -> None:
    (result,) = score(lesion_probe(lesion), [[0.5, 0.5], [0.5, 0.5]])
    assert result.value == pytest.approx(sum(map(sum, lesion)) / 4)


def test_maps_that_do_not_fit_are_refused(lesion_probe) -> None:
    with pytest.raises(MedsaliencyError, match=r"lesion_auprc: expected maps of shape \(1, 2, 2\)"):
        score(lesion_probe(TWO), [[1, 2, 3], [1, 2, 3]])
