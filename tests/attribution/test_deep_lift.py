from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.deep_lift import DeepLIFT
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_a_linear_model_gives_weight_times_difference(linear, linear_images, generators, baseline) -> None:
    maps = DeepLIFT(baseline=baseline)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - baseline)).sum(dim=1))


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # From black, A0 = relu(x) rises by x, and A1 = relu(0.5 - x) from 0.5 to [[0, 0], [0.5, 0.25]].
    # z0 = 4 mean(A0) - 2 mean(A1) gets x - 0.5 * (A1 - 0.5) of a pixel, z1 = -mean(A0) + 3 mean(A1) the rest.
    maps = DeepLIFT()(Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1]), generators(2))
    torch.testing.assert_close(maps[0], torch.tensor([[1.25, 0.75], [0.0, 0.375]]))
    torch.testing.assert_close(maps[1], torch.tensor([[-0.625, -0.5], [0.0, -0.25]]))


class Around(nn.Module):
    """relu(x - 0.5) - 3 (x - 0.5), on average: what the ReLU is given is used again beside it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shifted = x - 0.5
        return (self.relu(shifted) - 3 * shifted).mean(dim=(2, 3)).repeat(1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()


def test_what_flows_back_around_a_layer_is_kept(by_hand_image, generators) -> None:
    maps = DeepLIFT()(Probe(Classifier(Around(), ["a", "b"]), by_hand_image, [0]), generators(1))
    torch.testing.assert_close(maps, ((by_hand_image - 0.5).relu() - 3 * by_hand_image)[:, 0] / 4)


class Net(nn.Module):
    """One ReLU used twice, in place, and once right before another layer; pooling with windows that overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 2)
        self.relu, self.tanh, self.pool = nn.ReLU(inplace=True), nn.Tanh(), nn.MaxPool2d(3, 2)
        self.head = nn.Linear(4, 2)
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.relu(self.first(x)))
        return self.head(self.tanh(self.relu(self.second(x))).mean(dim=(2, 3)))


def test_the_values_sum_to_the_rise_of_the_score(generators) -> None:
    classifier = Classifier(Net(), ["a", "b"], mean=0.2, std=0.5)
    images = torch.rand(3, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    maps = DeepLIFT(baseline=0.1)(Probe(classifier, images, [0, 1, 1]), generators(3))
    rise = classifier.logits(images) - classifier.logits(torch.full_like(images, 0.1))
    expected = rise.gather(1, torch.tensor([0, 1, 1])[:, None])[:, 0]
    assert float(expected.abs().min()) > 0.01
    torch.testing.assert_close(maps.sum(dim=(1, 2)), expected, rtol=1e-3, atol=1e-4)
