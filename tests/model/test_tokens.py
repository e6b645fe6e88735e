from __future__ import annotations

import pytest
import torch
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision import models as torchvision_models

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.hires_cam import HiResCAM
from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import capture
from medsaliency.model.probe import Probe
from medsaliency.model.tokens import Layout, Layouts, may_be_tokens
from medsaliency.types import MedsaliencyError

WIDE = (1, 1, 32, 48)


def vit(**more: object) -> nn.Module:
    settings = {"img_size": WIDE[2:], "patch_size": 8, "in_chans": 1, "num_classes": 2, "depth": 1, "num_heads": 2}
    return VisionTransformer(**settings | {"embed_dim": 16} | more).eval()


def swin() -> nn.Module:
    return SwinTransformer(
        img_size=WIDE[2:],
        patch_size=4,
        in_chans=1,
        num_classes=2,
        embed_dim=40,
        depths=(1, 1),
        num_heads=(2, 2),
        window_size=4,
    ).eval()


def put_out(module: nn.Module, layer: str, image: Tensor) -> Tensor:
    """What a layer puts out, as it is."""
    kept: list[Tensor] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        module(image)
    handle.remove()
    return kept[0]


class Wrapped(nn.Module):
    """A Hugging Face classifier as one that returns logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x).logits
        return logits


def hugging_face(kind: str) -> nn.Module:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    common = {"image_size": WIDE[2:], "num_channels": 1}
    if kind == "swin":
        config = transformers.SwinConfig(
            **common, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
        )
        return Wrapped(transformers.SwinForImageClassification(config)).eval()
    common |= {"patch_size": 8}
    if kind == "vit":
        return Wrapped(transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, **common))).eval()
    if kind == "deit":
        return Wrapped(transformers.DeiTForImageClassification(transformers.DeiTConfig(**sizes, **common))).eval()
    common["image_size"] = 48  # its table of positions is square, and resized
    config = transformers.Dinov2WithRegistersConfig(**sizes, **common, num_register_tokens=4)
    return Wrapped(transformers.Dinov2WithRegistersForImageClassification(config)).eval()


CASES = {
    "vit": (vit, "blocks.0", Layout((4, 6), prefix=1)),
    "vit without class token": (
        lambda: vit(class_token=False, global_pool="avg"),
        "blocks.0",
        Layout((4, 6), prefix=0),
    ),
    "vit with registers": (lambda: vit(reg_tokens=4), "blocks.0.norm1", Layout((4, 6), prefix=5)),
    "vit before the class token": (vit, "patch_embed", Layout((4, 6), prefix=0)),
    "vit's first convolution": (vit, "patch_embed.proj", Layout((4, 6))),
    "swin block": (swin, "layers.0.blocks.0", Layout((8, 12), channels_last=True)),
    "swin stage": (swin, "layers.1", Layout((4, 6), channels_last=True)),
    "swin norm": (swin, "norm", Layout((4, 6), channels_last=True)),
    "swin identity": (swin, "layers.0.blocks.0.drop_path1", Layout((8, 12), channels_last=True)),
    "swin's first convolution": (swin, "patch_embed.proj", Layout((8, 12))),
    "hugging face vit": (lambda: hugging_face("vit"), "model.vit.layernorm", Layout((4, 6), prefix=1)),
    "hugging face deit": (lambda: hugging_face("deit"), "model.deit.layernorm", Layout((4, 6), prefix=2)),
    "hugging face dino": (
        lambda: hugging_face("dino"),
        "model.dinov2_with_registers.layernorm",
        Layout((4, 6), prefix=5),
    ),
    "hugging face swin": (lambda: hugging_face("swin"), "model.swin.layernorm", Layout((4, 6), prefix=0)),
}


@pytest.mark.parametrize("name", CASES)
def test_feature_maps_are_found_in_what_layers_put_out(name: str) -> None:
    make, layer, expected = CASES[name]
    module, image = make(), torch.rand(WIDE)
    output = put_out(module, layer, image)
    layout = Layouts(module).of(layer, output, WIDE)
    assert layout == expected
    maps = layout.to_maps(output)
    assert maps.shape[2:] == expected.grid
    assert torch.equal(layout.from_maps(maps, output), output)
    assert may_be_tokens(module)


@pytest.mark.parametrize("name", ["vit", "vit with registers", "swin stage", "hugging face swin", "hugging face dino"])
def test_a_patch_stays_where_it_is_in_the_image(name: str) -> None:
    # Positions are compared by what reaches a layer when one patch of the image changes, attention left out.
    make, layer, layout = CASES[name]
    module = make()
    for part in module.modules():
        for kind in ("proj", "o_proj", "dense"):
            if isinstance(getattr(part, kind, None), nn.Linear):
                nn.init.zeros_(getattr(part, kind).weight)
    rows, columns = layout.grid
    height, width = WIDE[2] // rows, WIDE[3] // columns
    image = torch.rand(WIDE)
    for row, column in ((0, 0), (1, 4), (rows - 1, 0), (rows - 1, columns - 1)):
        other = image.clone()
        other[..., row * height : (row + 1) * height, column * width : (column + 1) * width] += 1
        with torch.no_grad(), capture(module, layer) as kept:
            module(image)
            module(other)
        moved = (kept[0] - kept[1])[0].abs().sum(dim=0)
        assert int(moved.argmax()) == row * columns + column
        assert float(moved.sum() - moved.max()) < 1e-3 * float(moved.max())


def test_torchvisions_transformers_are_read() -> None:
    image = torch.rand(1, 3, 64, 64)
    module = torchvision_models.VisionTransformer(64, 16, 1, 2, 16, 16, num_classes=2).eval()
    output = put_out(module, "encoder.layers.encoder_layer_0", image)
    found = Layouts(module).of("encoder.layers.encoder_layer_0", output, image.shape)
    assert found == Layout((4, 4), prefix=1)
    settings = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": [4, 4]}
    swin = torchvision_models.SwinTransformer(**settings, num_classes=2).eval()
    for layer, expected in {
        "features.3": Layout((8, 8), channels_last=True),
        "norm": Layout((8, 8), channels_last=True),
        "permute": Layout((8, 8)),
    }.items():
        assert Layouts(swin).of(layer, put_out(swin, layer, image), image.shape) == expected


def test_convolutions_and_blocks_that_hold_them_have_channels_first() -> None:
    module = ConvNeXt(in_chans=1, num_classes=2, depths=(1, 1, 1, 1), dims=(16, 16, 24, 32)).eval()
    image = torch.rand(1, 1, 64, 64)
    # Feature maps, rows and columns are 16 each: that alone does not tell.
    assert Layouts(module).of("stages.0", put_out(module, "stages.0", image), image.shape) == Layout((16, 16))
    inner = put_out(module, "stages.1.blocks.0.norm", image)
    assert inner.shape == (1, 8, 8, 16)
    assert Layouts(module).of("stages.1.blocks.0.norm", inner, image.shape) == Layout((8, 8), channels_last=True)
    assert not may_be_tokens(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)))


class Volumes(nn.Module):
    """A transformer of volumes: 2 x 3 x 4 patches and a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv3d(1, 8, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = self.norm(torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1))
        logits: Tensor = self.head(self.attention(x, x, x)[0][:, 0])
        return logits


