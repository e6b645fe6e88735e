from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.energy_in_lesion import EnergyInLesion

LESION = [[1, 0], [0, 1]]


def score(probe, saliency):
    (found,) = EnergyInLesion()(probe, torch.tensor([saliency], dtype=torch.float32), [])["energy_in_lesion"]
    return found


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[4, 0], [1, 3]], 7 / 8),
        ([[5, 1], [2, 4]], 7 / 8),  # the same map one higher: it is scaled first
        ([[-1, -5], [-4, -2]], 7 / 8),
        ([[40, 0], [10, 30]], 7 / 8),
        ([[0, 1], [1, 0]], 0),
        ([[1, 0], [0, 0]], 1),
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    assert score(lesion_probe(LESION), saliency).value == pytest.approx(expected)


@pytest.mark.parametrize("value", [-1, 0, 3])
def test_a_constant_map_has_no_energy_to_place(lesion_probe, value) -> None:
    assert score(lesion_probe(LESION), [[value] * 2] * 2).reason == "the map is constant"


def test_a_random_map_has_the_share_of_the_lesion(lesion_probe) -> None:
    lesion = torch.zeros(100, 100)
    lesion[:30, :40] = 1
    noise = torch.rand(100, 100, generator=torch.Generator().manual_seed(0))
    assert score(lesion_probe(lesion.tolist()), noise.tolist()).value == pytest.approx(0.12, abs=0.01)
