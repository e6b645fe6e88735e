from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_score

from medsaliency.evaluation.relevance_rank import RelevanceRank

LESION = [[1, 0], [0, 1]]


def score(probe, saliency) -> float:
    (found,) = RelevanceRank()(probe, torch.tensor([saliency], dtype=torch.float32), [])["relevance_rank"]
    return found.value


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[4, 1], [2, 3]], 1),
        ([[4, 3], [1, 2]], 1 / 2),
        ([[1, 3], [4, 2]], 0),
        ([[-1, -4], [-3, -2]], 1),
        ([[4, 1], [1, 1]], (1 + 1 / 3) / 2),  # one place left for three pixels, one of them lesion
        ([[1, 4], [1, 1]], (0 + 2 / 3) / 2),
        ([[7, 7], [7, 7]], 1 / 2),  # every choice of two pixels: the lesion's share
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    assert score(lesion_probe(LESION), saliency) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_ties_give_the_mean_over_every_order(lesion_probe, seed) -> None:
    """Over all orders of a small map's pixels that its values allow, each as likely."""
    rng = np.random.default_rng(seed)
    saliency = rng.integers(0, 3, 7)
    lesion = rng.permutation([True] * 3 + [False] * 4)
    shares = [
        lesion[list(order[:3])].mean()
        for order in itertools.permutations(range(7))
        if (np.diff(saliency[list(order)]) <= 0).all()
    ]
    probe = lesion_probe([lesion.astype(int).tolist()])
    assert score(probe, [saliency.tolist()]) == pytest.approx(np.mean(shares))


def test_without_ties_it_is_the_precision_of_the_highest_pixels(lesion_probe) -> None:
    rng = np.random.default_rng(0)
    lesion = rng.random((20, 20)) < 0.2
    saliency = rng.permutation(400).reshape(20, 20) + 60 * lesion
    saliency = np.argsort(np.argsort(saliency, axis=None)).reshape(20, 20)  # without ties
    highest = saliency >= 400 - lesion.sum()
    expected = precision_score(lesion.ravel(), highest.ravel())
    assert 0 < expected < 1
    assert score(lesion_probe(lesion.astype(int).tolist()), saliency.tolist()) == pytest.approx(expected)
