from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.randomization import randomized, stages
from medsaliency.model.small_cnn_3d import SmallCNN3D
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError


class Embedding(nn.Module):
    """Has a parameter of its own, and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1000,), 3.0))
        self.zero = nn.Parameter(torch.zeros(5))
        self.fc = nn.Linear(1000, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1) * self.scale)


def trained() -> Classifier:
    """A convolutional network whose weights are none that an initialization gives."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )
    for values in (*module.parameters(), module[1].running_mean, module[1].running_var):
        values.data = torch.full_like(values, 7.0) + torch.arange(values.numel()).reshape(values.shape)
    return Classifier(module, ["a", "b"], mean=0.4, std=0.3, target_layer="1")


def state(classifier: Classifier) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in classifier.module.state_dict().items()}


def changed(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [("5", "1", "0")]),
        (2, [("5", "1"), ("0",)]),
        (3, [("5",), ("1",), ("0",)]),
        (9, [("5",), ("1",), ("0",)]),
    ],
)
def test_stages_go_from_the_output_to_the_input(steps, expected) -> None:
    assert stages(trained().module, steps) == expected


def test_a_module_without_parameters_has_no_stage_and_its_own_are_the_last() -> None:
    assert stages(nn.Sequential(nn.ReLU(), nn.Flatten()), 5) == []
    assert stages(Embedding(), 5) == [("fc",), ("",)]


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18", "densenet121"])
def test_stages_hold_every_parameter_once_and_are_of_one_size(architecture) -> None:
    module = build(architecture, classes=3, seed=0)
    groups = stages(module, 5)
    names = [name for group in groups for name in group]
    assert len(groups) == 5
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    held = [id(p) for name in names for p in module.get_submodule(name).parameters(recurse=False)]
    assert sorted(held) == sorted(id(p) for p in module.parameters())
    assert isinstance(module.get_submodule(names[0]), nn.Linear)


def test_the_named_layers_alone_change_and_the_classifier_stays() -> None:
    classifier = trained()
    before = state(classifier)
    other = randomized(classifier, ["5", "0"], seed=0)
    assert changed(before, state(classifier)) == set()
    assert changed(before, state(other)) == {"0.weight", "0.bias", "5.weight", "5.bias"}
    assert (other.classes, other.known_target_layer, other.execution) == (("a", "b"), "1", classifier.execution)
    assert torch.equal(other.mean, classifier.mean)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(other.logits(images), classifier.logits(images))


def test_layers_are_as_their_initialization_makes_them() -> None:
    found = state(randomized(trained(), ["0", "1", "5"], seed=0))
    for name, inputs in (("0", 9), ("5", 12)):  # torch's default: uniform within one over the root of the inputs
        for values in (found[f"{name}.weight"], found[f"{name}.bias"]):
            assert float(values.abs().max()) <= inputs**-0.5
            assert len(values.unique()) == values.numel()
    # A normalization that was never trained does nothing.
    assert torch.equal(found["1.weight"], torch.ones(3))
    assert torch.equal(found["1.bias"], found["1.running_mean"])
    assert torch.equal(found["1.running_var"], torch.ones(3))


def test_other_parameters_are_drawn_with_the_size_they_had() -> None:
    classifier = Classifier(Embedding(), ["a", "b"])
    found = state(randomized(classifier, [""], seed=0))
    assert changed(found, state(classifier)) == {"scale"}  # of zeros nothing was learned
    # Mean and deviation of 1000 values of deviation 3, within four standard errors.
    assert float(found["scale"].mean()) == pytest.approx(0, abs=4 * 3 / 1000**0.5)
    assert float(found["scale"].std()) == pytest.approx(3, abs=4 * 3 / 2000**0.5)


def test_parameters_that_an_initialization_does_not_reach_are_drawn_too() -> None:
    module = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(16, 2)))
    classifier = Classifier(module, ["a", "b"])
    (names,) = stages(module, 1)
    assert changed(state(classifier), state(randomized(classifier, names, seed=0))) == set(module.state_dict())


def test_a_layer_s_weights_hang_on_the_seed_and_its_name_alone() -> None:
    alone = state(randomized(trained(), ["0"], seed=0))
    assert torch.equal(alone["0.weight"], state(randomized(trained(), ["5", "1", "0"], seed=0))["0.weight"])
    assert not torch.equal(alone["0.weight"], state(randomized(trained(), ["0"], seed=1))["0.weight"])
    twins = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4)), ["a", "b", "c", "d"])
    both = state(randomized(twins, ["1", "2"], seed=0))
    assert not torch.equal(both["1.weight"], both["2.weight"])


def test_the_global_random_state_is_neither_read_nor_left_changed() -> None:
    classifier = trained()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one = state(randomized(classifier, ["0", "1", "5"], seed=0))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert changed(one, state(randomized(classifier, ["0", "1", "5"], seed=0))) == set()


def test_an_unknown_layer_and_a_module_that_cannot_be_copied_are_refused() -> None:
    with pytest.raises(MedsaliencyError, match="unknown layer '6'"):
        randomized(trained(), ["6"], seed=0)
    classifier = trained()
    classifier.module.kept = classifier.module[5].weight * 2
    with pytest.raises(MedsaliencyError, match="expected a module that can be copied, got Sequential"):
        randomized(classifier, ["5"], seed=0)


def test_a_network_of_volumes_is_randomized_layer_by_layer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(SmallCNN3D(2), ["a", "b"])
    groups = stages(classifier.module, 3)
    found = [changed(state(classifier), state(randomized(classifier, names, seed=0))) for names in groups]
    assert [bool(names) for names in found] == [True, True, True]
    convolutions = {f"{name}.weight" for name, layer in classifier.module.named_modules() if type(layer) is nn.Conv3d}
    assert convolutions <= set().union(*found)
