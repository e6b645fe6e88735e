from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.data.geometry import plan, to_model
from medsaliency.evaluation.energy_in_lesion import EnergyInLesion
from medsaliency.evaluation.lesion import score_lesions, share_on_lesion
from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.evaluation.lesion_overlap import LesionOverlap
from medsaliency.evaluation.metric import Metric
from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.evaluation.relevance_mass import RelevanceMass
from medsaliency.evaluation.relevance_rank import RelevanceRank
from medsaliency.model.probe import Probe
from medsaliency.types import Geometry, MedsaliencyError, Score, Turn

LESION_METRICS = [
    *(PointingGame(), LesionAUPRC(), EnergyInLesion()),
    *(RelevanceMass(), RelevanceRank(), LesionOverlap()),
]


def name(metric: Metric) -> str:
    return type(metric).__name__


def test_only_comparable_maps_are_measured_and_order_is_kept(lesion_probe) -> None:
    probe = lesion_probe([[1, 0]], None, [[0, 1]])
    seen = []

    def total(saliency: np.ndarray, lesion: np.ndarray) -> Score:
        seen.append((saliency.tolist(), lesion.tolist()))
        return Score(float(saliency[lesion].sum()))

    maps = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]])
    scores = score_lesions(probe, maps, total=total, size=lambda _, lesion: Score(float(lesion.sum())))
    assert list(scores) == ["total", "size"]
    assert scores["total"] == [Score(1.0), scores["total"][1], Score(6.0)]
    assert [score.reason for score in scores["size"]] == ["", "no lesion mask", ""]
    assert seen == [([[1.0, 2.0]], [[True, False]]), ([[5.0, 6.0]], [[False, True]])]


@pytest.mark.parametrize("metric", LESION_METRICS, ids=name)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_undefined_has_a_reason_and_is_never_a_hit(lesion_probe, metric: Metric, bad: float) -> None:
    lesion = [[1, 0], [0, 0]]
    probe = lesion_probe(lesion, None, [[0, 0], [0, 0]], [[1, 1], [1, 1]], lesion)
    maps = torch.tensor([lesion] * 4 + [[[bad, 0], [0, 0]]], dtype=torch.float32)
    scores = metric(probe, maps, [])
    assert list(scores) == [measure.name for measure in metric.measures]
    for results in scores.values():
        assert results[0].value == 1
        assert all(math.isnan(result.value) for result in results[1:])
        assert [result.reason for result in results] == [
            "",
            "no lesion mask",
            "no lesion pixel",
            "the lesion covers the whole image",
            "the map is not finite",
        ]


@pytest.mark.parametrize("metric", LESION_METRICS, ids=name)
def test_the_lesion_itself_scores_one_and_its_opposite_least(lesion_probe, metric: Metric) -> None:
    lesion = torch.zeros(12, 12)
    lesion[4:7, 5:9] = 1
    probe = lesion_probe(lesion.tolist(), lesion.tolist())
    for best, worst in metric(probe, torch.stack([lesion, -lesion]), []).values():
        assert best.value == 1
        assert worst.value <= lesion.mean() or worst.reason == "no value of the map is positive"


@pytest.mark.parametrize("metric", LESION_METRICS, ids=name)
def test_maps_of_another_size_are_refused(lesion_probe, metric: Metric) -> None:
    with pytest.raises(MedsaliencyError, match=r"^[a-z_]+: expected maps of shape \(1, 2, 2\)"):
        metric(lesion_probe([[1, 0], [0, 0]]), torch.zeros(1, 2, 3), [])


def test_a_share_is_never_above_one_by_rounding() -> None:
    weights = np.random.default_rng(0).random((50, 50), dtype=np.float32)
    lesion = weights > 0.3
    assert share_on_lesion(weights * lesion, lesion) == 1
    assert share_on_lesion(weights * ~lesion, lesion) == 0
    assert share_on_lesion(np.ones((50, 50), np.float32), lesion) == pytest.approx(lesion.mean())


def native_probe(summing, height: int, width: int, size: int, lesion: np.ndarray) -> Probe:
    geometry = Geometry((height, width), plan((height, width), size))
    image = to_model(np.zeros((1, height, width), np.float32), geometry.steps)
    return Probe(summing(), torch.from_numpy(image)[None], [0], [torch.from_numpy(lesion)], geometries=[geometry])


