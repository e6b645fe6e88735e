from __future__ import annotations

import weakref

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models

from medsaliency.attribution.attention_rollout import AttentionRollout, rollout
from medsaliency.attribution.method import upsample
from medsaliency.model.attention import read_attention
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(3, 1, 16, 24, generator=torch.Generator().manual_seed(0))


def vit(**more: object) -> VisionTransformer:
    """Two blocks of two heads over 2 x 3 patches, with weights under which attention is far from even."""
    settings = {"img_size": (16, 24), "patch_size": 8, "in_chans": 1, "num_classes": 2, "depth": 2, "num_heads": 2}
    module = VisionTransformer(**settings | {"embed_dim": 16} | more).eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    return module


def maps(module: nn.Module, images: Tensor = IMAGES, targets: object = None, **parameters: object) -> Tensor:
    classifier = Classifier(module, ["a", "b"], channels=images.shape[1])
    return AttentionRollout(**parameters)(Probe(classifier, images, targets), [])


def attention_by_hand(module: VisionTransformer, images: Tensor) -> list[Tensor]:
    """(N, heads, T, T) of each block, from its weights, step by step."""
    found = []
    with torch.no_grad():
        x = module._pos_embed(module.patch_embed(images))
        for block in module.blocks:
            y = block.norm1(x)
            q, k, v = (block.attn.qkv.weight @ y.mT + block.attn.qkv.bias[:, None]).chunk(3, dim=1)
            heads = []
            for head in range(2):
                rows = slice(8 * head, 8 * head + 8)
                scores = (q[:, rows].mT @ k[:, rows]) / 8**0.5
                heads.append(torch.exp(scores) / torch.exp(scores).sum(dim=2, keepdim=True))
            found.append(torch.stack(heads, dim=1))
            moved = torch.cat([(w @ v[:, 8 * h : 8 * h + 8].mT) for h, w in enumerate(heads)], dim=2)
            x = x + block.attn.proj(moved)
            x = x + block.mlp(block.norm2(x))
    return found


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_two_blocks_worked_out_by_hand(fusion: str, fused: bool) -> None:
    module = vit()
    for block in module.blocks:
        block.attn.fused_attn = fused
    first, second = (
        {"mean": w.mean(dim=1), "max": w.max(dim=1).values, "min": w.min(dim=1).values}[fusion]
        for w in attention_by_hand(module, IMAGES)
    )
    identity = torch.eye(7)
    mixed = [(w + identity) / (w + identity).sum(dim=2, keepdim=True) for w in (first, second)]
    expected = (mixed[1] @ mixed[0])[:, 0, 1:].reshape(3, 1, 2, 3)
    found = maps(module, fusion=fusion)
    assert found.shape == (3, 16, 24)
    assert float(found.std()) > 0.01
    torch.testing.assert_close(found, upsample(expected, (16, 24))[:, 0])


def test_the_product_and_what_is_discarded_by_hand() -> None:
    first = torch.tensor([[[0.6, 0.4], [0.1, 0.9]]])
    second = torch.tensor([[[0.2, 0.8], [0.5, 0.5]]])
    # Mixed: [[.8, .2], [.05, .95]] and [[.6, .4], [.25, .75]]; the first row of the product is .6 * [.8, .2] + ...
    expected = torch.tensor([[[0.6 * 0.8 + 0.4 * 0.05, 0.6 * 0.2 + 0.4 * 0.95], [0.2 + 0.0375, 0.05 + 0.7125]]])
    torch.testing.assert_close(rollout([first, second]), expected)
    # A quarter of four weights is one: 0.1 of the first, 0.2 of the second. Rows are brought to 1 again.
    a = torch.tensor([[0.8, 0.2], [0.0, 1.0]])
    b = torch.tensor([[1 / 1.8, 0.8 / 1.8], [0.25, 0.75]])
    torch.testing.assert_close(rollout([first, second], discard=0.25), (b @ a)[None])
    torch.testing.assert_close(rollout([first], discard=0.99), torch.tensor([[[1.0, 0.0], [0.0, 1.9 / 1.9]]]))


def test_what_is_discarded_is_each_images_own() -> None:
    layers = [torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(2)).softmax(dim=2)]
    together = rollout(layers, discard=0.4)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], rollout([layers[0][i : i + 1]], discard=0.4))


