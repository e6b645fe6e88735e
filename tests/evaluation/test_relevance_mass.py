from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.relevance_mass import RelevanceMass

LESION = [[1, 0], [0, 1]]


def score(probe, saliency):
    (found,) = RelevanceMass()(probe, torch.tensor([saliency], dtype=torch.float32), [])["relevance_mass"]
    return found


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[4, 0], [1, 3]], 7 / 8),
        ([[5, 1], [2, 4]], 9 / 12),  # nothing is scaled: an offset counts
        ([[4, -9], [1, -3]], 4 / 5),  # negative values count nowhere
        ([[-4, 2], [0, 0]], 0),
        ([[2, 2], [2, 2]], 1 / 2),
        ([[1, -1], [-1, 0]], 1),
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    assert score(lesion_probe(LESION), saliency).value == pytest.approx(expected)


@pytest.mark.parametrize("saliency", [[[0, 0], [0, 0]], [[-1, 0], [-2, -3]]])
def test_without_a_positive_value_there_is_no_mass(lesion_probe, saliency) -> None:
    assert score(lesion_probe(LESION), saliency).reason == "no value of the map is positive"


def test_the_scale_of_the_map_does_not_count(lesion_probe) -> None:
    saliency = torch.tensor([[0.5, 0.25], [-1.0, 2.0]])
    plain = score(lesion_probe(LESION), saliency.tolist()).value
    assert 0 < plain < 1
    assert score(lesion_probe(LESION), (saliency * 1e-6).tolist()).value == pytest.approx(plain)
