from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError


class Between(nn.Module):
    """A network with something done to the image before it."""

    def __init__(self, network: nn.Module, change) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.change(x))
        return logits


def test_a_cut_graph_is_found_and_maps_are_not_made(network, examined) -> None:
    diagnosis = examined(Between(network(), torch.detach))
    (finding,) = diagnosis.findings["gradients"]
    assert finding.severity == "problem"
    assert "detach()" in finding.advice
    assert diagnosis.skipped == {"target_layer": "gradients", "maps": "gradients"}


def test_a_backward_pass_that_fails_is_found(network, examined) -> None:
    module = network()
    module.features = lambda x: module.relu(module.conv(x)).relu_()  # changes what the first ReLU keeps
    module.relu = nn.Sigmoid()
    (finding,) = examined(module).findings["gradients"]
    assert finding.severity == "problem"
    assert "modified by an inplace operation" in finding.got


def test_a_function_without_weights_or_gradient_is_a_note(examined) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                mean = x.mean(dim=(1, 2, 3))
                return torch.stack([0.5 - mean, mean - 0.5], dim=1)

    (finding,) = examined(Fixed()).findings["gradients"]
    assert finding.severity == "note"


def test_a_module_that_refuses_gradients_is_a_note_with_its_reason(network, examined) -> None:
    def refuse(x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise MedsaliencyError("no gradients here; use occlusion")
        return x

    diagnosis = examined(Between(network(), refuse))
    (finding,) = diagnosis.findings["gradients"]
    assert finding.severity == "note"
    assert finding.advice == "no gradients here; use occlusion"
    assert not diagnosis.problems()


def test_a_network_without_feature_maps_is_a_note(examined) -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(256, 2)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([-1.0, 1.0])[:, None].expand(2, 256) / 256)
                self.fc.bias.copy_(torch.tensor([0.5, -0.5]))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(x.flatten(1))
            return logits

    (finding,) = examined(Linear()).findings["target_layer"]
    assert finding.severity == "note"
    assert "no convolutional feature map" in finding.got


class Alive(nn.Module):
    """Logits from the image itself, beside a branch with feature maps of which a share counts."""

    def __init__(self, network: nn.Module, bias: float, share: float, same: bool = False) -> None:
        super().__init__()
        self.network = network
        self.branch = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU())
        nn.init.constant_(self.branch[0].bias, bias)
        if same:
            nn.init.zeros_(self.branch[0].weight)
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        added: Tensor = logits + self.share * self.branch(x).mean(dim=(1, 2, 3))[:, None] * logits.new_tensor(
            [0.0, 1.0]
        )
        return added


@pytest.mark.parametrize(
    ("bias", "share", "same", "got"),
    [
        (-9.0, 1e-3, False, "zero everywhere in 4 images"),
        (1.0, 1e-3, True, "the same at every position in 4 images"),
        (1.0, 0.0, False, "a gradient of zero everywhere in 4 images"),
    ],
)
def test_a_dead_target_layer_is_found(network, only, bias: float, share: float, same: bool, got: str) -> None:
    finding = only("target_layer", Alive(network(), bias, share, same))
    assert finding.severity == "problem"
    assert finding.where == "target layer 'branch'"
    assert finding.got == got


def test_feature_maps_that_are_mostly_dead_are_a_note(network, only) -> None:
    module = network()
    module.conv = nn.Conv2d(1, 20, 3, padding=1)
    module.fc = nn.Linear(20, 2)
    with torch.no_grad():
        module.conv.weight.zero_()[0] = 1 / 9
        module.conv.bias.zero_()
        module.fc.weight.zero_()[:, 0] = torch.tensor([-1.0, 1.0])
        module.fc.bias.copy_(torch.tensor([0.5, -0.5]))
    finding = only("target_layer", module)
    assert finding.severity == "note"
    assert finding.got == "19 of 20 that are zero in every image"


def test_gradients_that_are_not_finite_are_found(network, examined) -> None:
    # A root whose slope at zero is infinite, of what is zero: the logits are finite.
    diagnosis = examined(Between(network(), lambda x: x + (x - x).sqrt()))
    found = diagnosis.findings["maps"]
    assert [finding.where for finding in found] == ["maps of gradient", "maps of input_x_gradient"]
    assert all(finding.got == "NaN or infinity in 4 of 4" for finding in found)
    assert not diagnosis.findings["gradients"]


def test_blank_maps_are_found(network, examined) -> None:
    # Rounded images have a gradient, zero everywhere.
    diagnosis = examined(Between(network(), lambda x: x.round(decimals=3)))
    found = diagnosis.findings["maps"]
    assert {finding.where for finding in found} == {"maps of gradient", "maps of input_x_gradient"}
    assert all(finding.got == "one value in all 4" for finding in found)


def test_a_map_of_positive_parts_may_be_blank_and_is_a_note(network, only) -> None:
    module = network()
    with torch.no_grad():
        module.fc.weight.copy_(torch.tensor([[-1.0, 0.0], [-0.1, 0.0]]))  # each class loses by what is bright
        module.fc.bias.copy_(torch.tensor([0.45, 0.0]))
    finding = only("maps", module)
    assert finding.severity == "note"
    assert finding.where == "maps of grad_cam"
    assert "hires_cam" in finding.advice


def test_a_backward_pass_for_which_memory_does_not_suffice_is_an_error_and_no_finding(network, examined) -> None:
    seen = []

    def fill(x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(len(x))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x

    with pytest.raises(MedsaliencyError, match="memory does not suffice for a backward pass of one image of 256"):
        examined(Between(network(), fill))
    assert seen == [1]