def test_the_map_is_the_same_for_every_class_and_micro_batch() -> None:
    module = vit()
    assert torch.equal(maps(module, targets=[0, 0, 0]), maps(module, targets=[1, 1, 1]))
    classifier = Classifier(module, ["a", "b"], batch_size=2)
    torch.testing.assert_close(AttentionRollout()(Probe(classifier, IMAGES), []), maps(module))


def test_a_head_that_averages_patches_has_the_mean_of_their_rows() -> None:
    module = vit(class_token=False, global_pool="avg")
    mixed = [(w.mean(dim=1) + torch.eye(6)) / 2 for w in attention_by_hand(module, IMAGES)]
    expected = (mixed[1] @ mixed[0]).mean(dim=1).reshape(3, 1, 2, 3)
    torch.testing.assert_close(maps(module), upsample(expected, (16, 24))[:, 0])


def test_registers_are_left_out_of_the_map() -> None:
    module = vit(reg_tokens=2)
    mixed = [(w.mean(dim=1) + torch.eye(9)) / 2 for w in attention_by_hand(module, IMAGES)]
    expected = (mixed[1] @ mixed[0])[:, 0, 3:].reshape(3, 1, 2, 3)
    torch.testing.assert_close(maps(module), upsample(expected, (16, 24))[:, 0])


def test_the_module_is_left_as_it_was() -> None:
    module = vit().train()
    module.blocks[0].eval()
    modes = [part.training for part in module.modules()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [block.attn.fused_attn for block in module.blocks]
    maps(module)
    assert [part.training for part in module.modules()] == modes
    assert [block.attn.fused_attn for block in module.blocks] == flags
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_torchvisions_transformer_is_read() -> None:
    module = torchvision_models.VisionTransformer(16, 8, 2, 2, 16, 16, num_classes=2).eval()
    image = torch.rand(1, 3, 16, 16)
    product = torch.eye(5)[None]
    with torch.no_grad():
        x = module._process_input(image)
        x = torch.cat([module.class_token, x], dim=1) + module.encoder.pos_embedding
        for layer in module.encoder.layers:
            y = layer.ln_1(x)
            product = (layer.self_attention(y, y, y)[1] + torch.eye(5)) / 2 @ product
            x = layer(x)
    expected = upsample(product[:, 0, 1:].reshape(1, 1, 2, 2), (16, 16))[:, 0]
    torch.testing.assert_close(maps(module, image), expected)


class HuggingFace(nn.Module):
    def __init__(self, implementation: str) -> None:
        super().__init__()
        from transformers import ViTConfig, ViTForImageClassification

        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        config = ViTConfig(**sizes, image_size=16, patch_size=8, num_channels=1, attn_implementation=implementation)
        self.model = ViTForImageClassification(config).eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x).logits
        return logits


def test_hugging_faces_transformer_is_read_however_it_computes() -> None:
    eager, fused = HuggingFace("eager"), HuggingFace("sdpa")
    fused.load_state_dict(eager.state_dict())
    image = torch.rand(1, 1, 16, 16)
    product = torch.eye(5)[None]
    for weights in eager.model(image, output_attentions=True).attentions:
        product = (weights.detach().mean(dim=1) + torch.eye(5)) / 2 @ product
    expected = upsample(product[:, 0, 1:].reshape(1, 1, 2, 2), (16, 16))[:, 0]
    for module in (eager, fused):
        torch.testing.assert_close(maps(module, image), expected)


class Masked(nn.Module):
    """Fused attention whose queries see only keys that a mask allows; every second query head shares its keys."""

    def __init__(self, mask: str) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 16, 8, stride=8)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 2)
        self.mask = mask

    def options(self) -> dict[str, object]:
        near = torch.ones(6, 6).tril().bool()
        return {
            "causal": {"is_causal": True},
            "bool": {"attn_mask": near},
            "float": {"attn_mask": torch.zeros(6, 6).masked_fill(~near, -torch.inf)},
            "scaled": {"scale": 3.0},
            "grouped": {"enable_gqa": True},
        }[self.mask]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.cut(x).flatten(2).mT)
        heads = x.unflatten(2, (4, 4)).transpose(1, 2)
        keys = heads[:, ::2] if self.mask == "grouped" else heads
        moved = F.scaled_dot_product_attention(heads, keys, keys, **self.options())
        return self.head(moved.transpose(1, 2).flatten(2).mean(dim=1))


