from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.types import MedsaliencyError

LESION = [[1, 0], [0, 0]]


def score(probe, *maps, tolerance=0.0, measure="pointing_game"):
    return PointingGame(tolerance)(probe, torch.tensor(maps, dtype=torch.float32), [])[measure]


@pytest.mark.parametrize("measure", ["hit_rate", "pointing_game"])
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
def test_two_by_two_by_hand_without_tolerance(lesion_probe, measure, saliency, expected) -> None:
    (result,) = score(lesion_probe(LESION), saliency, measure=measure)
    assert result.value == pytest.approx(expected)
    assert result.reason == ""


@pytest.mark.parametrize(("tolerance", "expected"), [(0.0, 0), (0.25, 0), (0.5, 1)])
def test_tolerance_is_a_share_of_the_longer_side(lesion_probe, tolerance, expected) -> None:
    # Four pixels wide, three high; the maximum lies two pixels from the lesion.
    probe = lesion_probe([[1, 0, 0, 0]] + [[0] * 4] * 2)
    saliency = [[0, 0, 1, 0]] + [[0] * 4] * 2
    (near,) = score(probe, saliency, tolerance=tolerance)
    assert near.value == expected
    (strict,) = score(probe, saliency, tolerance=tolerance, measure="hit_rate")
    assert strict.value == 0


@pytest.mark.parametrize(("tolerance", "expected"), [(0.5, 0), (0.75, 1)])
def test_distance_is_euclidean(lesion_probe, tolerance, expected) -> None:
    # The diagonal neighbor is the square root of two pixels away, of two pixels a side.
    (result,) = score(lesion_probe([[1, 0], [0, 0]]), [[0, 0], [0, 1]], tolerance=tolerance)
    assert result.value == expected


def test_the_default_is_the_original_s_15_of_500_pixels(lesion_probe) -> None:
    lesion = torch.zeros(1, 500, dtype=torch.bool)
    lesion[0, 100] = True
    maps = torch.zeros(2, 1, 500)
    maps[0, 0, 115] = maps[1, 0, 116] = 1
    scores = PointingGame()(lesion_probe(*[lesion.tolist()] * 2), maps, [])
    assert [found.value for found in scores["pointing_game"]] == [1, 0]
    assert [found.value for found in scores["hit_rate"]] == [0, 0]


@pytest.mark.parametrize("tolerance", [-0.1, 1, 15])
def test_a_tolerance_that_is_no_share_is_refused(tolerance) -> None:
    with pytest.raises(MedsaliencyError, match=rf"tolerance in \[0, 1\), got {tolerance}; give it as a share"):
        PointingGame(tolerance)


def test_maps_that_do_not_fit_are_refused(lesion_probe) -> None:
    with pytest.raises(MedsaliencyError, match=r"pointing_game: expected maps of shape \(1, 2, 2\)"):
        score(lesion_probe(LESION), [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(MedsaliencyError, match=r"got \(2, 2, 2\)"):
        score(lesion_probe(LESION), LESION, LESION)