def test_tokens_of_volumes_have_a_grid_of_three_sides() -> None:
    volumes = torch.rand(2, 1, 8, 12, 16)
    model = Classifier(Volumes(), ["a", "b"])
    assert model.target_layer(volumes) == "norm"
    features = model.features(volumes, [0, 1])
    assert features.activations.shape == features.gradients.shape == (2, 8, 2, 3, 4)
    own = model.scores(volumes[:1], [0])
    torch.testing.assert_close(model.scores_from_layer(volumes[:1], features.activations[:1], 0), own)


def tokens(count: int, image: tuple[int, ...]) -> Layout | None:
    """Of a module that states nothing."""
    return Layouts(nn.Sequential(nn.Linear(4, 4))).of_tokens("0", count, image)


def test_a_grid_that_is_not_stated_is_the_only_one_of_the_images_proportions() -> None:
    assert tokens(16, (1, 1, 64, 64)) == Layout((4, 4), prefix=0)
    assert tokens(17, (1, 1, 64, 64)) == Layout((4, 4), prefix=1)
    assert tokens(24, (1, 1, 64, 96)) == Layout((4, 6), prefix=0)
    assert tokens(25, (1, 1, 64, 96)) == Layout((4, 6), prefix=1)
    assert tokens(8, (1, 1, 64, 96)) is None
    assert tokens(21, (1, 1, 64, 64)) is None  # 16 patches and five others, which nobody said
    assert tokens(24, (1, 1, 8, 12, 16)) == Layout((2, 3, 4), prefix=0)
    assert tokens(2, (1, 1, 5, 7)) is None


