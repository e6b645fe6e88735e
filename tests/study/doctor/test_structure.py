from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models

from medsaliency.model.classifier import Classifier
from medsaliency.study.doctor import examine


class Changed(nn.Module):
    """A network whose feature maps are changed on the way."""

    def __init__(self, network: nn.Module, **layers: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.change(self.network.features(x))
        logits: Tensor = self.network.fc(self.network.pool(maps).flatten(1))
        return logits

    def change(self, maps: Tensor) -> Tensor:
        return maps


def test_weights_that_are_lost_are_found_by_name(network, examined) -> None:
    module = network()
    with torch.no_grad():
        module.fc.bias[1] = torch.nan
    diagnosis = examined(module)
    (finding,) = diagnosis.findings["weights"]
    assert finding.got == "NaN or infinity in fc.bias"
    assert list(diagnosis.findings) == ["weights"]


class AlwaysTraining(nn.Dropout):
    def train(self, mode: bool = True) -> nn.Dropout:
        return super().train(True)


def test_layers_that_stay_in_training_mode_are_found(network, examined) -> None:
    module = Changed(network(), drop=AlwaysTraining(0.0))
    (finding,) = examined(module).findings["modes"]
    assert finding.severity == "problem"
    assert finding.where == "drop"
    assert finding.got == "training mode"
    assert module.training  # as it was


def test_modes_that_differ_are_a_note_and_left_as_they_are(network, only) -> None:
    module = network().eval()
    module.relu.train()
    finding = only("modes", module)
    assert finding.severity == "note"
    assert "1 of 5 modules in training mode (relu)" in finding.got
    assert module.relu.training
    assert not module.conv.training


class FunctionalDropout(Changed):
    def change(self, maps: Tensor) -> Tensor:
        return F.dropout(maps, 0.5)


def test_functional_dropout_is_found_and_the_global_generator_left(network, examined) -> None:
    module = FunctionalDropout(network())
    before = torch.random.get_rng_state()
    (finding,) = examined(module).findings["repeatable"]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert finding.severity == "problem"
    assert "functional dropout" in finding.advice


class BatchStatistics(Changed):
    def change(self, maps: Tensor) -> Tensor:
        return self.norm(maps)


def test_batch_statistics_are_found_by_name(network, examined) -> None:
    module = BatchStatistics(network(), norm=nn.BatchNorm2d(2, track_running_stats=False))
    (finding,) = examined(module).findings["repeatable"]
    assert finding.severity == "problem"
    assert finding.where == "an image alone and in a batch"
    assert finding.got.endswith("no running statistics in norm")


class InPlace(Changed):
    """A layer in the place of the network's ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network.fc(self.network.pool(self.act(self.network.conv(x))).flatten(1))
        return logits


def test_layers_that_work_in_place_are_a_note(network, only) -> None:
    finding = only("in_place", InPlace(network(), act=nn.ReLU(inplace=True)))
    assert finding.severity == "note"
    assert finding.got == "1 that work in place (act)"
    assert "nothing to do here" in finding.advice


class InPlaceOfTwo(Changed):
    """What the layer writes into is used once more."""

    def change(self, maps: Tensor) -> Tensor:
        shifted = maps - 0.3
        return self.act(shifted) + shifted


def test_a_layer_in_place_whose_input_is_used_again_is_a_problem(network, examined) -> None:
    diagnosis = examined(InPlaceOfTwo(network(), act=nn.ReLU(inplace=True)))
    (finding,) = diagnosis.findings["in_place"]
    assert finding.severity == "problem"
    assert "deep_lift and guided_backprop refuse" in finding.advice


def test_a_residual_network_of_torchvisions_has_one_note(brains) -> None:
    module = torchvision_models.resnet18(num_classes=4)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3)
    diagnosis = examine(Classifier(module, brains.classes, size=48), brains)
    assert not diagnosis.problems()
    (finding,) = diagnosis.findings["in_place"]
    assert "9 that work in place (relu, layer1.0.relu, layer1.1.relu and 6 more)" in finding.got
    assert "of them 8 that run several times (layer1.0.relu" in finding.got
    assert not diagnosis.findings["reused"]


class Twice(Changed):
    def change(self, maps: Tensor) -> Tensor:
        return self.mix(self.mix(maps))


def test_a_layer_with_weights_that_runs_twice_is_a_note(network, only) -> None:
    mix = nn.Conv2d(2, 2, 1)
    with torch.no_grad():
        mix.weight.copy_(torch.eye(2)[..., None, None])
        mix.bias.zero_()
    finding = only("reused", Twice(network(), mix=mix))
    assert finding.severity == "note"
    assert finding.got == "1 that run several times (mix)"


class ReLUTwice(Changed):
    def change(self, maps: Tensor) -> Tensor:
        return self.act(self.act(maps))


def test_a_target_layer_that_runs_twice_is_a_problem(network, examined) -> None:
    module = ReLUTwice(network(), act=nn.ReLU())
    assert not any(examined(module).findings.values())
    diagnosis = examined(module, target_layer="act")
    (finding,) = diagnosis.findings["runs_of_target_layer"]
    assert diagnosis.skipped == {"target_layer": "runs_of_target_layer", "maps": "runs_of_target_layer"}
    assert finding.severity == "problem"
    assert finding.where == "target layer 'act'"
    assert finding.got == "2"


@pytest.mark.parametrize("kind", [nn.ReLU, nn.Dropout, nn.Identity])
def test_layers_that_leave_their_input_alone_are_none(network, examined, kind: type) -> None:
    assert not examined(InPlace(network(), act=kind())).findings["in_place"]


def test_buffers_may_be_infinite_but_running_statistics_not(network, examined) -> None:
    class Extra(Changed):
        def get_extra_state(self) -> str:
            return "a word"

        def set_extra_state(self, _state: object) -> None:
            return

    module = Extra(network(), norm=nn.BatchNorm2d(2))
    module.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    module.register_buffer("thresholds", torch.tensor([torch.nan, 0.5]))
    assert not examined(module).findings["weights"]
    module.norm.running_var[1] = torch.inf
    (finding,) = examined(module).findings["weights"]
    assert finding.got == "NaN or infinity in norm.running_var"
