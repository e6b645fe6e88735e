from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from medsaliency.evaluation.baselines import make_baseline
from medsaliency.evaluation.infidelity import Infidelity, hide, patch_sums, scaled_infidelity
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast
from medsaliency.types import MedsaliencyError, generator

NAMES = ["infidelity", "faithfulness_correlation"]
WEIGHTS = torch.randn(12, 10, generator=torch.Generator().manual_seed(5))


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "infidelity") for i in range(count)]


def noise(count: int = 2, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, 12, 10, generator=torch.Generator().manual_seed(seed))


def values(metric: Infidelity, probe: Probe, maps: torch.Tensor, seed: int = 0) -> list[list[float]]:
    scores = metric(probe, maps, rngs(len(probe), seed))
    return [[score.value for score in scores[name]] for name in NAMES]


def test_a_linear_model_s_gradient_times_input_is_exact(summing) -> None:
    probe = Probe(summing(WEIGHTS, scale=2.0, middle=3.0), noise(), [1, 1])
    infidelity, correlation = values(Infidelity(baseline="black"), probe, noise()[:, 0] * WEIGHTS)
    assert infidelity == pytest.approx([0, 0], abs=1e-9)
    assert correlation == pytest.approx([1, 1])


@pytest.mark.parametrize("baseline", ["black", "mean", "blur"])
def test_times_what_the_baseline_takes_away_it_is_for_any_baseline(summing, baseline) -> None:
    images = noise(channels=3)
    probe = Probe(summing(WEIGHTS, channels=3), images, [1, 1])
    maps = ((images - make_baseline(images, baseline, 0.1)) * WEIGHTS).sum(dim=1)
    infidelity, correlation = values(Infidelity(baseline=baseline, sigma=0.1), probe, maps)
    assert infidelity == pytest.approx([0, 0], abs=1e-9)
    assert correlation == pytest.approx([1, 1])


def test_a_map_of_opposite_sign_gains_nothing(summing) -> None:
    probe = Probe(summing(WEIGHTS), noise(), [1, 1])
    infidelity, correlation = values(Infidelity(baseline="black"), probe, -noise()[:, 0] * WEIGHTS)
    assert infidelity == [1, 1]
    assert correlation == pytest.approx([-1, -1])


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e20])
def test_the_scale_of_a_map_does_not_matter(summing, scale) -> None:
    probe, maps = Probe(summing(WEIGHTS), noise(), [1, 1]), noise()[:, 0] * WEIGHTS + noise(seed=1)[:, 0]
    found, one = values(Infidelity(), probe, scale * maps), values(Infidelity(), probe, maps)
    assert all(0 < value < 1 for value in one[0])
    assert found[0] == pytest.approx(one[0], rel=1e-4)
    assert found[1] == pytest.approx(one[1], rel=1e-4)


