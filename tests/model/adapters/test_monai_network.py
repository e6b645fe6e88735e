from __future__ import annotations

import importlib.util
import math
import os
import sys

import pytest
import torch

from medsaliency.model.adapters import monai_network
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import architectures, build
from medsaliency.types import MedsaliencyError

# one of each family: layer found at 64 pixels
FAMILIES = {
    "DenseNet121": "class_layers.relu",
    "ResNet10": "layer4",
    "EfficientNet-B0": "_bn1",
    "SEResNet50": "layer4",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_images_is_trained_and_its_layer_found(name: str) -> None:
    module = build(f"monai:{name}", classes=3, channels=1, size=64)
    classifier = Classifier(module, ["a", "b", "c"], mean=0.5, std=0.25, size=64)
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2])
    before = next(module.parameters()).detach().clone()
    (epoch,) = train(classifier, images, labels, images, labels, Training(epochs=1, batch_size=2))
    assert math.isfinite(epoch.training_loss)
    assert not torch.equal(before, next(module.parameters()))
    assert classifier.target_layer(images) == FAMILIES[name]
    assert classifier.features(images[:1], [1]).gradients.abs().sum() > 0


@pytest.mark.parametrize("name", ["DenseNet121", "ResNet10"])
@pytest.mark.parametrize("size", [32, (32, 32, 40)])
def test_a_network_of_volumes_takes_volumes(name: str, size: int | tuple[int, ...]) -> None:
    module = build(f"monai-3d:{name}", classes=2, channels=1, size=size).eval()
    sides = (size,) * 3 if isinstance(size, int) else size
    with torch.no_grad():
        assert module(torch.rand(1, 1, *sides)).shape == (1, 2)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = (build("monai:ResNet10", classes=2, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_names_are_listed_and_the_nearest_shown() -> None:
    assert set(monai_network.names()) <= set(architectures())
    assert {f"monai:{name}" for name in FAMILIES} <= set(monai_network.names())
    with pytest.raises(MedsaliencyError, match=r"unknown architecture 'monai:densenet121'.*'monai:DenseNet121'"):
        build("monai:densenet121", classes=2)


def test_a_size_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"takes images, which have 2 sides, got size \(8, 8, 8\)"):
        build("monai:ResNet10", classes=2, size=(8, 8, 8))
    with pytest.raises(MedsaliencyError, match=r"takes volumes, which have 3 sides, got size \(8, 8\)"):
        build("monai-3d:ResNet10", classes=2, size=(8, 8))
    with pytest.raises(MedsaliencyError, match=r"ViT' cannot be built .* needs a size"):
        build("monai:ViT", classes=2)
    with pytest.raises(MedsaliencyError, match="multiples of 16"):
        build("monai-3d:ViT", classes=2, size=(16, 16, 24))
    with pytest.raises(MedsaliencyError, match="no published weights"):
        build("monai:ResNet10", classes=2, pretrained=True)


def test_monai_and_what_it_lacks_are_named_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_einops() -> None:
        raise ImportError("from einops.layers.torch import Rearrange (No module named 'einops').\n\nFor details ...")

    with monkeypatch.context() as patch:
        patch.setattr(monai_network, "_nets", without_einops)
        with pytest.raises(MedsaliencyError, match=r"No module named 'einops'.*medsaliency\[monai\]") as error:
            build("monai:ViT", classes=2, size=32)
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(MedsaliencyError, match=r"'monai:ResNet10' needs the extra monai: pip install 'medsaliency\[mo"):
        build("monai:ResNet10", classes=2)


@pytest.mark.parametrize(("prefix", "dimensions"), [("monai:", 2), ("monai-3d:", 3)])
def test_a_vision_transformer_gives_logits_and_nothing_else(prefix: str, dimensions: int) -> None:
    if importlib.util.find_spec("einops") is None:
        assert not os.environ.get("CI"), "MONAI's vision transformer needs einops"
        pytest.skip("MONAI's vision transformer needs einops")
    module = build(f"{prefix}ViT", classes=3, channels=1, size=32).eval()
    with torch.no_grad():
        found = module(10 * torch.rand(2, 1, *(32,) * dimensions))
    assert found.shape == (2, 3)
    assert isinstance(module.network.classification_head, torch.nn.Linear)  # no Tanh that would bound the logits
