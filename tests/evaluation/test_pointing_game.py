from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.types import MedsaliencyError

LESION = [[1, 0], [0, 0]]


def score(probe, *maps, tolerance=0):
    return PointingGame(tolerance)(probe, torch.tensor(maps, dtype=torch.float32), [])["pointing_game"]


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[4, 1], [2, 3]], 1),
        ([[1, 4], [2, 3]], 0),
        ([[-1, -4], [-2, -3]], 1),
        ([[4, 4], [2, 3]], 1 / 2),  # two pixels share the maximum, one of them on the lesion
        ([[0, 4], [4, 3]], 0),
        ([[7, 7], [7, 7]], 1 / 4),  # a constant map points anywhere
    ],
)
def test_two_by_two_by_hand(lesion_probe, saliency, expected) -> None:
    (result,) = score(lesion_probe(LESION), saliency)
    assert result.value == pytest.approx(expected)
    assert result.reason == ""


@pytest.mark.parametrize(("tolerance", "expected"), [(0, 0), (1, 0), (2, 1)])
def test_tolerance_counts_pixels_to_the_lesion(lesion_probe, tolerance, expected) -> None:
    (result,) = score(lesion_probe([[1, 0, 0, 0]] + [[0] * 4] * 3), [[0, 0, 1, 0]] + [[0] * 4] * 3, tolerance=tolerance)
    assert result.value == expected
    # The diagonal neighbor is the square root of two away.
    (diagonal,) = score(lesion_probe([[1, 0], [0, 0]]), [[0, 0], [0, 1]], tolerance=1)
    assert diagonal.value == 0


def test_maps_that_do_not_fit_are_refused(lesion_probe) -> None:
    with pytest.raises(MedsaliencyError, match=r"pointing_game: expected maps of shape \(1, 2, 2\)"):
        score(lesion_probe(LESION), [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(MedsaliencyError, match=r"got \(2, 2, 2\)"):
        score(lesion_probe(LESION), LESION, LESION)


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match="tolerance >= 0 pixels, got -1"):
        PointingGame(tolerance=-1)
