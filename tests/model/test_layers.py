from __future__ import annotations

import pytest
import timm
import torch
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.layers import describe_layers, find_target_layer
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


def test_the_patch_embedding_of_a_vision_transformer_alone_is_not_a_feature_map() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 8, stride=8), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(MedsaliencyError, match=r"no convolutional feature map found in Sequential .* nor tokens"):
        find_target_layer(module, torch.zeros(1, 1, 16, 16))


def vision_transformer(**more: object) -> nn.Module:
    settings = {"img_size": (16, 24), "patch_size": 8, "in_chans": 1, "num_classes": 2, "depth": 3, "num_heads": 2}
    return VisionTransformer(**settings | {"embed_dim": 16} | more).eval()


@pytest.mark.parametrize(
    ("more", "chosen"),
    [
        ({}, "blocks.2.norm1"),
        ({"reg_tokens": 4}, "blocks.2.norm1"),
        ({"qk_norm": True}, "blocks.2.norm1"),
        ({"block_fn": ResPostBlock}, "blocks.1"),  # normalizes after attention
        ({"global_pool": "avg"}, "blocks.2"),
        ({"global_pool": "avg", "fc_norm": False}, "norm"),
        ({"global_pool": "map"}, "norm"),  # a head that attends to all patches
    ],
    ids=str,
)
def test_of_a_vision_transformer_the_last_layer_whose_patches_count_is_chosen(more: dict, chosen: str) -> None:
    module, example = vision_transformer(**more), torch.rand(1, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    layers = describe_layers(module, example)
    assert [layer.name for layer in layers if layer.chosen] == [chosen]
    model = Classifier(module, ["a", "b"])
    features = model.with_layer(chosen).features(example, [1])
    assert features.activations.shape == (1, 16, 2, 3)
    assert bool(features.gradients.flatten(2).any(dim=1).all())  # at every patch
    after = [layer for layer in layers if "no patch has a gradient" in layer.why]
    assert [layer.name for layer in after] == (["norm"] if "norm1" in chosen or chosen == "blocks.1" else [])
    for layer in after:
        assert not model.with_layer(layer.name).features(example, [1]).gradients.any()


def test_a_head_of_zeros_does_not_hide_what_counts() -> None:
    module = vision_transformer()
    nn.init.zeros_(module.head.weight)
    assert find_target_layer(module, torch.rand(1, 1, 16, 24)) == "blocks.2.norm1"


def test_a_transformer_that_reads_no_patch_has_no_target_layer() -> None:
    module = vision_transformer()
    for block in module.blocks:
        nn.init.zeros_(block.attn.proj.weight)
    with pytest.raises(MedsaliencyError, match="found no gradient in any of"):
        find_target_layer(module, torch.rand(1, 1, 16, 24))


def test_of_a_swin_transformer_the_last_normalization_is_chosen_and_its_stages_are_listed() -> None:
    module = timm.create_model("swin_tiny_patch4_window7_224", img_size=64, in_chans=1, num_classes=2).eval()
    layers = describe_layers(module, torch.rand(1, 1, 64, 64))
    assert [(layer.name, layer.channels, layer.grid, layer.chosen) for layer in layers] == [
        ("layers.0", 96, (16, 16), False),
        ("layers.1", 192, (8, 8), False),
        ("layers.2", 384, (4, 4), False),
        ("norm", 768, (2, 2), True),
    ]


def test_the_tokens_after_the_convolutions_of_a_hybrid_are_chosen() -> None:
    module = timm.create_model("vit_tiny_r_s16_p8_224", img_size=64, in_chans=1, num_classes=2).eval()
    layers = describe_layers(module, torch.rand(1, 1, 64, 64))
    assert next(layer for layer in layers if layer.chosen).name == "blocks.11.norm1"
    assert next(layer for layer in layers if layer.grid == (16, 16)).name == "patch_embed.backbone"


def test_volumes_have_layers_of_three_sides() -> None:
    module = nn.Sequential(
        *(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)),
        *(nn.Conv3d(2, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 2)),
    )
    layers = describe_layers(module, torch.rand(1, 1, 4, 6, 8))
    assert [(layer.name, layer.channels, layer.grid, layer.chosen) for layer in layers] == [
        ("1", 2, (4, 6, 8), False),
        ("3", 5, (2, 3, 4), False),
        ("4", 5, (2, 3, 4), True),
    ]
    assert "a finer grid (4 x 6 x 8)" in layers[0].why


def test_hooks_are_removed_also_when_the_module_raises() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(RuntimeError):
        find_target_layer(module, torch.zeros(1, 1, 8, 8))
    assert not any(child._forward_hooks for child in module.modules())


@pytest.mark.parametrize(
    ("architecture", "size", "finer", "chosen"),
    [
        ("resnet50", 64, ["act1", "layer1", "layer2", "layer3"], "layer4"),
        (
            "densenet121",
            64,
            ["features.norm0", "features.denseblock1", "features.denseblock2", "features.denseblock3"],
            "features",
        ),
        ("convnext_atto", 64, ["stages.0", "stages.1", "stages.2"], "norm_pre"),
        (
            "inception_v3",
            128,
            ["Conv2d_1a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e"],
            "Mixed_7c",
        ),
    ],
)
def test_stages_are_listed_and_the_chosen_one_is_explained(
    architecture: str, size: int, finer: list[str], chosen: str
) -> None:
    module = build(architecture, classes=2, size=size).eval()
    found = describe_layers(module, torch.zeros(1, 1, size, size))
    *earlier, convolution, last = found
    assert [layer.name for layer in earlier] == finer
    assert [layer.name for layer in found if layer.chosen] == [last.name] == [chosen]
    assert find_target_layer(module, torch.zeros(1, 1, size, size)) == chosen
    assert last.grid == (2, 2)
    assert "the last stage with a spatial grid (2 x 2)" in last.why
    assert convolution.kind == "Conv2d"
    assert "normalization, activation or addition on the same grid still follow" in convolution.why
    sides = [layer.grid[0] for layer in found]
    assert sides == sorted(sides, reverse=True)
    assert all(f"a finer grid ({layer.grid[0]} x {layer.grid[1]})" in layer.why for layer in earlier)


@pytest.mark.parametrize("architecture", ["resnet50", "densenet121", "convnext_atto"])
def test_every_layer_that_is_listed_can_be_read(architecture: str) -> None:
    module = build(architecture, classes=2, size=64)
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    classifier = Classifier(module, ["a", "b"])
    layers = classifier.describe_layers(image)
    assert [layer.name for layer in layers if layer.chosen] == [classifier.target_layer(image)]
    for layer in layers:
        activations = classifier.with_layer(layer.name).features(image, [0]).activations
        assert activations.shape == (1, layer.channels, *layer.grid)
    assert all(part.training for part in module.modules())


def test_a_module_that_runs_several_times_is_named_as_one_that_cannot_be_read() -> None:
    found = describe_layers(PlainCNN().eval(), torch.zeros(1, 1, 8, 8))
    assert [(layer.name, layer.chosen) for layer in found] == [("conv1", False), ("conv2", True), ("relu", False)]
    assert "runs several times" in found[-1].why
    assert found[-1].channels == 0


def test_a_stage_that_is_one_convolution_is_listed_once() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Conv2d(2, 5, 2), nn.Flatten())
    (first, second) = describe_layers(module, torch.zeros(1, 1, 8, 8))
    assert (first.name, first.kind, first.channels, first.grid) == ("0", "Conv2d", 2, (6, 6))
    assert (second.name, second.channels, second.grid, second.chosen) == ("2", 5, (2, 2), True)
