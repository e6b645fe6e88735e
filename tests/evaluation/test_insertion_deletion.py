from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import auc

from medsaliency.evaluation.baselines import make_baseline
from medsaliency.evaluation.insertion_deletion import InsertionDeletion
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator

NAMES = ["insertion_blur", "insertion_mean", "deletion_blur", "deletion_mean"]
QUARTERS = (0.25, 0.5, 0.75)


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "insertion_deletion") for i in range(count)]


def noise(count: int = 2, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_two_by_two_by_hand(summing) -> None:
    # A white image on black, of which the model counts 2, 1, 1 and 0. The probability of b is 3^(sum - 2) to 1, so that
    # sums of 0 to 4 give 0.1, 0.25, 0.5, 0.75 and 0.9. Shown in the map's order the sums are 0, 2, 3, 4, 4, and 4, 2,
    # 1, 0, 0 as they are taken. The four trapezoids are a quarter wide.
    classifier = summing(torch.tensor([[2.0, 1], [1, 0]]), scale=math.log(3), middle=2.0)
    metric = InsertionDeletion(baselines=("black",), fractions=QUARTERS)
    saliency = torch.tensor([[[4.0, 3], [2, 1]]])
    scores = metric(Probe(classifier, torch.ones(1, 1, 2, 2), [1]), saliency, rngs(1))
    assert list(scores) == ["insertion_black", "deletion_black"] == [measure.name for measure in metric.measures]
    (insertion,), (deletion,) = scores.values()
    assert insertion.curve.x == deletion.curve.x == (0, 0.25, 0.5, 0.75, 1)
    assert insertion.curve.y == pytest.approx((0.1, 0.5, 0.75, 0.9, 0.9))
    assert deletion.curve.y == pytest.approx((0.9, 0.5, 0.25, 0.1, 0.1))
    assert insertion.value == pytest.approx((0.05 + 0.5 + 0.75 + 0.9 + 0.45) / 4)
    assert deletion.value == pytest.approx((0.45 + 0.5 + 0.25 + 0.1 + 0.05) / 4)


def test_the_other_class_has_the_complement(summing) -> None:
    probe = Probe(summing(scale=0.1, middle=128), noise(1).repeat(2, 1, 1, 1), [0, 1])
    maps = noise(1, seed=1)[:, 0].repeat(2, 1, 1)
    for scores in InsertionDeletion()(probe, maps, [*rngs(1), *rngs(1)]).values():
        assert scores[0].value + scores[1].value == pytest.approx(1, abs=1e-5)


def test_taking_the_best_pixels_leaves_the_worst_shown(summing) -> None:
    probe = Probe(summing(scale=0.1, middle=128), noise(), [1, 1])
    maps = noise(seed=1)[:, 0]  # no two pixels alike
    metric = InsertionDeletion(fractions=QUARTERS)
    one, other = metric(probe, maps, rngs(2)), metric(probe, -maps, rngs(2))
    for name in ("blur", "mean"):
        for taken, shown in zip(one[f"deletion_{name}"], other[f"insertion_{name}"], strict=True):
            assert taken.value == pytest.approx(shown.value, abs=1e-6)
            assert taken.curve.y == pytest.approx(shown.curve.y[::-1], abs=1e-6)


@pytest.mark.parametrize("baseline", ["blur", "mean", "black"])
def test_each_step_is_as_made_pixel_by_pixel(summing, baseline) -> None:
    weights = noise(1, seed=2)[0, 0]
    classifier = summing(weights, scale=0.2, middle=64)
    images, maps = noise(), noise(seed=1)[:, 0]
    fractions = (0.1, 0.3, 1.0)
    metric = InsertionDeletion((baseline,), fractions, sigma=0.1)
    scores = metric(Probe(classifier, images, [1, 1]), maps, rngs(2))
    bases = make_baseline(images, baseline, 0.1)
    for i in range(2):
        order = maps[i].flatten().argsort(descending=True)
        for name, above, below in (("insertion", images, bases), ("deletion", bases, images)):
            expected = []
            for fraction in (0.0, *fractions):
                made = below[i].clone().flatten()
                for pixel in order[: round(fraction * 256)]:
                    made[pixel] = above[i].flatten()[pixel]
                expected.append(float(torch.sigmoid(0.2 * ((made * weights.flatten()).sum() - 64))))
            found = scores[f"{name}_{baseline}"][i]
            assert found.curve.y == pytest.approx((*expected, expected[-1]), abs=1e-5)
            shares = (0, 26 / 256, 77 / 256, 1, 1)
            assert found.curve.x == pytest.approx(shares)
            assert found.value == pytest.approx(auc(shares, found.curve.y))


def test_shares_are_those_of_whole_pixels(summing) -> None:
    # Of 9 pixels a tenth is 1 and a half 4.
    (score,) = InsertionDeletion(("mean",), (0.1, 0.5))(
        Probe(summing(), noise(1, 3), [1]), noise(1, 3, seed=1)[:, 0], rngs(1)
    )["deletion_mean"]
    assert score.curve.x == pytest.approx((0, 1 / 9, 4 / 9, 1))
    assert score.value == pytest.approx(auc(score.curve.x, score.curve.y))


def test_the_truth_beats_its_opposite(summing) -> None:
    weights = torch.zeros(16, 16)
    weights[4:8, 4:8] = 1
    probe = Probe(summing(weights, scale=1.0, middle=10), 0.2 + 0.8 * weights[None, None], [1])
    truth, opposite = (InsertionDeletion()(probe, sign * weights[None], rngs(1)) for sign in (1, -1))
    for measure in InsertionDeletion().measures:
        better = truth[measure.name][0].value - opposite[measure.name][0].value
        assert (better if measure.higher_is_better else -better) > 0.3


def test_ties_show_and_take_exactly_k_pixels(summing) -> None:
    classifier = summing()
    InsertionDeletion(("black",), (0.1, 0.5))(
        Probe(classifier, torch.ones(1, 1, 10, 10), [1]), torch.zeros(1, 10, 10), rngs(1)
    )
    sums = torch.cat(classifier.module.shown).sum(dim=(1, 2, 3)).tolist()
    assert sums[-6:] == [10, 50, 90, 50, 100, 0]  # inserted, deleted, the whole, the baseline


def test_what_does_not_depend_on_the_map_is_passed_once(summing) -> None:
    classifier = summing()
    probe = Probe(classifier, noise(3), [1, 1, 1])
    metric = InsertionDeletion()
    steps = 3 * 2 * 2 * len(metric.fractions)
    probe.probabilities_of(probe.images)  # what the classifier does once, it has done
    for seed, extra in ((1, 3 * (1 + 2)), (2, 0)):
        classifier.module.shown.clear()
        metric(probe, noise(3, seed=seed)[:, 0], rngs(3))
        assert len(torch.cat(classifier.module.shown)) == steps + extra
    classifier.module.shown.clear()
    InsertionDeletion(sigma=0.05)(probe, noise(3)[:, 0], rngs(3))
    assert len(torch.cat(classifier.module.shown)) == steps + 2 * 3  # both baselines again, not the whole


def test_a_map_that_is_not_finite_is_undefined(summing) -> None:
    maps = noise(3, seed=1)[:, 0]
    maps[0, 2, 2], maps[1, 0, 0] = math.nan, math.inf
    scores = InsertionDeletion()(Probe(summing(), noise(3), [1, 1, 1]), maps, rngs(3))
    for name in NAMES:
        assert [score.reason for score in scores[name]] == ["the map is not finite"] * 2 + [""]


def test_a_batch_gives_what_its_images_give_one_by_one(summing) -> None:
    classifier = summing(noise(1, seed=3)[0, 0], scale=0.2, middle=64)
    images, maps, targets = noise(3), noise(3, seed=1)[:, 0].round(decimals=1), [0, 1, 1]
    together = InsertionDeletion()(Probe(classifier, images, targets), maps, rngs(3))
    assert list(together) == NAMES == [measure.name for measure in InsertionDeletion().measures]
    for i in range(3):
        probe = Probe(classifier, images[i : i + 1], targets[i : i + 1])
        alone = InsertionDeletion()(probe, maps[i : i + 1], rngs(3)[i : i + 1])
        for name in NAMES:
            assert together[name][i].value == pytest.approx(alone[name][0].value, abs=1e-6)
            assert 0 <= together[name][i].value <= 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"fractions": (0.5, 0.2)},
        {"fractions": (0.0, 0.5)},
        {"fractions": (0.5, 1.1)},
        {"fractions": (0.5, 0.5)},
        {"fractions": ()},
        {"fractions": (math.nan,)},
        {"baselines": ()},
        {"baselines": ("mean", "mean")},
        {"sigma": 0.0},
        {"sigma": math.nan},
    ],
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="insertion_deletion: expected baselines, each once, fractions ascend"):
        InsertionDeletion(**parameters)


def test_an_unknown_baseline_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(MedsaliencyError, match=r"insertion_deletion: expected baseline .*'blurr'.*blur"):
        InsertionDeletion(baselines=("mean", "blurr"))


def test_parameters_from_a_file_compare_like_defaults() -> None:
    metric = InsertionDeletion()
    assert InsertionDeletion(baselines=list(metric.baselines), fractions=list(metric.fractions)) == metric


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), noise(), [1, 1])
    with pytest.raises(MedsaliencyError, match=r"insertion_deletion: expected maps of shape \(2, 16, 16\)"):
        InsertionDeletion()(probe, noise(1)[:, 0], rngs(2))
    with pytest.raises(MedsaliencyError, match="one generator an image, 2, got 1"):
        InsertionDeletion()(probe, noise()[:, 0], rngs(1))