def test_what_merges_patches_rounds_up() -> None:
    # Patches of 4 pixels: 9 x 5, then 5 x 3, then 3 x 2, none of them with the proportions of 36 x 20 but the first.
    module = nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), nn.Linear(4, 4))
    for count, grid in {45: (9, 5), 15: (5, 3), 6: (3, 2)}.items():
        assert Layouts(module).of_tokens("1", count, (1, 1, 36, 20)) == Layout(grid, prefix=0)


def test_tokens_on_a_grid_that_cannot_be_told_are_refused_by_name() -> None:
    module = nn.Sequential(nn.Flatten(2), nn.Linear(64, 8))
    with pytest.raises(MedsaliencyError, match=r"layer '1': .* of 8 x 8 pixels, .* got \(1, 7, 8\).*7 tokens"):
        Layouts(module).of("1", torch.zeros(1, 7, 8), (1, 7, 8, 8))


def test_channels_that_may_be_first_or_last_are_refused_by_name() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(6, 6)))
    with pytest.raises(MedsaliencyError, match=r"layer '0': .* got \(1, 6, 6, 6\), .* channels come first or last"):
        Layouts(module).of("0", torch.zeros(1, 6, 6, 6), (1, 1, 12, 12))
    assert Layouts(module).of("0.0", torch.zeros(1, 6, 6, 6), (1, 1, 12, 12)).channels_last


class Corner(nn.Module):
    """Its class is the brightness of the patches of one corner, and it reads nothing else.

    Args:
        row: Of the corner's patch, of 3.
        column: Of 4.
        channels_last: Tokens on a grid (N, h, w, K), or behind a class token (N, T, K).
    """

    def __init__(self, row: int, column: int, channels_last: bool) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 2, 8, stride=8, bias=False)
        nn.init.constant_(self.cut.weight, 1 / 64)
        place = torch.full((3, 4, 2), -10.0)
        place[row, column] = 0
        self.place = nn.Parameter(place)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
        self.body = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        nn.init.eye_(self.body[0].weight)
        nn.init.zeros_(self.body[0].bias)
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).permute(0, 2, 3, 1) + self.place
        if self.channels_last:
            mean = self.body(x).mean(dim=(1, 2))
        else:
            front = self.cls_token.expand(len(x), -1, -1)
            mean = self.body(torch.cat([front, x.flatten(1, 2)], dim=1))[:, 1:].mean(dim=1)
        return mean * mean.new_tensor([1.0, -1.0])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (2, 0), (2, 3), (1, 2)])
def test_what_depends_on_one_corner_has_its_map_there(row: int, column: int, channels_last: bool) -> None:
    classifier = Classifier(Corner(row, column, channels_last), ["bright", "dark"], target_layer="body")
    images = torch.rand(2, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    probe = Probe(classifier, images, [0, 0])
    for method in (GradCAM(), HiResCAM()):
        maps = method(probe, [])
        mass = maps / maps.sum(dim=(1, 2), keepdim=True)
        # A patch of 8 pixels, upsampled between the centers of cells, reaches at most 4 pixels beyond its own.
        top, left = max(0, 8 * row - 4), max(0, 8 * column - 4)
        torch.testing.assert_close(mass[:, top : 8 * row + 12, left : 8 * column + 12].sum(dim=(1, 2)), torch.ones(2))
        assert bool((mass[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].sum(dim=(1, 2)) > 0.5).all())
