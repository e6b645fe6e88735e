from __future__ import annotations

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import capture, layer_of, replace
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def network(inplace: bool) -> nn.Sequential:
    """The features of layer 0 are what layer 1, a ReLU, writes into where it works in place."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return module.eval()


def classifier(module: nn.Module, layer: str) -> Classifier:
    return Classifier(module, ["a", "b"], target_layer=layer)


class Reused(nn.Module):
    """One ReLU after each of two convolutions, as torchvision's residual blocks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x)))).mean(dim=(2, 3))


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("broken")


def hooks(module: nn.Module) -> int:
    return sum(len(child._forward_hooks) for child in module.modules())


@pytest.mark.parametrize("layer", ["0", "1"])
@pytest.mark.parametrize("to_input", [True, False])
def test_layers_that_write_in_place_read_like_others(layer: str, to_input: bool) -> None:
    # "0" is followed by the in-place ReLU, "1" is that ReLU.
    found = [
        classifier(network(inplace), layer).backward(IMAGES, [0, 1], to_input=to_input, to_layer=True)
        for inplace in (True, False)
    ]
    (features, expected) = (f.features for f in found)
    assert features is not None
    assert expected is not None
    assert float(expected.activations.min()) < 0 or layer == "1"
    assert float(expected.gradients.abs().max()) > 0
    assert torch.equal(features.activations, expected.activations)
    assert torch.equal(features.gradients, expected.gradients)
    if to_input:
        assert found[0].input_gradients is not None
        torch.testing.assert_close(found[0].input_gradients, found[1].input_gradients)


@pytest.mark.parametrize("layer", ["0", "1"])
def test_activations_put_in_a_layers_place_are_not_written_into(layer: str) -> None:
    model = classifier(network(True), layer)
    expected = model.scores(IMAGES[:1], [0])
    activations = model.features(IMAGES[:1], [0]).activations
    given = activations.clone()
    torch.testing.assert_close(model.scores_from_layer(IMAGES[:1], activations, 0), expected)
    assert torch.equal(activations, given)


def test_a_layer_that_runs_several_times_is_refused_by_name() -> None:
    model = classifier(Reused(), "relu")
    with pytest.raises(MedsaliencyError, match=r"layer 'relu': expected to run once in a forward pass, ran 2 times"):
        model.features(IMAGES, [0, 1])
    with pytest.raises(MedsaliencyError, match=r"'relu'.*ran 2 times"):
        model.backward(IMAGES, [0, 1], to_layer=True)
    assert hooks(model.module) == 0
    assert torch.is_grad_enabled()


def test_every_call_of_a_layer_is_captured() -> None:
    module = Reused()
    with torch.no_grad(), capture(module, "relu") as kept:
        module(IMAGES)
    assert [tuple(output.shape) for output in kept] == [(2, 2, 4, 4), (2, 2, 2, 2)]


def test_a_leaf_cuts_the_graph_at_the_layer() -> None:
    module = network(True)
    with torch.no_grad(), capture(module, "0", leaf=True) as kept:
        total = module(IMAGES).sum()
        assert torch.is_grad_enabled()  # from the layer on
    (output,) = kept
    assert output.is_leaf
    (gradient,) = torch.autograd.grad(total, output)
    assert float(gradient.abs().max()) > 0
    before = network(True)[0](IMAGES)
    assert torch.equal(output, before)


def test_what_is_replaced_decides_the_output() -> None:
    module = network(True)
    with torch.no_grad(), replace(module, "0", torch.zeros(5, 3, 4, 4)):
        output = module(IMAGES[:1])
    torch.testing.assert_close(output, module[2].bias.detach().expand(5, 2))


def test_a_replaced_layer_computes_nothing_and_is_itself_again_afterwards() -> None:
    module = network(True)
    runs = []
    own = module[0].forward
    module[0].forward = lambda x: runs.append(len(x)) or own(x)  # as libraries do that wrap a layer
    wrapped = module[0].forward
    with torch.no_grad(), replace(module, "0", torch.zeros(5, 3, 4, 4)):
        module(IMAGES[:1])
    assert runs == []
    assert module[0].forward is wrapped
    del module[0].forward
    with pytest.raises(RuntimeError, match="broken"), replace(nn.Sequential(module, Broken()), "0", IMAGES):
        raise RuntimeError("broken")
    assert "forward" not in vars(module)


def test_no_layer_is_no_capture() -> None:
    module = network(True)
    with capture(module, None) as kept:
        assert hooks(module) == 0
        module(IMAGES)
    assert kept == []


