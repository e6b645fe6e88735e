"""Metrics and checks on volumes: an image is a volume of one slice, and no metric forgets an axis."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.evaluation import METRICS, PLANAR, check_dimensions, make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.evaluation.metric import Scores
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator

IN_SPACE = sorted(set(METRICS) - PLANAR)
QUICK = {
    "information_curves": {"fractions": (0.05, 0.2, 0.5), "starts": 2, "start": 0.05},
    "road": {"fractions": (0.1, 0.5)},
    "infidelity": {"samples": 16},
    "evidence_curves": {"placements": 3},
}
COUNT = 4


def rngs(name: str) -> list[np.random.Generator]:
    return [generator(0, str(i), name) for i in range(COUNT)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def probe(classifier: Classifier, shape: tuple[int, ...], channels: int = 1) -> Probe:
    """Two images of noise, brighter on a box, each once with the one target and once with the other; one of four masks
    is missing.
    """
    box = torch.zeros(shape, dtype=torch.bool)
    box[..., 4:9, 3:8] = True
    images = (0.6 * noise(2, channels, *shape) + 0.4 * box).repeat(2, *(1,) * (1 + len(shape)))
    return Probe(classifier, images, [0, 0, 1, 1], [box, box.flip(-1), None, box.flip(-2)])


def scores_of(name: str, on: Probe, maps: Tensor) -> Scores:
    return make_metric(name, QUICK.get(name))(on, maps, rngs(name))


def assert_equal(one: Scores, other: Scores) -> None:
    assert list(one) == list(other)
    for measure, scores in one.items():
        for a, b in zip(scores, other[measure], strict=True):
            assert a.reason == b.reason
            assert a.value == pytest.approx(b.value, abs=1e-6, nan_ok=True)
            assert (a.curve is None) == (b.curve is None)
            if a.curve is not None and b.curve is not None:
                assert a.curve.x == pytest.approx(b.curve.x, abs=1e-9)
                assert a.curve.y == pytest.approx(b.curve.y, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(16, 16), (14, 20)], ids=["square", "oblong"])
@pytest.mark.parametrize("name", IN_SPACE)
def test_an_image_as_a_volume_of_one_slice_scores_the_same(summing, name, shape, channels) -> None:
    weights = noise(*shape, seed=1)
    classifier = summing(weights, scale=0.05, middle=channels * 50.0, channels=channels)
    image = probe(classifier, shape, channels)
    volume = Probe(
        classifier,
        image.images[:, :, None],
        image.objects,
        [None if lesion is None else lesion[None] for lesion in image.lesions],
    )
    maps = noise(COUNT, *shape, seed=2) - 0.3
    maps[1] = (8 * maps[1]).round()  # with ties
    found = scores_of(name, image, maps)
    assert any(not score.reason for scores in found.values() for score in scores)
    assert_equal(scores_of(name, volume, maps[:, None]), found)


def magnitude(on: Probe) -> Tensor:
    """A map of the image alone, not the same where it is mirrored."""
    return (on.images.sum(dim=1) * torch.linspace(0, 1, on.images.shape[-1])).abs()


@pytest.mark.parametrize("name", ["equivariance", "max_sensitivity"])
def test_checks_of_a_volume_of_one_slice_are_those_of_the_image(summing, name) -> None:
    image = probe(summing(), (20, 24))
    volume = Probe(image.classifier, image.images[:, :, None], image.objects)
    check = make_check(name)
    found = check(image, magnitude, magnitude(image), rngs(name))
    assert_equal(check(volume, magnitude, magnitude(volume), rngs(name)), found)


def test_randomized_weights_change_the_maps_of_a_volume_of_one_slice_as_the_image_s() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(28 * 26, 2))

    def attribution(on: Probe) -> Tensor:
        """Weights times image: what the gradient of a linear model times its input is."""
        weights = on.classifier.module[1].weight.detach()[on.targets].reshape(on.images[:, 0].shape)
        return on.images[:, 0] * weights

    image = probe(Classifier(module, ["a", "b"]), (28, 26))
    volume = Probe(image.classifier, image.images[:, :, None], image.objects)
    check = make_check("parameter_randomization", {"steps": 1})
    found = check(image, attribution, attribution(image), rngs("check"))
    assert all(not score.reason for scores in found.values() for score in scores)
    assert_equal(check(volume, attribution, attribution(volume), rngs("check")), found)


def test_metrics_of_the_plane_are_refused_before_a_volume_is_scored() -> None:
    check_dimensions(METRICS, 2)
    check_dimensions(IN_SPACE, 3)
    with pytest.raises(MedsaliencyError, match="metrics that can score volumes, got published_curves, defined in the"):
        check_dimensions(METRICS, 3)


@pytest.mark.parametrize("name", sorted(PLANAR))
def test_what_is_defined_in_the_plane_only_says_so(summing, name) -> None:
    volume = probe(summing(), (4, 12, 12))
    with pytest.raises(MedsaliencyError, match=rf"{name}: expected images \(N, C, H, W\), got volumes of shape"):
        make_metric(name)(volume, noise(COUNT, 4, 12, 12), rngs(name))


WITHOUT_ORDER = sorted(set(IN_SPACE) - {"evidence_curves", "information_curves", "road", "infidelity"})
"""Metrics that neither draw nor look at places or slices; a blur has a width by H and W."""


@pytest.mark.parametrize("name", WITHOUT_ORDER)
def test_the_order_of_axes_does_not_matter_to_scores_that_have_none(summing, name) -> None:
    # A volume and its map, both with D and H exchanged.
    parameters = {"baselines": ("mean", "black")} if name == "insertion_deletion" else None
    one = probe(summing(scale=0.02, middle=500.0), (12, 10, 14))
    other = Probe(
        one.classifier,
        one.images.transpose(2, 3),
        one.objects,
        [None if lesion is None else lesion.transpose(0, 1) for lesion in one.lesions],
    )
    maps = noise(COUNT, 12, 10, 14, seed=2)  # without ties, which would be drawn
    metric = make_metric(name, parameters)
    found = metric(one, maps, rngs(name))
    assert any(not score.reason for scores in found.values() for score in scores)
    assert_equal(metric(other, maps.transpose(1, 2), rngs(name)), found)


@pytest.mark.parametrize("name", IN_SPACE)
def test_the_best_map_of_a_volume_beats_the_same_map_turned_round(summing, name) -> None:
    # The logit is the sum over a box, which is the lesion: its mask is the best map, and mirrored the worst.
    shape = (8, 12, 12)
    box = torch.zeros(shape)
    box[1:3, 2:5, 3:7] = 1
    classifier = summing(box, scale=0.5, middle=9.0)
    images = torch.where(box > 0, 0.9, 0.3 * noise(COUNT, 1, *shape))
    on = Probe(classifier, images, [1] * COUNT, [box.bool()] * COUNT)
    metric = make_metric(name, QUICK.get(name))
    good = (box + 0.01 * noise(COUNT, *shape, seed=3)).clamp(max=1.5)
    best, worst = (metric(on, maps, rngs(name)) for maps in (good, good.flip(1)))
    families = {measure.family for measure in metric.measures}
    for measure in metric.measures:
        values = [np.mean([s.value for s in scores[measure.name] if not s.reason]) for scores in (best, worst)]
        if families == {"complexity"}:
            assert values[0] == pytest.approx(values[1], abs=1e-9)
        elif not math.isnan(values[0]):
            assert (values[0] > values[1]) == measure.higher_is_better, measure.name
