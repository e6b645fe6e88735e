from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.metrics import f1_score, jaccard_score

from medsaliency.evaluation.lesion_overlap import THRESHOLDS, LesionOverlap

LESION = [[1, 0], [0, 1]]


def score(probe, saliency):
    scores = LesionOverlap()(probe, torch.tensor([saliency], dtype=torch.float32), [])
    return scores["lesion_iou"][0], scores["lesion_dice"][0]


@pytest.mark.parametrize(
    ("saliency", "iou", "dice"),
    [
        ([[1, 0], [0, 1]], 1, 1),
        ([[-3, -9], [-9, -3]], 1, 1),
        ([[1, 0], [0, 0]], 1 / 2, 2 / 3),
        ([[1, 1], [0, 1]], 2 / 3, 4 / 5),
        ([[0, 1], [1, 0]], 0, 0),
    ],
)
def test_maps_of_two_values_are_cut_between_them(lesion_probe, saliency, iou, dice) -> None:
    found_iou, found_dice = score(lesion_probe(LESION), saliency)
    assert found_iou.value == pytest.approx(iou)
    assert found_dice.value == pytest.approx(dice)
    # Wherever such a map is cut, the same pixels are left.
    assert found_iou.curve.y == pytest.approx([iou] * 19)
    assert found_dice.curve.y == pytest.approx([dice] * 19)


def test_the_curve_follows_the_scaled_map_by_hand(lesion_probe) -> None:
    # Scaled to 1, 0.3, 0 and 0.6.
    found, _ = score(lesion_probe(LESION), [[12, 5], [2, 8]])
    assert found.curve.x == THRESHOLDS == pytest.approx(np.arange(0.05, 1, 0.05))
    expected = [2 / 3 if x < 0.3 else 1 if x < 0.6 else 1 / 2 for x in THRESHOLDS]
    assert found.curve.y == pytest.approx(expected)


@pytest.mark.parametrize("value", [-2, 0, 5])
def test_a_constant_map_has_no_threshold(lesion_probe, value) -> None:
    for found in score(lesion_probe(LESION), [[value] * 2] * 2):
        assert found.reason == "the map is constant"
        assert found.curve is None


def test_as_scikit_learn_computes_it_at_otsu_s_threshold_and_at_each_of_the_curve(lesion_probe) -> None:
    rng = np.random.default_rng(0)
    saliency = ndimage.gaussian_filter(rng.normal(size=(40, 30)), 3)
    lesion = ndimage.gaussian_filter(rng.normal(size=(40, 30)), 3) + saliency > 0.1
    low, high = saliency.min(), saliency.max()
    iou, dice = score(lesion_probe(lesion.astype(int).tolist()), saliency.tolist())
    cut = saliency > threshold_otsu(saliency)
    assert 0 < iou.value < 1
    assert iou.value == pytest.approx(jaccard_score(lesion.ravel(), cut.ravel()))
    assert dice.value == pytest.approx(f1_score(lesion.ravel(), cut.ravel()))
    for threshold, found_iou, found_dice in zip(iou.curve.x, iou.curve.y, dice.curve.y, strict=True):
        cut = saliency > low + threshold * (high - low)
        assert found_iou == pytest.approx(jaccard_score(lesion.ravel(), cut.ravel()))
        assert found_dice == pytest.approx(f1_score(lesion.ravel(), cut.ravel()))


def test_dice_follows_from_iou(lesion_probe) -> None:
    lesion = torch.zeros(16, 16)
    lesion[3:9, 4:11] = 1
    saliency = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) + 0.5 * lesion
    iou, dice = score(lesion_probe(lesion.tolist()), saliency.tolist())
    assert dice.value == pytest.approx(2 * iou.value / (1 + iou.value))
    assert dice.curve.y == pytest.approx([2 * y / (1 + y) for y in iou.curve.y])
