from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation.entropy import Entropy


def score(probe, *maps):
    return Entropy()(probe, torch.as_tensor(np.array(maps), dtype=torch.float32), [])["entropy"]


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[1, 1], [1, 1]], 1),
        ([[0.1, -0.1], [-0.1, 0.1]], 1),  # the sign does not count
        ([[0, 0], [-5, 0]], 0),
        ([[0, 2], [2, 0]], 1 / 2),  # on two of four: log 2 / log 4
        ([[2, 1], [1, 0]], (0.5 * 1 + 2 * 0.25 * 2) / 2),  # in bits, of two
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    (found,) = score(lesion_probe([[1, 0], [0, 0]]), saliency)
    assert found.value == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("side", [4, 16, 40])
def test_half_of_the_pixels_by_the_closed_form(lesion_probe, side) -> None:
    saliency = np.zeros((side, side))
    saliency[: side // 2] = 3
    (found,) = score(lesion_probe(np.ones((side, side), int).tolist()), saliency)
    assert found.value == pytest.approx(1 - math.log(2) / math.log(side**2))


def test_as_its_definition(lesion_probe) -> None:
    saliency = np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32)
    shares = np.abs(saliency.astype(np.float64)) / np.abs(saliency.astype(np.float64)).sum()
    (found,) = score(lesion_probe(np.ones((9, 7), int).tolist()), saliency)
    assert found.value == pytest.approx(-(shares * np.log(shares)).sum() / np.log(63))


def test_equal_values_never_round_above_one(lesion_probe) -> None:
    values = np.random.default_rng(0).random(50, dtype=np.float32)
    maps = np.broadcast_to(values[:, None, None], (50, 7, 11))
    found = score(lesion_probe(*[np.ones((7, 11), int).tolist()] * 50), *maps)
    assert all(1 - 1e-12 < result.value <= 1 for result in found)


def test_no_magnitude_is_undefined_and_needs_no_lesion(lesion_probe) -> None:
    maps = [[[0, 0], [0, 0]], [[math.nan, 1], [1, 1]], [[0, 0], [0, 1]]]
    found = score(lesion_probe(None, None, [[0, 0], [0, 0]]), *maps)
    assert [result.reason for result in found] == ["the map is zero everywhere", "the map is not finite", ""]
    assert found[2].value == 0
