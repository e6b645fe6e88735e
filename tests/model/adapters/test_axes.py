from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from medsaliency.model.adapters.axes import size_of, with_swapped_axes
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))


def uneven() -> nn.Module:
    """A network in which everything differs between the two axes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _uneven()


def _uneven() -> nn.Module:
    return nn.Sequential(
        nn.ConstantPad2d((1, 2, 0, 3), 0.5),
        nn.Conv2d(1, 4, (3, 5), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
        nn.ReLU(),
        nn.AvgPool2d((2, 3), padding=(1, 0)),
        nn.Conv2d(4, 4, (1, 3), padding="same", padding_mode="reflect"),
        nn.MaxPool2d((3, 2), stride=(2, 1)),
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def efficient() -> nn.Module:
    """One that pads by constants of its own, with normalizations that keep its logits from vanishing."""
    network = build("monai:EfficientNet-B0", classes=3).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()
                layer.momentum = 1.0
        network(IMAGES)
    return network.eval()


@pytest.mark.parametrize("make", [uneven, lambda: build("small_cnn", classes=3), efficient])
def test_logits_are_those_of_the_turned_image_and_the_network_stays_as_it_was(make: Callable[[], nn.Module]) -> None:
    network = make().eval()
    with torch.no_grad():
        before = network(IMAGES.transpose(2, 3))
        scale = before.abs().max()
        other = with_swapped_axes(network, 1, None)
        assert torch.allclose(other(IMAGES) / scale, before / scale, atol=1e-4)
        assert not torch.allclose(other(IMAGES.transpose(2, 3)) / scale, before / scale, atol=1e-3)
        assert torch.equal(network(IMAGES.transpose(2, 3)), before)


def test_feature_maps_lie_as_the_image_does() -> None:
    network = build("small_cnn", classes=3).eval()
    other = with_swapped_axes(network, 1, (64, 96))
    with torch.no_grad():
        theirs, ours = network.stage1(network.stem(IMAGES.transpose(2, 3))), other.stage1(other.stem(IMAGES))
    assert torch.allclose(ours, theirs.transpose(2, 3), atol=1e-5)


def test_a_network_that_is_more_than_filters_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64 * 96, 2)).eval()
    with pytest.raises(MedsaliencyError, match="trained on images with the horizontal axis first and cannot be turned"):
        with_swapped_axes(network, 1, (64, 96))


def test_a_size_is_one_side_of_an_image_or_three_of_a_volume() -> None:
    assert size_of(None, "x") is None
    assert size_of((32, 32), "x") == 32
    assert size_of((8, 8, 8), "x") == (8, 8, 8)
    with pytest.raises(MedsaliencyError, match=r"x: expected square images or volumes, got sides \(32, 16\)"):
        size_of((32, 16), "x")
