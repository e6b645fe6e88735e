from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation.max_sensitivity import MaxSensitivity
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "max_sensitivity") for i in range(count)]


def pixels(probe: Probe) -> Tensor:
    """A method whose map is the image, channels summed."""
    return probe.images.sum(dim=1)


def images(count: int = 2, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 6, 5, generator=torch.Generator().manual_seed(0))


def test_the_gradient_of_a_linear_model_does_not_move(summing) -> None:
    probe = Probe(summing(torch.rand(6, 5, generator=torch.Generator().manual_seed(1))), images(), [1, 1])
    maps = Gradient()(probe, [])
    (score, other) = MaxSensitivity()(probe, lambda p: Gradient()(p, []), maps, rngs(2))["max_sensitivity"]
    assert score.value == other.value == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_map_that_is_the_image_moves_by_the_longest_noise(summing, channels) -> None:
    probe = Probe(summing(channels=channels), images(channels=channels), [1, 1])
    maps = pixels(probe)
    found = MaxSensitivity(samples=4, radius=0.3)(probe, pixels, maps, rngs(2))["max_sensitivity"]
    for saliency, score, rng in zip(maps.double(), found, rngs(2), strict=True):
        lengths = [np.linalg.norm(rng.uniform(-0.3, 0.3, (channels, 6, 5)).sum(axis=0)) for _ in range(4)]
        assert score.value == pytest.approx(max(lengths) / float(saliency.norm()), rel=1e-4)


def test_it_is_a_share_of_the_map(summing) -> None:
    probe = Probe(summing(), images(), [1, 1])
    one = MaxSensitivity()(probe, pixels, pixels(probe), rngs(2))["max_sensitivity"]
    thousand = MaxSensitivity()(probe, lambda p: -1000 * pixels(p), -1000 * pixels(probe), rngs(2))["max_sensitivity"]
    assert [s.value for s in thousand] == pytest.approx([s.value for s in one], rel=1e-3)


def test_a_change_of_sign_is_twice_the_map(summing) -> None:
    probe = Probe(summing(), images(), [1, 1])
    found = MaxSensitivity(samples=1)(probe, lambda _: -pixels(probe), pixels(probe), rngs(2))["max_sensitivity"]
    assert [s.value for s in found] == pytest.approx([2, 2])


def test_noise_is_an_image_s_own_and_within_the_radius(summing) -> None:
    seen = []

    def spy(probe: Probe) -> Tensor:
        seen.append(probe)
        return pixels(probe)

    probe = Probe(summing(), images(3))
    MaxSensitivity(samples=5, radius=0.1)(probe, spy, pixels(probe), rngs(3))
    noise = torch.stack([p.images for p in seen]) - images(3)
    assert len(seen) == 5
    assert 0.09 < float(noise.abs().max()) <= 0.1 + 1e-6
    assert float(noise.min()) < -0.09
    assert len({tuple(part.flatten().tolist()) for part in noise.flatten(0, 1)}) == 15
    assert all(p.objects == probe.objects for p in seen)
    # In another batch the image has the same noise.
    seen.clear()
    alone = Probe(summing(), images(3)[2:])
    MaxSensitivity(samples=5, radius=0.1)(alone, spy, pixels(alone), rngs(3)[2:])
    torch.testing.assert_close(torch.stack([p.images for p in seen])[:, 0] - images(3)[2], noise[:, 2])


def test_targets_stay_where_noise_changes_the_prediction(summing) -> None:
    # The middle is the image's own sum, so that noise alone decides the class.
    one = images(1)
    probe = Probe(summing(middle=float(one.sum())), one, [0])
    predicted, explained = set(), set()

    def spy(noisy: Probe) -> Tensor:
        predicted.update(noisy.logits.argmax(dim=1).tolist())
        explained.update(noisy.targets.tolist())
        return pixels(noisy)

    MaxSensitivity()(probe, spy, pixels(probe), rngs(1))
    assert predicted == {0, 1}
    assert explained == {0}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_undefined_has_a_reason(summing, bad) -> None:
    probe = Probe(summing(), images(3), [1, 1, 1])
    maps = pixels(probe)
    maps[0] = 0
    maps[1, 0, 0] = bad
    found = MaxSensitivity()(probe, pixels, maps, rngs(3))["max_sensitivity"]
    assert [s.reason for s in found] == ["the map is zero everywhere", "a map is not finite", ""]

    def broken(noisy: Probe) -> Tensor:
        again = pixels(noisy)
        again[0, 2, 2] = bad
        return again

    again = MaxSensitivity()(probe, broken, pixels(probe), rngs(3))["max_sensitivity"]
    assert [s.reason for s in again] == ["a map is not finite", "", ""]


@pytest.mark.parametrize("parameters", [{"samples": 0}, {"radius": 0.0}, {"radius": -1.0}, {"radius": math.inf}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="expected samples of 1 or more and radius above 0"):
        MaxSensitivity(**parameters)


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), images(), [1, 1])
    with pytest.raises(MedsaliencyError, match=r"max_sensitivity: expected maps of shape \(2, 6, 5\)"):
        MaxSensitivity()(probe, pixels, torch.zeros(2, 5, 6), rngs(2))
    with pytest.raises(MedsaliencyError, match="expected one generator an image, 2, got 1"):
        MaxSensitivity()(probe, pixels, pixels(probe), rngs(1))
