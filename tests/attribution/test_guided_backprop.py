from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # z0 = 4 mean(A0) - 2 mean(A1): of A0 each pixel passes 4 / 4 back where x > 0, of A1 what comes is negative.
    # z1 = -mean(A0) + 3 mean(A1): A1 = relu(0.5 - x) passes 3 / 4 back where x < 0.5, times the weight -1 below it.
    maps = GuidedBackprop()(Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1]), generators(2))
    torch.testing.assert_close(maps[0], torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(maps[1], torch.tensor([[0.0, 0.0], [-0.75, -0.75]]))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_relu_used_twice_is_guided_twice(inplace, generators) -> None:
    class Chain(nn.Module):
        def __init__(self, shared: bool) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(channels, 3, 3, padding=1) for channels in (1, 3, 3))
            self.acts = nn.ModuleList(nn.ReLU(inplace) for _ in self.convs)
            if shared:
                self.acts = nn.ModuleList([self.acts[0]] * 3)
            self.head = nn.Linear(3, 2)
            nn.init.ones_(self.head.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv, act in zip(self.convs, self.acts, strict=True):
                x = act(conv(x))
            return self.head(x.mean(dim=(2, 3)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        apart, shared = Chain(shared=False), Chain(shared=True)
        image = torch.rand(1, 1, 9, 9)
    shared.load_state_dict(apart.state_dict())
    maps = [GuidedBackprop()(Probe(Classifier(m, ["a", "b"]), image, [1]), generators(1)) for m in (apart, shared)]
    assert float(maps[0].abs().max()) > 0
    assert torch.equal(*maps)


def test_what_flows_back_around_a_relu_is_not_guided(generators) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shifted = x - 0.5
            return (5 * self.relu(shifted) - 3 * shifted).sum(dim=(2, 3)).repeat(1, 2)

    image = torch.tensor([[1.0, 0.25]])[None, None]
    maps = GuidedBackprop()(Probe(Classifier(Around(), ["a", "b"]), image, [0]), generators(1))
    torch.testing.assert_close(maps[0], torch.tensor([[5.0 - 3.0, -3.0]]))


def test_a_module_without_relu_is_refused(linear, linear_images, generators) -> None:
    with pytest.raises(MedsaliencyError, match=r"guided_backprop: expected a module with nn\.ReLU layers, Sequential"):
        GuidedBackprop()(Probe(linear, linear_images, [0, 1, 2]), generators(3))