@pytest.mark.parametrize("mask", ["causal", "bool", "float", "scaled", "grouped"])
def test_weights_beside_fused_attention_are_those_it_uses(mask: str) -> None:
    module = Masked(mask).eval()
    found = maps(module)
    with torch.no_grad():
        x = module.norm(module.cut(IMAGES).flatten(2).mT)
        heads = x.unflatten(2, (4, 4)).transpose(1, 2)
        keys = heads[:, ::2] if mask == "grouped" else heads
        # Values that are one token each show the weights: token j's value is the j-th unit vector.
        unit = torch.eye(6).expand(3, keys.shape[1], 6, 6)
        weights = F.scaled_dot_product_attention(heads, keys, unit, **module.options()).mean(dim=1)
    expected = ((weights + torch.eye(6)) / 2).mean(dim=1).reshape(3, 1, 2, 3)
    torch.testing.assert_close(found, upsample(expected, (16, 24))[:, 0])


@pytest.mark.parametrize(
    ("architecture", "more", "reason"),
    [
        ("resnet18", {}, "ResNet: expected a module with self-attention, found none"),
        ("swin_tiny_patch4_window7_224", {"img_size": 64}, r"SwinTransformer: .* got \(18, 3, 49, 49\).*windows"),
        ("cait_xxs24_224", {"img_size": 64, "depth": 1}, r"Cait: .* got \(2, 4, 1, 17\)"),
    ],
)
def test_a_module_without_attention_between_all_patches_is_refused_with_the_reason(
    architecture: str, more: dict, reason: str
) -> None:
    module = timm.create_model(architecture, pretrained=False, in_chans=1, num_classes=2, **more)
    with pytest.raises(MedsaliencyError, match=reason):
        maps(module, torch.rand(2, 1, 64, 64))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fusion": "sum"}, "expected fusion as one of mean, max, min, got 'sum'"),
        ({"discard": 1.0}, r"expected discard in \[0, 1\), got 1.0"),
        ({"discard": -0.1}, r"expected discard in \[0, 1\)"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict, message: str) -> None:
    with pytest.raises(MedsaliencyError, match=f"attention_rollout: {message}"):
        AttentionRollout(**parameters)


def test_a_model_that_is_not_torchs_is_refused_with_its_own_reason() -> None:
    class ScoresOnly(Classifier):
        differentiable = False

        def target_layer(self, images: Tensor) -> str:
            raise MedsaliencyError("no layers here")

    with pytest.raises(MedsaliencyError, match="no layers here"):
        AttentionRollout()(Probe(ScoresOnly(vit(), ["a", "b"]), IMAGES), [])


def test_what_is_kept_of_a_micro_batch_is_what_its_attention_is_reduced_to() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def fuse(weights: Tensor) -> Tensor:
        nonlocal most
        fused = weights.mean(dim=1)
        alive.append(weakref.ref(fused))
        most = max(most, sum(each() is not None for each in alive))
        return fused

    module = vit()
    classifier = Classifier(module, ["a", "b"], batch_size=1)
    rows = read_attention(classifier, IMAGES, fuse, lambda layers: layers[1][:, 0].clone())
    torch.testing.assert_close(rows, attention_by_hand(module, IMAGES)[1].mean(dim=1)[:, 0])
    assert len(alive) == 6  # two layers of three images, one at a time
    assert most == 2


class SoftmaxElsewhere(nn.Module):
    """A square softmax of four axes that is no attention, in front of a transformer where there is one."""

    def __init__(self, dim: int, transformer: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.transformer = transformer
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        shares = self.conv(x).softmax(dim=self.dim)
        return shares.mean(dim=(2, 3))[:, :2] if self.transformer is None else self.transformer(x)


@pytest.mark.parametrize("dim", [1, -3, 2])
def test_a_softmax_that_is_not_over_keys_is_no_attention(dim: int) -> None:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(MedsaliencyError, match="expected a module with self-attention, found none"):
        maps(SoftmaxElsewhere(dim), images)
    module = vit(img_size=(16, 16))
    torch.testing.assert_close(maps(SoftmaxElsewhere(dim, module), images), maps(module, images))
