from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation import delaunay, information_curves
from medsaliency.evaluation.curve import FRACTIONS, area, information_curve, score_curve
from medsaliency.evaluation.information import webp_length
from medsaliency.evaluation.information_curves import InformationCurves
from medsaliency.evaluation.ranking import rank
from medsaliency.evaluation.threads import in_threads
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import Curve, MedsaliencyError, generator

NAMES = [f"{kind}_{name}" for kind in ("aic", "sic") for name in ("entropy", "webp", "mean")]


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "information_curves") for i in range(count)]


def noise(count: int = 2, size: int = 16, channels: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def hand_image() -> torch.Tensor:
    """(1, 1, 4, 4): black corners, four bright pixels in the middle and four on the border."""
    image = torch.zeros(4, 4)
    image[1:3, 1:3] = 1
    image[0, 1] = image[0, 2] = image[3, 1] = image[3, 2] = 1
    return image[None, None]


HAND_MAP = torch.tensor([[3.0, 1, 1, 3], [1, 2, 2, 1], [1, 2, 2, 1], [3, 1, 1, 3]])[None]


def below(x: float, y: float) -> float:
    """Area under the lines (0, 0) - (x, y) - (1, 1)."""
    return x * y / 2 + (1 - x) * (1 + y) / 2


def test_curves_worked_out_by_hand(summing) -> None:
    # Start: the corners alone, all black. Step 1 reveals 4 of 16 pixels: the corners, known already. Step 2 reveals
    # 8: the corners and the middle; every border pixel lies between two black corners and stays black. So the image's
    # sum is 0, 0, 4, and 8 for the whole.
    # Probability of class b: sigmoid(ln 3 * (sum - 2) / 2) = 1/4, 1/4, 3/4 and sigmoid(3 ln 3) = 27/28.
    # SIC, scaled: 0 and (3/4 - 1/4) / (27/28 - 1/4) = 0.7. AIC: b wins above a sum of 2, so 0 and 1.
    # Entropy: step 2 has 4 of 16 pixels bright, H = 1/4 * 2 + 3/4 * log2(4/3) = 0.8113 bits; the whole 8 of 16, 1 bit.
    classifier = summing(scale=math.log(3) / 2, middle=2.0)
    metric = InformationCurves(fractions=(0.25, 0.5), start=0)
    scores = metric(Probe(classifier, hand_image(), [1]), HAND_MAP, rngs(1))
    assert list(scores) == NAMES == [measure.name for measure in metric.measures]

    # The start is the same three times (it shows the corners alone), then the whole, then the steps from each start.
    steps = torch.cat(classifier.module.shown)[:, 0].sum(dim=(1, 2))
    assert steps.tolist()[-10:] == [0, 0, 0, 8, 0, 4, 0, 4, 0, 4]
    entropy = 0.5 + 0.75 * math.log2(4 / 3)
    middle = hand_image()[0].clone()
    middle[:, [0, 0, 3, 3], [1, 2, 1, 2]] = 0
    lengths = [webp_length((255 * x).numpy().astype(np.uint8)) for x in (torch.zeros(1, 4, 4), middle, hand_image()[0])]
    assert lengths[0] < lengths[2]
    webp = min((lengths[1] - lengths[0]) / (lengths[2] - lengths[0]), 1.0)
    # In each curve step 1 is at (0, 0).
    for name, x in (("entropy", entropy), ("webp", webp), ("mean", (entropy + webp) / 2)):
        assert scores[f"sic_{name}"][0].value == pytest.approx(below(x, 0.7), abs=1e-3 if x == 1 else 1e-5)
        assert scores[f"aic_{name}"][0].value == pytest.approx(below(x, 1.0), abs=1e-3 if x == 1 else 1e-5)
    curve = scores["sic_entropy"][0].curve
    assert curve is not None
    assert curve.x == pytest.approx((0, 0, entropy, 1))
    assert curve.y == pytest.approx((0, 0, 0.7, 1))


def test_a_target_of_the_other_class_is_its_complement(summing) -> None:
    # Class a goes from 3/4 down to 1/28, so its start image scores higher than the whole.
    classifier = summing(scale=math.log(3) / 2, middle=2.0)
    metric = InformationCurves(fractions=(0.25, 0.5), start=0)
    images = hand_image().repeat(2, 1, 1, 1)
    scores = metric(Probe(classifier, images, [0, 1]), HAND_MAP.repeat(2, 1, 1), rngs(2))
    for name in NAMES:
        assert math.isnan(scores[name][0].value)
        assert scores[name][0].reason == "the start image scores no lower than the whole"
        assert scores[name][1].reason == ""


def test_an_image_with_nothing_to_reveal_is_undefined(summing) -> None:
    scores = InformationCurves()(Probe(summing(), torch.full((1, 1, 8, 8), 0.5), [1]), torch.rand(1, 8, 8), rngs(1))
    for name in NAMES:
        assert scores[name][0].reason == "the start image carries no less information than the whole"
        assert math.isnan(scores[name][0].value)


def test_a_score_below_the_minimum_is_undefined(summing) -> None:
    classifier = summing(scale=math.log(3) / 2, middle=2.0)
    metric = InformationCurves(fractions=(0.25, 0.5), start=0, minimum=0.97)
    scores = metric(Probe(classifier, hand_image(), [1]), HAND_MAP, rngs(1))
    # 27/28 = 0.964 is below 0.97; the accuracy of the whole image is 1.
    assert scores["sic_webp"][0].reason == "the whole image scores below the minimum"
    assert scores["aic_webp"][0].reason == ""


def test_ties_reveal_exactly_k_pixels_in_a_seeded_order(summing, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(image, start, ranking, counts):
        seen.append((start, ranking, counts))
        return original(image, start, ranking, counts)

    original = delaunay.reveal
    monkeypatch.setattr(delaunay, "reveal", spy)
    metric = InformationCurves(start=0.1, starts=1)
    constant = torch.zeros(1, 20, 20)
    for seed in (0, 0, 1):
        metric(Probe(summing(), noise(1, 20), [1]), constant, rngs(1, seed))
    (start, ranking, counts), again, other = (call for call in seen if len(call[1]))
    assert counts.tolist() == [round(fraction * 400) for fraction in FRACTIONS]
    assert sorted(ranking.tolist()) == list(range(400))
    assert len(set(start.tolist())) == 40
    assert np.array_equal(ranking, again[1])
    assert not np.array_equal(ranking, other[1])
    assert not np.array_equal(ranking, np.arange(400))


def test_all_methods_start_from_the_same_images_which_are_scored_once(summing) -> None:
    classifier = summing()
    images = noise(3)
    probe = Probe(classifier, images, [1, 1, 1])
    metric = InformationCurves(start=0.05, starts=2)
    metric(probe, torch.zeros(3, 16, 16), rngs(3))
    shown = torch.cat(classifier.module.shown)
    ends = shown[-(3 * 3 + 3 * 2 * len(FRACTIONS)) :][:9]
    torch.testing.assert_close(ends[6:], images)  # the model sees them unrounded
    assert not torch.equal(ends[0], ends[1])
    for maps in (noise(3)[:, 0], -noise(3)[:, 0]):
        classifier.module.shown.clear()
        metric(probe, maps, rngs(3))
        steps = torch.cat(classifier.module.shown)
        assert len(steps) == 3 * 2 * len(FRACTIONS)
        known = ends[:6, None] == images.repeat_interleave(2, dim=0)[:, None]
        again = steps.reshape(6, len(FRACTIONS), 1, 16, 16) == images.repeat_interleave(2, dim=0)[:, None]
        assert (again | ~known).all()  # what the start shows is shown at every step
    classifier.module.shown.clear()
    metric(probe, torch.zeros(3, 16, 16), rngs(3, seed=1))
    assert len(torch.cat(classifier.module.shown)) == 3 * 2 * (len(FRACTIONS) + 1)  # other starts are not shared


def test_several_starts_are_averaged_before_the_curve_is_made(summing) -> None:
    classifier = summing(scale=0.05, middle=128)
    images, maps = noise(1), noise(1, size=16)[:, 0].flip(1)
    both = InformationCurves(starts=2, start=0.05)(Probe(classifier, images, [0]), maps, rngs(1))
    (rng,) = rngs(1)
    starts = [np.sort(rng.choice(256, size=12, replace=False)) for _ in range(2)]
    order = rank(maps[0].numpy(), rng)
    performance, information = [], []
    for start in starts:
        steps = delaunay.reveal(images[0].numpy(), start, order, np.round(np.array(FRACTIONS) * 256).astype(int))
        steps = np.concatenate([steps, images.numpy()])
        performance.append(classifier.probabilities(torch.from_numpy(steps))[:, 0].double().numpy())
        information.append([webp_length(np.round(step * 255).astype(np.uint8)) for step in steps])
    y, x = np.mean(performance, axis=0), np.mean(information, axis=0)
    scaled = np.clip((x - x[0]) / (x[-1] - x[0]), 0, 1)
    expected = score_curve(y, scaled, minimum=0, points=1000)
    assert not expected.reason
    assert both["sic_webp"][0].value == pytest.approx(expected.value, abs=1e-5)


def test_the_logit_can_be_followed(summing) -> None:
    # Logit of b along the steps: 0, 0, 4 and 8 less the middle, so the second step is half way up.
    metric = InformationCurves(fractions=(0.25, 0.5), start=0, score="logit")
    scores = metric(Probe(summing(middle=2.0), hand_image(), [1]), HAND_MAP, rngs(1))
    assert scores["sic_entropy"][0].curve.y == pytest.approx((0, 0, 0.5, 1))


def test_images_of_any_number_of_channels_are_scored(summing) -> None:
    images = noise(2, channels=2)
    scores = InformationCurves()(
        Probe(summing(channels=2, scale=0.05, middle=200), images, [1, 1]), images[:, 0], rngs(2)
    )
    assert any(not score.reason for score in scores["sic_webp"])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_gives_what_its_images_give_one_by_one(summing, channels) -> None:
    classifier = summing(channels=channels, scale=0.05, middle=128 * channels)
    images, maps = noise(3, channels=channels), noise(3)[:, 0]
    metric = InformationCurves()
    together = metric(Probe(classifier, images, [0, 1, 1]), maps, rngs(3))
    for i in range(3):
        alone = metric(Probe(classifier, images[i : i + 1], [[0, 1, 1][i]]), maps[i : i + 1], rngs(3)[i : i + 1])
        for name in NAMES:
            assert together[name][i].value == pytest.approx(alone[name][0].value, abs=1e-6, nan_ok=True)
            assert together[name][i].reason == alone[name][0].reason


def test_the_truth_beats_a_random_map_where_the_model_looks_at_one_place(summing) -> None:
    # A textured square on a textured ground; the model sums the square and nothing else.
    place = torch.zeros(32, 32)
    place[10:18, 10:18] = 1
    draw = torch.Generator().manual_seed(1)
    images = 0.3 * torch.rand(6, 1, 32, 32, generator=draw) + 0.6 * place
    probe = Probe(summing(place, scale=0.3, middle=35.0), images, [1] * 6)
    truth = InformationCurves()(probe, place.repeat(6, 1, 1), rngs(6))
    random = InformationCurves()(probe, torch.rand(6, 32, 32, generator=draw), rngs(6))
    assert all(a.value > b.value + 0.05 for a, b in zip(truth["sic_webp"], random["sic_webp"], strict=True))


def test_a_score_that_falls_again_keeps_its_highest() -> None:
    how = {"minimum": 0.0, "points": 1000}
    score = score_curve(np.array([0.0, 0.8, 0.2, 1.0]), np.array([0.0, 0.3, 0.6, 1.0]), **how)
    assert score.curve == Curve((0, 0.3, 0.6, 1), (0, 0.8, 0.8, 1))
    above = score_curve(np.array([0.2, 0.9, 0.1, 0.6]), np.array([0.0, 0.3, 0.6, 1.0]), **how)
    assert above.curve == Curve((0, 0.3, 0.6, 1), (0, 1, 1, 1))


def test_points_are_in_order_of_information() -> None:
    curve = information_curve(np.array([0.5, 0.2, 1.0]), np.array([0.1, 0.4, 0.6]))
    assert curve == Curve((0, 0.2, 0.5, 1, 1), (0, 0.4, 0.1, 0.6, 1))


@pytest.mark.parametrize("points", [2, 10, 1000])
def test_the_area_under_the_diagonal_is_a_half(points: int) -> None:
    assert area(Curve((0, 1), (0, 1)), points) == pytest.approx(0.5)
    assert area(Curve((0, 0.4, 1), (0, 0.4, 1)), points) == pytest.approx(0.5)


def test_scores_stay_within_their_bounds(summing) -> None:
    probe = Probe(summing(scale=0.1, middle=128), noise(4), [0, 1, 0, 1])
    scores = InformationCurves()(probe, noise(4)[:, 0], rngs(4))
    defined = [score for name in NAMES for score in scores[name] if not score.reason]
    assert len(defined) >= 6
    assert all(0 <= score.value <= 1 and score.curve is not None for score in defined)
    assert all(list(score.curve.x) == sorted(score.curve.x) for score in defined)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_images_outside_the_display_range_are_refused(summing, value: float) -> None:
    images = noise(2)
    images[1, 0, 3, 3] = value
    with pytest.raises(MedsaliencyError, match=r"display range \[0, 1\]"):
        InformationCurves()(Probe(summing(), images, [1, 1]), noise(2)[:, 0], rngs(2))


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), noise(2), [1, 1])
    for wrong in (noise(1)[:, 0], noise(3)[:, 0], noise(2, size=18)[:, 0], noise(2)):
        with pytest.raises(MedsaliencyError, match=r"information_curves: expected maps of shape \(2, 16, 16\)"):
            InformationCurves()(probe, wrong, rngs(2))
    for count in (1, 3):
        with pytest.raises(MedsaliencyError, match=f"one generator an image, 2, got {count}"):
            InformationCurves()(probe, noise(2)[:, 0], rngs(count))