@pytest.mark.parametrize(
    "context",
    [
        lambda module: capture(module, "0"),
        lambda module: capture(module, "0", leaf=True),
    ],
    ids=["capture", "leaf"],
)
def test_hooks_are_gone_after_an_error(context) -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), Broken())

    def run() -> None:
        with torch.no_grad(), context(module):
            assert hooks(module) == 1
            module(IMAGES)

    with pytest.raises(RuntimeError, match="broken"):
        run()
    assert hooks(module) == 0
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("layer", ["3", "4"])
def test_a_layer_without_feature_maps_is_refused_by_name(layer: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(MedsaliencyError, match=rf"layer '{layer}': expected feature maps \(N, K, h, w\), got \(2, 2\)"):
        classifier(module, layer).features(IMAGES, [0, 1])
    assert hooks(module) == 0


def test_an_unknown_layer_shows_the_nearest() -> None:
    module = Reused()
    assert layer_of(module, "first") is module.first
    for unknown in ("frist", ""):
        with pytest.raises(MedsaliencyError, match="unknown layer"):
            layer_of(module, unknown)
    with pytest.raises(MedsaliencyError, match="did you mean 'first'"):
        layer_of(module, "frist")


def tokens() -> nn.Module:
    """A vision transformer of 2 x 3 patches, a class token and two registers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VisionTransformer(
            img_size=(16, 24),
            patch_size=8,
            in_chans=1,
            num_classes=2,
            embed_dim=16,
            depth=2,
            num_heads=2,
            reg_tokens=2,
        ).eval()


WIDE = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(3))


def test_patches_are_captured_on_their_grid_with_their_gradients() -> None:
    module = tokens()
    seen: list[Tensor] = []

    def hook(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    handle = module.blocks[1].norm1.register_forward_hook(hook)
    module(WIDE)[:, 1].sum().backward()
    handle.remove()
    for to_input in (True, False):
        found = classifier(module, "blocks.1.norm1").backward(WIDE, [1, 1], to_input=to_input, to_layer=True)
        assert found.features is not None
        for ours, plain in ((found.features.activations, seen[0]), (found.features.gradients, seen[0].grad)):
            assert plain is not None
            by_hand = torch.stack([plain[:, 3 + 3 * row : 6 + 3 * row].mT for row in range(2)], dim=2)
            assert ours.shape == (2, 16, 2, 3)
            torch.testing.assert_close(ours, by_hand)
            assert float(ours.abs().max()) > 0


def test_input_gradients_also_flow_through_the_class_token() -> None:
    module = tokens()
    inputs = WIDE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(inputs)[:, 0].sum(), inputs)
    found = classifier(module, "blocks.0").backward(WIDE, [0, 0], to_layer=True)
    torch.testing.assert_close(found.input_gradients, expected)


def test_tokens_in_front_stay_when_patches_are_replaced() -> None:
    model = classifier(tokens(), "blocks.0")
    activations = model.features(WIDE[:1], [0]).activations
    own = model.scores(WIDE[:1], [0])
    torch.testing.assert_close(model.scores_from_layer(WIDE[:1], activations.expand(3, -1, -1, -1), 0), own.expand(3))
    # By hand: the rest of the network on the block's tokens, of which patches are set to zero.
    module = model.module
    kept: list[Tensor] = []
    handle = module.blocks[0].register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        module(WIDE[:1])
        handle.remove()
        kept[0][:, 3:] = 0
        expected = module.head(module.norm(module.blocks[1](kept[0]))[:, 0])[:, 0]
    torch.testing.assert_close(model.scores_from_layer(WIDE[:1], torch.zeros_like(activations), 0), expected)
    assert hooks(module) == 0
    assert "forward" not in vars(module.blocks[0])


def test_windows_of_an_image_are_refused_by_name() -> None:
    module = SwinTransformer(
        img_size=32,
        patch_size=4,
        in_chans=1,
        num_classes=2,
        embed_dim=8,
        depths=(1, 1),
        num_heads=(1, 1),
        window_size=4,
    )
    images = torch.rand(2, 1, 32, 32)
    with pytest.raises(
        MedsaliencyError, match=r"layer 'layers.0.blocks.0.attn'.*2 image\(s\), got \(8, 16, 8\).*windows"
    ):
        classifier(module, "layers.0.blocks.0.attn").features(images, [0, 1])
    assert classifier(module, "layers.0.blocks.0").features(images, [0, 1]).activations.shape == (2, 8, 8, 8)


def test_volumes_are_captured_and_replaced() -> None:
    module = nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(24, 2)).eval()
    volumes = torch.rand(1, 1, 4, 4, 4)
    with torch.no_grad(), capture(module, "0") as kept:
        logits = module(volumes)
    assert kept[0].shape == (1, 3, 2, 2, 2)
    with torch.no_grad(), replace(module, "0", kept[0].expand(2, -1, -1, -1, -1)):
        torch.testing.assert_close(module(volumes), logits.expand(2, -1))
    refused = pytest.raises(MedsaliencyError, match=r"layer '3': expected feature maps \(N, K, d, h, w\), got \(1, 2\)")
    with refused, capture(module, "3"):
        module(volumes)
