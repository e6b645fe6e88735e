from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.evaluation.evidence_curves import EvidenceCurves, moved
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator

NAMES = ["evidence", "insertion_gain", "deletion_gain", "place_rank"]


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "evidence_curves") for i in range(count)]


def place(size: int = 16, side: int = 4) -> torch.Tensor:
    found = torch.zeros(size, size)
    found[3 : 3 + side, 5 : 5 + side] = 1
    return found


def test_a_sum_of_pixels_gives_evidence_worked_out_by_hand(summing) -> None:
    # A white image on black, whose logit of b counts the shown pixels of the place. The map is the place (16 of 256
    # pixels), shown by its first step to a half and by its second wholly.
    weights = place()
    metric = EvidenceCurves(fractions=(8 / 256, 32 / 256), placements=3, baseline="black", score="logit")
    scores = metric(Probe(summing(weights), torch.ones(1, 1, 16, 16), [1]), weights[None], rngs(1))
    assert list(scores) == NAMES == [measure.name for measure in metric.measures]
    insertion = scores["insertion_gain"][0].curve
    deletion = scores["deletion_gain"][0].curve
    assert insertion.x == deletion.x == (8 / 256, 32 / 256)
    assert insertion.y == (8, 16)
    assert deletion.y == (8, 0)
    # What the copies show is counted here from the same draws; ties of a copy are broken at random, so its first step
    # may show other pixels of it, but as a copy is a square of equal values only the number on the place matters.
    (rng,) = rngs(1)
    copies = [moved(weights.numpy(), rng) for _ in range(3)]
    wholly = [float((weights.numpy() * copy).sum()) for copy in copies]
    gain = scores["insertion_gain"][0].value
    assert gain == pytest.approx(scores["deletion_gain"][0].value)
    assert scores["evidence"][0].value == pytest.approx(2 * gain)
    # The second step shows a copy wholly and 16 tied pixels more; the first at most 8 of it.
    assert gain < 12 - np.mean(wholly) / 2 + 1e-6
    assert gain >= 12 - np.mean([(min(8, w) + min(16, w + 16)) / 2 for w in wholly]) - 1e-6
    assert scores["place_rank"][0].value == np.mean([w < 16 for w in wholly])


def test_a_random_map_has_no_gain_on_average_and_the_truth_has(summing) -> None:
    draw = torch.Generator().manual_seed(0)
    count = 40
    images = 0.5 * torch.rand(count, 1, 16, 16, generator=draw) + 0.5 * place()
    probe = Probe(summing(place(), scale=0.5, middle=10), images, [1] * count)
    metric = EvidenceCurves(placements=6)
    random = metric(probe, torch.rand(count, 16, 16, generator=draw), rngs(count))
    truth = metric(probe, place().expand(count, -1, -1), rngs(count))
    values = np.array([score.value for score in random["evidence"]])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(count)
    ranks = np.array([score.value for score in random["place_rank"]])
    assert abs(ranks.mean() - 0.5) < 3 * 0.3 / math.sqrt(count)
    assert np.mean([score.value for score in truth["place_rank"]]) > 0.75
    assert np.mean([score.value for score in truth["evidence"]]) > values.mean() + 4 * values.std() / math.sqrt(count)


def test_no_image_is_left_out_whatever_it_scores(summing) -> None:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    probe = Probe(summing(scale=3.0, middle=100), images, [0, 1])  # one class falls where the other rises
    scores = EvidenceCurves()(probe, torch.rand(2, 16, 16), rngs(2))
    assert all(math.isfinite(score.value) for name in NAMES for score in scores[name])


def test_a_map_that_is_not_finite_is_undefined(summing) -> None:
    maps = torch.rand(2, 16, 16)
    maps[0, 2, 2] = math.nan
    scores = EvidenceCurves()(Probe(summing(), torch.rand(2, 1, 16, 16), [1, 1]), maps, rngs(2))
    for name in NAMES:
        assert scores[name][0].reason == "the map is not finite"
        assert scores[name][1].reason == ""


