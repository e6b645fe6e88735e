"""The small convolutional network for volumes."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from medsaliency.model.small_cnn import Layers, SmallCNN


class SmallCNN3D(SmallCNN):
    """The demo's network with a third axis: from (N, C, D, H, W) to logits (N, K), with 434 thousand weights.

    Its last feature maps keep an eighth of the volume's resolution along each axis, 8 x 8 x 8 of 64 x 64 x 64. No side
    can be shorter than 3 voxels.
    """

    layers: ClassVar = Layers(nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d)
