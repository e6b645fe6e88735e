import torch
from torch import nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.layers import find_target_layer
from medsaliency.model.small_cnn import SmallCNN
from medsaliency.model.small_cnn_3d import SmallCNN3D


def test_small_cnn_3d_keeps_an_eighth_of_the_resolution_along_each_axis() -> None:
    module = SmallCNN3D(classes=3, channels=2).eval()
    assert sum(parameter.numel() for parameter in module.parameters()) < 450_000
    volumes = torch.rand(2, 2, 16, 24, 32)
    assert module(volumes).shape == (2, 3)
    stem = module.stem(volumes)
    assert stem.shape == (2, 16, 4, 6, 8)
    assert module.stage3(module.stage2(module.stage1(stem))).shape == (2, 64, 2, 3, 4)
    assert find_target_layer(module, volumes[:1]) == "stage3"


def test_it_is_the_network_of_images_with_a_third_axis() -> None:
    flat, deep = SmallCNN(3).state_dict(), SmallCNN3D(3).state_dict()
    assert list(flat) == list(deep)
    for name, values in flat.items():
        assert deep[name].shape[:2] == values.shape[:2]
        assert deep[name].ndim == (5 if values.ndim == 4 else values.ndim)
    assert not any(isinstance(layer, nn.Conv2d) for layer in SmallCNN3D(3).modules())


def test_every_normalization_that_follows_a_convolution_is_folded() -> None:
    classifier = Classifier(SmallCNN3D(2), ["a", "b"])
    volumes = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    folded = classifier.folded(volumes)
    assert not any(isinstance(layer, nn.BatchNorm3d) for layer in folded.module.modules())
    torch.testing.assert_close(folded.logits(volumes), classifier.logits(volumes), rtol=1e-4, atol=1e-5)
