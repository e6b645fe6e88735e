from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.layers import find_target_layer
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError


class PlainCNN(nn.Module):
    """One ReLU module for all convolutions, as in many a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.relu(self.conv2(x))
        return self.fc(x.mean(dim=(2, 3)))


def test_the_activation_after_the_last_convolution_is_named_and_pooling_is_not() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.AvgPool2d(3, 1, 1),
        nn.Flatten(),
        nn.Linear(128, 2),
    )
    assert find_target_layer(module.eval(), torch.zeros(1, 1, 8, 8)) == "4"


def test_a_module_that_runs_several_times_is_not_chosen() -> None:
    assert find_target_layer(PlainCNN().eval(), torch.zeros(1, 1, 8, 8)) == "conv2"


def test_convolutions_on_a_single_position_are_not_chosen() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1), nn.Flatten())
    assert find_target_layer(module, torch.zeros(1, 1, 8, 8)) == "0"


def test_the_head_of_a_vgg_on_a_large_image_is_not_chosen() -> None:
    # At 256 px the 7 x 7 convolution of timm's VGG head leaves a 2 x 2 grid, which is no stage of features.
    module = build("vgg11", classes=2, size=256).eval()
    assert find_target_layer(module, torch.zeros(1, 1, 256, 256)) == "features.19"


def test_a_network_without_convolutions_says_what_to_do() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(MedsaliencyError, match=r"no convolutional feature map.*target_layer"):
        find_target_layer(module, torch.zeros(1, 1, 4, 4))


def test_the_patch_embedding_of_a_vision_transformer_is_not_a_feature_map() -> None:
    module = build("vit_tiny_patch16_224", classes=2, size=64).eval()
    with pytest.raises(MedsaliencyError, match="no convolutional feature map"):
        find_target_layer(module, torch.zeros(1, 1, 64, 64))


def test_hooks_are_removed_also_when_the_module_raises() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(RuntimeError):
        find_target_layer(module, torch.zeros(1, 1, 8, 8))
    assert not any(child._forward_hooks for child in module.modules())