def test_a_batch_gives_what_its_images_give_one_by_one(summing) -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    classifier = summing(place(), scale=0.5, middle=8)
    metric = EvidenceCurves(placements=2)
    together = metric(Probe(classifier, images, [0, 1, 1]), maps, rngs(3))
    for i in range(3):
        alone = metric(Probe(classifier, images[i : i + 1], [[0, 1, 1][i]]), maps[i : i + 1], rngs(3)[i : i + 1])
        for name in NAMES:
            assert together[name][i].value == pytest.approx(alone[name][0].value, abs=1e-6)


def test_every_step_shows_exactly_its_share_of_pixels(summing) -> None:
    classifier = summing()
    metric = EvidenceCurves(fractions=(0.1, 0.5), placements=2, baseline="black")
    metric(Probe(classifier, torch.ones(1, 1, 10, 10), [1]), torch.zeros(1, 10, 10), rngs(1))
    shown = torch.cat(classifier.module.shown[-1:]).sum(dim=(1, 2, 3))
    assert shown.tolist() == [10, 50] * 3 + [90, 50] * 3


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_moved_map_has_the_same_values_elsewhere(height: int, width: int, seed: int) -> None:
    saliency = np.arange(height * width, dtype=np.float32).reshape(height, width)
    found = moved(saliency, np.random.default_rng(seed))
    assert found.shape == saliency.shape
    assert sorted(found.ravel()) == sorted(saliency.ravel())


@pytest.mark.parametrize(
    "parameters",
    [
        {"fractions": (0.5, 0.2)},
        {"fractions": (0.0, 0.5)},
        {"fractions": ()},
        {"placements": 0},
        {"sigma": 0.0},
        {"sigma": math.nan},
        {"score": "margin"},
    ],
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="evidence_curves: expected fractions ascending"):
        EvidenceCurves(**parameters)


def test_an_unknown_baseline_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(MedsaliencyError, match=r"evidence_curves: expected baseline .*'blurr'.*blur"):
        EvidenceCurves(baseline="blurr")


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), torch.rand(2, 1, 16, 16), [1, 1])
    with pytest.raises(MedsaliencyError, match=r"evidence_curves: expected maps of shape \(2, 16, 16\)"):
        EvidenceCurves()(probe, torch.rand(1, 16, 16), rngs(2))
    with pytest.raises(MedsaliencyError, match="one generator an image, 2, got 1"):
        EvidenceCurves()(probe, torch.rand(2, 16, 16), rngs(1))


@given(shape=st.tuples(*[st.integers(1, 5)] * 3), seed=st.integers(0, 99))
def test_a_moved_volume_has_its_shape_and_the_same_values_elsewhere(shape: tuple[int, ...], seed: int) -> None:
    saliency = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    found = moved(saliency, np.random.default_rng(seed))
    assert found.shape == saliency.shape
    assert sorted(found.ravel()) == sorted(saliency.ravel())


def turns(shape: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    """For each axis of moved volumes, along which axis of the volume itself its neighbors lie, and in which direction.

    The volume holds at every place its own index, so that a step along an axis of a copy tells where it leads.
    """
    indices = np.arange(math.prod(shape)).reshape(shape)
    seen = set()
    for seed in range(500):
        copy = moved(indices.astype(np.float32), np.random.default_rng(seed)).astype(int)
        places = np.stack(np.unravel_index(copy, shape))
        steps = []
        for axis in range(3):
            # Round the edges a step of one is one of minus all others; the median is not at an edge.
            step = np.median(np.diff(places, axis=1 + axis).reshape(3, -1), axis=1)
            along = int(np.flatnonzero(step)[0])
            steps.append((along, int(step[along])))
        seen.add(tuple(steps))
    return seen


def test_volumes_are_turned_and_mirrored_in_every_way_that_keeps_their_shape() -> None:
    assert len(turns((5, 5, 5))) == 48, "3 axes in 6 orders, each in 2 directions"
    oblong = turns((4, 5, 5))
    assert len(oblong) == 16
    assert all(first[0] == 0 for first, *_ in oblong), "the axis that is shorter stays"
    assert len(turns((4, 5, 6))) == 8


def test_a_moved_slice_is_the_moved_image() -> None:
    saliency = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    for seed in range(20):
        found = moved(saliency[None], np.random.default_rng(seed))
        np.testing.assert_array_equal(found[0], moved(saliency, np.random.default_rng(seed)))
