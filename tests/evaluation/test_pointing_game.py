from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.model.probe import Probe
from medsaliency.types import Geometry, MedsaliencyError

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


def volume_probe(summing, spacing: tuple[float, ...] | None) -> tuple[Probe, torch.Tensor]:
    """A lesion voxel, and maps that point two slices, and two rows, away from it; the longest side has ten voxels."""
    lesion = torch.zeros(8, 10, 9, dtype=torch.bool)
    lesion[3, 4, 5] = True
    maps = torch.zeros(2, 8, 10, 9)
    maps[0, 5, 4, 5] = maps[1, 3, 6, 5] = 1
    geometries = [Geometry((8, 10, 9), spacing=spacing)] * 2
    return Probe(summing(), torch.zeros(2, 1, 8, 10, 9), [0, 0], [lesion] * 2, geometries=geometries), maps


def test_distances_in_a_volume_are_in_millimeters(summing) -> None:
    # Slices 5 mm apart, pixels 1 mm: the longest side has 40 mm, a quarter of it is as far as two slices.
    probe, maps = volume_probe(summing, (5.0, 1.0, 1.0))
    for tolerance, expected in ((0.25, [1, 1]), (0.24, [0, 1]), (0.05, [0, 1]), (0.04, [0, 0])):
        scores = PointingGame(tolerance)(probe, maps, [])
        assert [score.value for score in scores["pointing_game"]] == expected
        assert [score.value for score in scores["hit_rate"]] == [0, 0]


def test_distances_in_a_volume_of_unknown_spacing_are_in_voxels(summing) -> None:
    probe, maps = volume_probe(summing, None)
    for tolerance, expected in ((0.2, [1, 1]), (0.19, [0, 0])):
        assert [score.value for score in PointingGame(tolerance)(probe, maps, [])["pointing_game"]] == expected