def received(probe: Probe, saliency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map and the lesion that a measure is given."""
    seen = []

    def keep(on: np.ndarray, lesion: np.ndarray) -> Score:
        seen.append((on, lesion))
        return Score(0.0)

    score_lesions(probe, torch.from_numpy(saliency)[None], kept=keep)
    return seen[0]


def test_without_resampling_the_native_map_is_the_part_without_padding(summing) -> None:
    lesion = np.zeros((4, 8), bool)
    lesion[1, 2] = True
    saliency = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    native, mask = received(native_probe(summing, 4, 8, 8, lesion), saliency)
    np.testing.assert_array_equal(native, saliency[2:6])
    np.testing.assert_array_equal(mask, lesion)


def test_a_maximum_on_the_padding_is_not_the_image_s(summing) -> None:
    lesion = np.zeros((4, 8), bool)
    lesion[1, 2] = True
    saliency = np.zeros((8, 8), np.float32)
    saliency[0, 0], saliency[3, 2] = 9, 1  # the first on the padding, the second on the lesion
    probe = native_probe(summing, 4, 8, 8, lesion)
    assert PointingGame()(probe, torch.from_numpy(saliency)[None], [])["hit_rate"] == [Score(1.0)]
    # Only the padding differs from the rest: on the image itself the map is constant.
    saliency[3, 2] = 0
    (result,) = EnergyInLesion()(probe, torch.from_numpy(saliency)[None], [])["energy_in_lesion"]
    assert result.reason == "the map is constant"


@pytest.mark.parametrize(("height", "width", "size"), [(37, 23, 16), (37, 61, 16), (11, 7, 16), (90, 90, 7)])
def test_the_way_to_native_pixels_invents_no_maximum_and_keeps_ties(summing, height, width, size) -> None:
    lesion = np.zeros((height, width), bool)
    lesion[2:5, 1:4] = True
    probe = native_probe(summing, height, width, size, lesion)
    rng = np.random.default_rng(0)
    for value in rng.normal(size=20).astype(np.float32):
        constant, _ = received(probe, np.full((size, size), value, np.float32))
        assert (constant == value).all()
    saliency = rng.normal(size=(size, size)).astype(np.float32)
    native, _ = received(probe, saliency)
    assert native.shape == (height, width)
    assert saliency.min() <= native.min() < native.max() <= saliency.max()


def test_a_small_lesion_that_the_model_s_grid_loses_is_scored_on_native_pixels(summing) -> None:
    lesion = np.zeros((64, 64), bool)
    lesion[21, 21] = True
    geometry = Geometry((64, 64), plan((64, 64), 8))
    image = to_model(np.zeros((1, 64, 64), np.float32), geometry.steps)
    lost = to_model(lesion, geometry.steps)
    saliency = torch.zeros(1, 8, 8)
    saliency[0, 2, 2] = 1  # covers native pixels 16 to 23
    images = torch.from_numpy(image)[None]
    on_grid = Probe(summing(), images, [0], [torch.from_numpy(lost)])
    on_native = Probe(summing(), images, [0], [torch.from_numpy(lesion)], geometries=[geometry])
    (grid,) = PointingGame(0.1)(on_grid, saliency, [])["pointing_game"]
    (native,) = PointingGame(0.1)(on_native, saliency, [])["pointing_game"]
    assert grid.reason == "no lesion pixel"
    assert native.value == 1


def test_a_turned_volume_is_scored_on_the_voxels_of_its_file(summing) -> None:
    # Stored (W, D, H), W reversed: shown as (D, H, W). A map of the model's grid that is the lesion as it is shown.
    rng = np.random.default_rng(0)
    lesion = rng.random((4, 6, 8)) < 0.1
    turn = Turn((1, 2, 0), (False, False, True))
    geometry = Geometry(lesion.shape, plan(lesion.shape, (6, 8, 4), turn=turn))
    shown = to_model(lesion, geometry.steps)
    assert shown.shape == (6, 8, 4)
    assert np.array_equal(shown, lesion.transpose(1, 2, 0)[:, :, ::-1])
    images = torch.zeros(2, 1, 6, 8, 4)
    probe = Probe(summing(), images, [0, 0], [torch.from_numpy(lesion)] * 2, geometries=[geometry] * 2)
    maps = torch.from_numpy(np.stack([shown, shown[:, :, ::-1]]).astype(np.float32))
    right, mirrored = LesionAUPRC()(probe, maps, [])["lesion_auprc"]
    assert right.value == 1
    assert mirrored.value < 0.5
    for metric in LESION_METRICS:
        for scores in metric(probe, maps, []).values():
            assert scores[0].value == 1
