from __future__ import annotations

import math

import pytest
import torch

from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import PAPER, architectures, build
from medsaliency.types import MedsaliencyError

# architecture: (smallest size in px that keeps a grid to the end, layer found at that size)
EXPECTED = {
    "vgg16": (64, "features.29"),
    "vgg19": (64, "features.35"),
    "resnet50": (64, "layer4"),
    "xception": (64, "act4"),
    "resnetv2_50": (64, "norm"),
    "inception_v3": (128, "Mixed_7c"),
    "densenet121": (64, "features"),
    "efficientnet_b0": (64, "bn2"),
    "inception_resnet_v2": (128, "conv2d_7b"),
    "small_cnn": (32, "stage3"),
}


def test_every_architecture_of_the_paper_is_expected_here() -> None:
    assert {*PAPER, "small_cnn"} == EXPECTED.keys()
    assert EXPECTED.keys() <= set(architectures())


@pytest.mark.parametrize("name", EXPECTED)
def test_an_architecture_takes_a_training_step_and_its_layer_is_found(name: str) -> None:
    size, layer = EXPECTED[name]
    module = build(name, classes=3, channels=1, size=size)
    classifier = Classifier(module, ["a", "b", "c"], mean=0.5, std=0.25, size=size)
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))

    before = next(module.parameters()).detach().clone()
    labels = torch.tensor([0, 2])
    (epoch,) = train(classifier, images, labels, images, labels, Training(epochs=1, batch_size=2))
    assert math.isfinite(epoch.training_loss)
    assert not torch.equal(before, next(module.parameters()))

    assert classifier.target_layer(images) == layer
    features = classifier.features(images[:1], torch.tensor([1]))
    assert features.activations.shape == features.gradients.shape
    assert features.activations.shape[2] * features.activations.shape[3] > 1
    assert features.gradients.abs().sum() > 0


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state() -> None:
    state = torch.get_rng_state()
    first = build("small_cnn", classes=2, seed=1).state_dict()
    again = build("small_cnn", classes=2, seed=1).state_dict()
    other = build("small_cnn", classes=2, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])
    timm_first, timm_again = (build("resnet10t", classes=2, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(timm_first[name], timm_again[name]) for name in timm_first)
    assert torch.equal(state, torch.get_rng_state())


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(MedsaliencyError, match=r"unknown architecture 'resnet-50'.*'resnet50'"):
        build("resnet-50", classes=2)


def test_arguments_that_an_architecture_refuses_are_named() -> None:
    with pytest.raises(MedsaliencyError, match=r"'convnext_atto' cannot be built with 2 classes, -1 channel"):
        build("convnext_atto", classes=2, channels=-1)


def test_a_network_of_images_is_not_built_for_volumes() -> None:
    for name in ("small_cnn", "resnet10t"):
        with pytest.raises(MedsaliencyError, match=rf"{name}' takes images, got a volume's size \(8, 16, 16\)"):
            build(name, classes=2, size=(8, 16, 16))
    volumes = torch.zeros(1, 1, 8, 16, 16)
    assert build("small_cnn_3d", classes=2, size=(8, 16, 16)).eval()(volumes).shape == (1, 2)


def test_networks_for_volumes_are_listed() -> None:
    assert {"small_cnn_3d", "monai:DenseNet121", "monai-3d:DenseNet121"} <= set(architectures())
    with pytest.raises(MedsaliencyError, match=r"unknown architecture 'monai-3d:Unet'"):
        build("monai-3d:Unet", classes=2)


def test_a_vision_transformer_is_built_for_the_size_asked_for() -> None:
    module = build("vit_tiny_patch16_224", classes=2, channels=1, size=32)
    assert module.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 2)
