from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation import parameter_randomization
from medsaliency.evaluation.check import compare
from medsaliency.evaluation.parameter_randomization import ParameterRandomization
from medsaliency.evaluation.similarity import SIMILARITIES
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.randomization import randomized
from medsaliency.types import MedsaliencyError

SIZE = 32
NAMES = ["ssim", "spearman", "hog"]
KINDS = ["cascading", "independent"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear() -> Classifier:
    """Logits that are weighted sums of the pixels."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 2))
    module[1].weight.data = noise(2, SIZE * SIZE, seed=1)
    return Classifier(module, ["a", "b"])


def deep() -> Classifier:
    """Three layers of weights; the gradient is their product, the same for every image."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    for seed, layer in enumerate(module[1:]):
        layer.weight.data = noise(*layer.weight.shape, seed=seed)
    return Classifier(module, ["a", "b"])


def probe_of(classifier: Classifier, images: int = 3) -> Probe:
    return Probe(classifier, noise(images, 1, SIZE, SIZE), [i % 2 for i in range(images)])


def gradient(probe: Probe) -> Tensor:
    return Gradient()(probe, [])


def pixels(probe: Probe) -> Tensor:
    """A method that ignores the model."""
    return probe.images[:, 0]


def check(probe: Probe, explain: Callable[[Probe], Tensor], **parameters: int):
    return ParameterRandomization(**parameters)(probe, explain, explain(probe), [])


def test_its_measures() -> None:
    measures = ParameterRandomization().measures
    assert [m.name for m in measures] == [f"{k}_{n}{end}" for k in KINDS for n in NAMES for end in ("", "_margin")]
    assert [m.higher_is_better for m in measures] == [False, True] * 6
    assert list(check(probe_of(linear()), pixels)) == [m.name for m in measures]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_method_that_ignores_the_model_never_passes(kind, name) -> None:
    probe = probe_of(deep())
    scores = check(probe, pixels, steps=3)
    own = pixels(probe).abs()
    baseline = np.mean([s.value for s in compare(SIMILARITIES[name], own[[0, 0, 1]], own[[1, 2, 2]])])
    for i in range(3):
        assert scores[f"{kind}_{name}"][i].value == pytest.approx(1)
        assert scores[f"{kind}_{name}_margin"][i].value == pytest.approx(baseline - 1)
        assert scores[f"{kind}_{name}_margin"][i].value < -0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_linear_model_passes_by_what_its_weights_change(name) -> None:
    # Images with one target all have the same map, so the baseline is 1.
    classifier = linear()
    scores = check(Probe(classifier, noise(2, 1, SIZE, SIZE), [1, 1]), gradient, seed=5)
    old, new = (
        c.module[1].weight[1].detach().abs().reshape(SIZE, SIZE).numpy()
        for c in (classifier, randomized(classifier, ["1"], seed=5))
    )
    expected = SIMILARITIES[name](old, new).value
    assert abs(expected) < 0.5
    for kind in KINDS:  # there is only one layer
        assert [s.value for s in scores[f"{kind}_{name}"]] == pytest.approx([expected] * 2, abs=1e-4)
        assert [s.value for s in scores[f"{kind}_{name}_margin"]] == pytest.approx([1 - expected] * 2, abs=1e-4)


def test_cascading_adds_stage_to_stage_and_independent_takes_each_alone() -> None:
    classifier = deep()
    probe = probe_of(classifier)
    scores = check(probe, gradient, steps=3)
    own = gradient(probe).abs()

    def expected(layers: list[str]) -> list[float]:
        other = Probe(randomized(classifier, layers, seed=0), probe.images, probe.objects)
        return [s.value for s in compare(SIMILARITIES["spearman"], own, gradient(other).abs())]

    cascade = [expected(layers) for layers in (["3"], ["3", "2"], ["3", "2", "1"])]
    alone = [expected([layer]) for layer in ("3", "2", "1")]
    for i, score in enumerate(scores["cascading_spearman"]):
        assert score.value == cascade[-1][i]
        assert score.curve is not None
        assert score.curve.x == pytest.approx((0, 1 / 3, 2 / 3, 1))
        assert score.curve.y == (1, *(step[i] for step in cascade))
    assert [s.value for s in scores["independent_spearman"]] == pytest.approx(np.mean(alone, axis=0).tolist())
    assert cascade[1] != alone[1]


def test_a_map_that_only_turns_its_sign_has_not_changed() -> None:
    probe = probe_of(linear())

    def turned(other: Probe) -> Tensor:
        return pixels(other) if other.classifier is probe.classifier else -pixels(other)

    scores = check(probe, turned)
    assert [s.value for name in NAMES for s in scores[f"cascading_{name}"]] == pytest.approx([1] * 9)


def test_targets_stay_and_its_cost_is_what_it_says() -> None:
    # Without given targets the trained model's predictions are explained, whatever random models predict.
    classifier = deep()
    probe = Probe(classifier, noise(4, 1, SIZE, SIZE))
    seen = []

    def spy(other: Probe) -> Tensor:
        seen.append(other)
        return pixels(other)

    ParameterRandomization(steps=3)(probe, spy, pixels(probe), [])
    assert len(seen) == 2 * 3 - 1
    assert all(other.objects == probe.objects and torch.equal(other.images, probe.images) for other in seen)
    assert len({id(other.classifier.module) for other in seen} | {id(classifier.module)}) == 2 * 3
    # For this to mean something, some model must predict another class.
    assert any(Probe(other.classifier, probe.images).objects != probe.objects for other in seen)


def test_one_image_alone_has_no_margin() -> None:
    scores = check(probe_of(linear(), images=1), gradient)
    for kind in KINDS:
        assert scores[f"{kind}_ssim"][0].reason == ""
        assert math.isnan(scores[f"{kind}_ssim_margin"][0].value)
        assert scores[f"{kind}_ssim_margin"][0].reason == "one image only, so no other to compare with"


def test_a_model_without_parameters_has_nothing_to_randomize(summing) -> None:
    scores = check(probe_of(summing()), pixels)
    assert {s.reason for measure in scores.values() for s in measure} == {"the model has no parameters"}
    assert [len(measure) for measure in scores.values()] == [3] * 12


def test_a_constant_map_is_undefined_and_spoils_no_other() -> None:
    images = noise(3, 1, SIZE, SIZE)
    without = check(Probe(linear(), images[:2], [0, 0]), pixels)
    images[2] = 0
    scores = check(Probe(linear(), images, [0, 0, 0]), pixels)
    for measure, found in scores.items():
        assert found[2].reason == "a map is constant"
        assert [s.value for s in found[:2]] == [s.value for s in without[measure]]
    blank = check(Probe(linear(), torch.zeros(2, 1, SIZE, SIZE), [0, 0]), pixels)
    assert {s.reason for s in blank["cascading_ssim_margin"]} == {"a map is constant"}


def test_maps_of_which_no_two_can_be_compared_give_no_baseline() -> None:
    images = noise(2, 1, SIZE, SIZE)
    images[1] = 0
    (found, _) = check(Probe(linear(), images, [0, 0]), pixels)["cascading_ssim_margin"]
    assert found.reason == "no two maps of the batch can be compared"


def vanishing(number: int) -> Callable[[Probe], Tensor]:
    """A method whose map is zero in one call, and else the image: call 0 explains the probe itself."""
    calls = []

    def explain(probe: Probe) -> Tensor:
        calls.append(probe)
        return pixels(probe) * (len(calls) - 1 != number)

    return explain


def test_a_map_that_vanishes_on_the_way_is_not_left_out() -> None:
    # Calls 1 to 3 are the cascade, of which 1 is independent too; 4 and 5 are the other stages alone.
    probe = probe_of(deep())
    second = check(probe, vanishing(2), steps=3)
    assert second["cascading_ssim"][0].value == pytest.approx(1)  # the end of it is there
    assert second["cascading_ssim"][0].curve is None
    assert second["independent_ssim"][0].value == pytest.approx(1)
    last, alone = check(probe, vanishing(3), steps=3), check(probe, vanishing(4), steps=3)
    for found in (last["cascading_ssim"], last["cascading_ssim_margin"], alone["independent_ssim"]):
        assert [score.reason for score in found] == ["a map is constant"] * 3
    assert alone["cascading_ssim"][0].curve is not None


def test_a_baseline_is_of_fifty_pairs_of_different_images_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []

    def spy(a: np.ndarray, b: np.ndarray):
        pairs.append((a.tobytes(), b.tobytes()))
        return SIMILARITIES["spearman"](a, b)

    monkeypatch.setattr(parameter_randomization, "COMPARED", {"ssim": spy, "spearman": spy, "hog": spy})
    for images, expected in ((10, 45), (12, 50)):  # of 66
        pairs.clear()
        check(probe_of(linear(), images), pixels, steps=1)
        different = [pair for pair in pairs if pair[0] != pair[1]]
        assert len(different) == 3 * expected
        assert len(set(different)) == expected


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps) -> None:
    with pytest.raises(MedsaliencyError, match=rf"expected steps of 1 or more, got {steps}"):
        ParameterRandomization(steps=steps)


def test_maps_that_do_not_fit_are_refused() -> None:
    probe = probe_of(linear())
    with pytest.raises(MedsaliencyError, match=r"parameter_randomization: expected maps of shape \(3, 32, 32\)"):
        ParameterRandomization()(probe, pixels, torch.zeros(2, 32, 32), [])
    with pytest.raises(MedsaliencyError, match=r"got \(1, 32, 32\)"):
        ParameterRandomization()(probe, lambda _: torch.zeros(1, 32, 32), pixels(probe), [])
