from __future__ import annotations

import numpy as np
import pytest

from medsaliency.evaluation.agreement import agreement
from medsaliency.evaluation.similarity import dice, spearman, ssim
from medsaliency.types import MedsaliencyError


def noise(seed: int, size: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


def test_equal_maps_agree() -> None:
    found = agreement(noise(0), noise(0))
    assert {name: score.value for name, score in found.items()} == pytest.approx({"ssim": 1, "spearman": 1, "dice": 1})


def test_without_a_lesion_the_given_share_is_compared() -> None:
    a, b = noise(0), noise(1)
    assert agreement(a, b) == {"ssim": ssim(a, b), "spearman": spearman(a, b), "dice": dice(a, b, 0.1)}
    assert agreement(a, b, share=0.3)["dice"] == dice(a, b, 0.3)


@pytest.mark.parametrize("size", [1, 3, 7, 113, 399])
def test_with_a_lesion_as_many_pixels_as_it_has(size) -> None:
    a, b = noise(0), 0.5 * noise(0) + 0.5 * noise(1)
    lesion = np.zeros(400, bool)
    lesion[:size] = True
    tops = [set(np.argsort(-m.ravel())[:size].tolist()) for m in (a, b)]
    found = agreement(a, b, lesion.reshape(20, 20))["dice"]
    assert found.value == pytest.approx(len(tops[0] & tops[1]) / size)


@pytest.mark.parametrize(("fill", "reason"), [(False, "no lesion pixel"), (True, "the lesion covers the whole image")])
def test_an_empty_and_a_full_lesion_have_a_reason(fill, reason) -> None:
    found = agreement(noise(0), noise(1), np.full((20, 20), fill))
    assert found["dice"].reason == reason
    assert found["ssim"].reason == found["spearman"].reason == ""


def test_a_constant_map_agrees_with_none() -> None:
    found = agreement(noise(0), np.zeros((20, 20), np.float32))
    assert {score.reason for score in found.values()} == {"a map is constant"}


def test_a_lesion_on_other_pixels_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"on the pixels of the maps, \(20, 20\), got \(40, 40\)"):
        agreement(noise(0), noise(1), np.ones((40, 40), bool))