def test_two_patches_by_hand() -> None:
    # Sums of 1 for falls of 1 and 0: the best multiple is a half, and errs by a half twice. Zeros err by 1 once.
    assert scaled_infidelity(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx((0.25 + 0.25) / 1)
    assert scaled_infidelity(np.array([-1.0, -1.0]), np.array([1.0, 0.0])) == 1
    assert scaled_infidelity(np.zeros(2), np.array([1.0, 0.0])) == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_best_multiple_is_that_of_nonnegative_least_squares(seed) -> None:
    sums, falls = np.random.default_rng(seed).normal(size=(2, 40))
    _, residual = nnls(sums[:, None], falls)
    assert scaled_infidelity(sums, falls) == pytest.approx(residual**2 / (falls @ falls))


def test_patches_are_hidden_and_summed_as_by_hand() -> None:
    image, base = noise(2, channels=3)
    corners = np.array([[0, 0], [9, 7], [4, 2]])
    hidden = hide(image, base, corners, np.array([3, 3]))
    sums = patch_sums(image[0].numpy(), corners, np.array([3, 3]))
    for copy, total, (top, left) in zip(hidden, sums, corners, strict=True):
        expected = image.clone()
        expected[:, top : top + 3, left : left + 3] = base[:, top : top + 3, left : left + 3]
        assert torch.equal(copy, expected)
        assert total == pytest.approx(float(image[0, top : top + 3, left : left + 3].sum()))


def test_patches_lie_within_the_image_and_reach_every_pixel(summing) -> None:
    classifier = summing()
    metric = Infidelity(samples=300, patch=0.3, baseline="black")
    metric(Probe(classifier, torch.ones(1, 1, 12, 10), [1]), noise(1)[:, 0], rngs(1))
    hidden = 1 - torch.cat(classifier.module.shown)[-300:, 0]
    assert (hidden.sum(dim=(1, 2)) == 9).all()
    assert (hidden.sum(dim=0) > 0).all()


def test_the_patches_of_an_image_are_the_same_for_all_maps_and_passed_once(summing) -> None:
    classifier = summing(WEIGHTS)
    probe = Probe(classifier, noise(3), [1, 1, 1])
    metric = Infidelity(samples=40)
    for maps, seed, passed in ((noise(3), 0, 3 * 41), (noise(3, seed=1), 0, 0), (noise(3), 1, 3 * 40)):
        classifier.module.shown.clear()
        metric(probe, maps[:, 0], rngs(3, seed))
        assert sum(map(len, classifier.module.shown)) == passed


def test_what_falls_is_the_target_s_own_score(summing) -> None:
    # The logit of a is always 0; that of b less that of a is that of b, the other way round its opposite.
    probe = Probe(summing(WEIGHTS), noise(1).repeat(4, 1, 1, 1), [0, 1, Contrast(1, 0), Contrast(0, 1)])
    maps = noise(1, seed=1)[:, 0].repeat(4, 1, 1)
    maps[3] *= -1
    scores = Infidelity()(probe, maps, [*rngs(1), *rngs(1), *rngs(1), *rngs(1)])
    for name in NAMES:
        none, logit, contrast, opposite = scores[name]
        assert none.reason == "no patch changes the score"
        assert logit.value == pytest.approx(contrast.value)
        assert logit.value == pytest.approx(opposite.value)


def test_what_is_undefined_has_a_reason(summing) -> None:
    # Image 0 is white, so that each patch takes as much of it; the maps of 1 and 2 are the same everywhere.
    images, maps = noise(5), noise(5, seed=1)[:, 0]
    images[0] = 1
    maps[1], maps[2] = 0.3, 0
    maps[3, 11, 9], maps[4, 0, 0] = math.nan, math.inf
    scores = Infidelity(samples=5, patch=0.2, baseline="black")(Probe(summing(), images, [1] * 5), maps, rngs(5))
    assert [score.reason for score in scores["infidelity"]] == ["", "", ""] + ["the map is not finite"] * 2
    assert [score.reason for score in scores["faithfulness_correlation"]] == [
        "every patch changes the score alike",
        "the map has the same sum over every patch",
        "the map has the same sum over every patch",
        "the map is not finite",
        "the map is not finite",
    ]
    assert scores["infidelity"][2].value == 1  # a map of zeros is what infidelity compares with


def test_rounding_does_not_count_as_a_change(summing) -> None:
    # The black baseline of a black image changes nothing, though the score itself is large.
    scores = Infidelity(baseline="black")(
        Probe(summing(middle=1e4), torch.zeros(1, 1, 12, 10)), noise(1)[:, 0], rngs(1)
    )
    faint = Infidelity(baseline="black")(
        Probe(summing(middle=1e4), torch.full((1, 1, 12, 10), 1e-3), [1]), noise(1)[:, 0], rngs(1)
    )
    for name in NAMES:
        assert scores[name][0].reason == faint[name][0].reason == "no patch changes the score"


def test_a_batch_gives_what_its_images_give_one_by_one(summing) -> None:
    classifier = summing(WEIGHTS, scale=0.7)
    images, maps = noise(3), noise(3, seed=1)[:, 0]
    together = Infidelity()(Probe(classifier, images, [1] * 3), maps, rngs(3))
    assert list(together) == NAMES == [measure.name for measure in Infidelity().measures]
    for i in range(3):
        alone = Infidelity()(Probe(classifier, images[i : i + 1], [1]), maps[i : i + 1], rngs(3)[i : i + 1])
        for name in NAMES:
            assert together[name][i].value == pytest.approx(alone[name][0].value, abs=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [{"samples": 2}, {"patch": 0.0}, {"patch": 1.1}, {"patch": math.nan}, {"sigma": 0.0}, {"sigma": math.inf}],
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="infidelity: expected samples of 3 or more"):
        Infidelity(**parameters)


def test_an_unknown_baseline_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(MedsaliencyError, match=r"infidelity: expected baseline .*'blakc'.*black"):
        Infidelity(baseline="blakc")


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), noise(), [1, 1])
    with pytest.raises(MedsaliencyError, match=r"infidelity: expected maps of shape \(2, 12, 10\)"):
        Infidelity()(probe, torch.zeros(2, 10, 12), rngs(2))
    with pytest.raises(MedsaliencyError, match="one generator an image, 2, got 1"):
        Infidelity()(probe, noise()[:, 0], rngs(1))


def test_cubes_are_hidden_and_summed_as_by_hand() -> None:
    generator_of = torch.Generator().manual_seed(0)
    volume, base = torch.rand(2, 1, 6, 10, 12, generator=generator_of)
    corners = np.array([[0, 0, 0], [3, 7, 9], [2, 4, 1]])
    hidden = hide(volume, base, corners, np.array([2, 3, 3]))
    sums = patch_sums(volume[0].numpy(), corners, np.array([2, 3, 3]))
    for copy, total, (d, h, w) in zip(hidden, sums, corners, strict=True):
        expected = volume.clone()
        expected[:, d : d + 2, h : h + 3, w : w + 3] = base[:, d : d + 2, h : h + 3, w : w + 3]
        assert torch.equal(copy, expected)
        assert total == pytest.approx(float(volume[0, d : d + 2, h : h + 3, w : w + 3].sum()))


def test_cubes_lie_within_the_volume_and_reach_every_voxel_of_few_slices_too(summing) -> None:
    for depth, size in ((6, 27), (2, 18)):
        classifier = summing()
        metric = Infidelity(samples=3000, patch=0.3, baseline="black")
        maps = torch.rand(1, depth, 12, 10, generator=torch.Generator().manual_seed(0))
        metric(Probe(classifier, torch.ones(1, 1, depth, 12, 10), [1]), maps, rngs(1))
        hidden = 1 - torch.cat(classifier.module.shown)[-3000:, 0]
        assert (hidden.sum(dim=(1, 2, 3)) == size).all()
        assert (hidden.sum(dim=0) > 0).all()