@pytest.mark.parametrize(
    "parameters",
    [
        {"fractions": (0.5, 0.2)},
        {"fractions": (0.0, 0.5)},
        {"fractions": (0.5, 1.0)},
        {"fractions": (0.5, 0.5)},
        {"start": 1.0},
        {"start": -0.1},
        {"minimum": 1.5},
        {"points": 1},
        {"starts": 0},
        {"score": "margin"},
        {"start": math.nan},
    ],
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="expected fractions ascending"):
        InformationCurves(**parameters)


def test_parameters_from_a_file_compare_and_print_like_defaults() -> None:
    assert InformationCurves(fractions=list(FRACTIONS)) == InformationCurves()
    assert eval(repr(InformationCurves(start=0.02))) == InformationCurves(start=0.02)  # noqa: S307


def test_a_classifier_with_a_single_logit_is_scored(summing) -> None:
    class Total(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.sum(dim=(1, 2, 3)) - 2)[:, None] * math.log(3) / 4

    # The logit z is (-z, z), each through a sigmoid: the same probabilities as by hand above, with half the scale.
    classifier = Classifier(Total(), ["a", "b"], output="single_logit")
    metric = InformationCurves(fractions=(0.25, 0.5), start=0)
    scores = metric(Probe(classifier, hand_image(), [1]), HAND_MAP, rngs(1))
    low, middle, high = (1 / (1 + 3 ** (-(total - 2) / 4)) for total in (0, 4, 8))
    entropy = 0.5 + 0.75 * math.log2(4 / 3)
    assert scores["sic_entropy"][0].value == pytest.approx(below(entropy, (middle - low) / (high - low)), abs=1e-5)


