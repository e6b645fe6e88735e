from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation.effective_fraction import EffectiveFraction
from medsaliency.types import MedsaliencyError


def score(probe, *maps, mass=0.9):
    metric = EffectiveFraction(mass)
    return metric(probe, torch.as_tensor(np.array(maps), dtype=torch.float32), [])["effective_fraction"]


@pytest.mark.parametrize(
    ("mass", "expected"), [(0.01, 1 / 4), (0.4, 1 / 4), (0.41, 2 / 4), (0.7, 2 / 4), (0.9, 3 / 4), (0.91, 4 / 4)]
)
def test_two_by_two_by_hand(lesion_probe, mass, expected) -> None:
    (found,) = score(lesion_probe([[1, 0], [0, 0]]), [[1, -4], [3, -2]], mass=mass)  # 40, 70, 90 and 100 %
    assert found.value == expected


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-20, 3e5])
@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_equal_values_need_as_many_pixels_as_the_mass(lesion_probe, value, percent) -> None:
    (found,) = score(lesion_probe(np.ones((10, 10), int).tolist()), np.full((10, 10), value), mass=percent / 100)
    assert found.value == percent / 100


def test_no_fewer_pixels_hold_the_mass(lesion_probe) -> None:
    saliency = np.random.default_rng(0).normal(size=(15, 12)).astype(np.float32)
    (found,) = score(lesion_probe(np.ones((15, 12), int).tolist()), saliency, mass=0.8)
    many = round(found.value * 180)
    largest = sorted(np.abs(saliency.astype(np.float64)).ravel(), reverse=True)
    assert sum(largest[: many - 1]) < 0.8 * sum(largest) <= sum(largest[:many])


def test_one_pixel_with_all_is_enough(lesion_probe) -> None:
    saliency = np.zeros((20, 20))
    saliency[3, 4] = -2
    (found,) = score(lesion_probe(np.ones((20, 20), int).tolist()), saliency)
    assert found.value == 1 / 400


def test_no_magnitude_is_undefined_and_needs_no_lesion(lesion_probe) -> None:
    maps = [[[0, 0], [0, 0]], [[math.nan, 1], [1, 1]], [[0, 0], [0, 1]]]
    found = score(lesion_probe(None, None, [[0, 0], [0, 0]]), *maps)
    assert [result.reason for result in found] == ["the map is zero everywhere", "the map is not finite", ""]


@pytest.mark.parametrize("mass", [0, 1, -0.1, 90])
def test_a_mass_that_is_no_share_is_refused(mass) -> None:
    with pytest.raises(MedsaliencyError, match=rf"expected mass in \(0, 1\), got {mass}"):
        EffectiveFraction(mass)
