"""The small convolutional network of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Layers:
    """The layers that differ between a network of images and one of volumes."""

    convolution: type[nn.Conv2d | nn.Conv3d]
    normalization: type[nn.BatchNorm2d | nn.BatchNorm3d]
    pooling: type[nn.MaxPool2d | nn.MaxPool3d]
    average: type[nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d]


class _Block(nn.Module):
    """Two convolutions of 3 pixels a side with a shortcut; the first may halve the grid."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = layers.convolution(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = layers.normalization(outputs)
        self.conv2 = layers.convolution(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = layers.normalization(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else layers.convolution(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, h/stride, w/stride)."""
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        out: Tensor = self.relu(y + self.shortcut(x))
        return out


class SmallCNN(nn.Module):
    """A residual network of 147 thousand weights whose last feature maps keep an eighth of the image's resolution.

    Lesions of a few pixels stay visible in a 16 x 16 grid (for 128 px), which a deeper network's 4 x 4 would lose.

    Args:
        classes: K, logits put out.
        channels: C of the input.
    """

    layers: ClassVar = Layers(nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)

    def __init__(self, classes: int, channels: int = 1) -> None:
        super().__init__()
        layers = self.layers
        self.stem = nn.Sequential(
            layers.convolution(channels, 16, 5, 2, 2, bias=False),
            layers.normalization(16),
            nn.ReLU(),
            layers.pooling(2),
        )
        self.stage1 = _Block(layers, 16, 32, 1)
        self.stage2 = _Block(layers, 32, 64, 2)
        self.stage3 = _Block(layers, 64, 64, 1)
        self.head = nn.Sequential(layers.average(1), nn.Flatten(), nn.Linear(64, classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.head(self.stage3(self.stage2(self.stage1(self.stem(x)))))
        return logits