def test_a_volume_reveals_exactly_its_share_wherever_the_map_is_highest(summing) -> None:
    # A volume of noise around 1/2 whose third slice alone is important: first that slice is shown, the rest stays as
    # the start has it, and the score of a model that sums that slice rises with the first step as far as it can.
    volume = noise(5, 16)[:, 0][None, None]
    weights = torch.zeros(5, 16, 16)
    weights[2] = volume[0, 0, 2] - 0.5
    classifier = summing(weights, scale=2.0)
    metric = InformationCurves(fractions=(0.2, 0.6), start=0.01, starts=2)
    saliency = 10 * (weights != 0) + noise(5, 16)[:, 0]
    scores = metric(Probe(classifier, volume, [1]), saliency[None], rngs(1))
    shown = torch.cat(classifier.module.shown)[:, 0]
    exact = (shown == volume[0, 0]).flatten(2)
    first, second = exact[-4], exact[-3]
    assert first[2].all()
    assert int(first.sum()) - 256 < 5 * 4 + 0.02 * 5 * 256, "other slices show their corners and the start alone"
    assert int(second.sum()) >= round(0.6 * 5 * 256)
    curve = scores["sic_entropy"][0].curve
    assert curve is not None
    assert max(curve.y[1:-1]) == pytest.approx(1, abs=1e-6)
    assert (
        scores["sic_mean"][0].value
        > metric(Probe(classifier, volume, [1]), -saliency[None], rngs(1))["sic_mean"][0].value
    )


def test_start_images_are_made_of_few_images_at_once_and_scores_stay_the_same(
    summing, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, metric = noise(5), InformationCurves(start=0.05, starts=2)
    maps = images.flip(3)[:, 0]
    whole = metric(Probe(summing(scale=0.05, middle=128), images, [1] * 5), maps, rngs(5))
    assert any(score.curve for score in whole["sic_entropy"])
    sizes: list[int] = []

    def counted(run, tasks):
        sizes.append(len(tasks))
        return in_threads(run, tasks)

    monkeypatch.setattr(information_curves, "in_threads", counted)
    monkeypatch.setattr(information_curves, "AT_ONCE", 2 * 2 * 16 * 16)
    again = metric(Probe(summing(scale=0.05, middle=128), images, [1] * 5), maps, rngs(5))
    assert repr(again) == repr(whole)  # NaN included
    assert sizes[:3] == [4, 4, 2]  # two images of two starts
