from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from medsaliency.evaluation.gini import Gini
from medsaliency.evaluation.magnitudes import score_magnitudes


def score(probe, *maps):
    return Gini()(probe, torch.as_tensor(np.array(maps), dtype=torch.float32), [])["gini"]


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[1, 1], [1, 1]], 0),
        ([[0.1, -0.1], [-0.1, 0.1]], 0),  # the sign does not count
        ([[0, 0], [5, 0]], 3 / 4),  # all on one of four pixels: 1 - 1 / 4
        ([[0, 2], [2, 0]], 1 / 2),  # on k of n: 1 - k / n
        ([[1, 2], [3, 4]], 1 / 4),  # the mean difference 10 / 8 of two pixels over twice the mean 5 / 2
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    (found,) = score(lesion_probe([[1, 0], [0, 0]]), saliency)
    assert found.value == pytest.approx(expected, abs=1e-7)
    assert found.value >= 0


def test_it_is_half_the_relative_mean_difference_of_any_two_pixels(lesion_probe) -> None:
    saliency = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    magnitudes = np.abs(saliency.astype(np.float64)).ravel()
    expected = pdist(magnitudes[:, None]).sum() / (len(magnitudes) ** 2 * magnitudes.mean())
    (found,) = score(lesion_probe(np.ones((12, 9), int).tolist()), saliency)
    assert found.value == pytest.approx(expected)


def test_scale_and_place_do_not_count_and_a_power_is_sparser(lesion_probe) -> None:
    saliency = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    maps = [saliency, 1e-3 * saliency, saliency[::-1], saliency**3]
    plain, scaled, moved, sharper = score(lesion_probe(*[np.ones((8, 8), int).tolist()] * 4), *maps)
    assert scaled.value == pytest.approx(plain.value)
    assert moved.value == pytest.approx(plain.value)
    assert sharper.value > plain.value


def test_equal_values_never_round_below_zero(lesion_probe) -> None:
    values = np.random.default_rng(0).random(50, dtype=np.float32)
    maps = np.broadcast_to(values[:, None, None], (50, 7, 11))
    found = score(lesion_probe(*[np.ones((7, 11), int).tolist()] * 50), *maps)
    assert all(0 <= result.value < 1e-12 for result in found)


def test_no_magnitude_is_undefined_and_needs_no_lesion(lesion_probe) -> None:
    maps = [[[0, 0], [0, 0]], [[math.nan, 1], [1, 1]], [[math.inf, 1], [1, 1]], [[0, 0], [0, 1]]]
    found = score(lesion_probe(*[None] * 3, [[0, 0], [0, 0]]), *maps)
    assert [result.reason for result in found] == [
        "the map is zero everywhere",
        "the map is not finite",
        "the map is not finite",
        "",
    ]


def test_one_pixel_cannot_be_spread() -> None:
    (found,) = score_magnitudes(torch.ones(1, 1, 1), lambda magnitudes: 0.0)
    assert found.reason == "the map has one pixel only"
