"""Folding: the same function with less work, on networks built for it, on the paper's, and where it must not happen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.folding import NOTHING, FullPrecision, Plan, apply, plan
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build

EXAMPLE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode, its normalizations with statistics and weights that matter."""
    draw = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)) and layer.running_mean is not None:
            for values in (layer.weight.data, layer.running_var):
                values.copy_(0.5 + torch.rand(values.shape, generator=draw))
            for values in (layer.bias.data, layer.running_mean):
                values.copy_(0.2 * torch.randn(values.shape, generator=draw))
    return module.eval()


def simple(*middle: nn.Module) -> nn.Module:
    return settled(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), *middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
    )


def test_by_hand() -> None:
    # y = ((2 x - 3) / sqrt(4 - eps + eps)) * 5 + 7 = 5 x - 0.5
    convolution, normalization = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)
    module = nn.Sequential(convolution, normalization).eval()
    with torch.no_grad():
        convolution.weight.fill_(2)
        normalization.running_mean.fill_(3)
        normalization.running_var.fill_(4 - normalization.eps)
        normalization.weight.fill_(5)
        normalization.bias.fill_(7)
    found = apply(module, Plan((("0", "1"),)))
    assert float(found[0].weight) == pytest.approx(5)
    assert float(found[0].bias) == pytest.approx(-0.5)
    assert isinstance(found[1], nn.Identity)


@pytest.mark.parametrize(
    ("architecture", "folds"),
    # ResNet: every normalization follows a convolution. DenseNet: half of them, and the first; the others take
    # concatenations. EfficientNet: its normalizations bring their activations along.
    [("resnet18", 20), ("densenet121", 59), ("efficientnet_b0", 49), ("vgg16", 0)],
)
def test_the_same_scores_and_gradients(architecture: str, folds: int) -> None:
    module = settled(build(architecture, classes=3, channels=3, seed=1))
    found = plan(module, EXAMPLE[:1])
    assert len(found.folds) == folds
    before = {name: values.clone() for name, values in module.state_dict().items()}
    changed = apply(module, found)
    results = []
    for network in (module, changed):
        given = EXAMPLE.clone().requires_grad_()
        logits = network(given)
        results.append((logits, *torch.autograd.grad(logits[:, 1].sum(), given)))
    for mine, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(values, before[name]) for name, values in module.state_dict().items())
    assert not any(weight.requires_grad for weight in changed.parameters())
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in changed.modules()) == (
        sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) - folds
    )


def test_volumes_are_folded_as_images_are() -> None:
    module = settled(
        nn.Sequential(
            nn.Conv3d(3, 4, 3, bias=False),
            nn.BatchNorm3d(4),
            nn.ReLU(inplace=True),
            nn.BatchNorm3d(4),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
    )
    volumes = torch.rand(2, 3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    found = plan(module, volumes[:1])
    assert found == Plan((("0", "1"),), head="6")
    torch.testing.assert_close(apply(module, found)(volumes), module(volumes), rtol=1e-4, atol=1e-5)


class Bypass(nn.Module):
    """Uses what its convolution puts out a second time, before it is normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        return self.head((self.norm(features) + features).mean((2, 3)))


class Twice(nn.Module):
    """Runs its convolution twice, and normalizes one of the results."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(self.conv(x))).mean((2, 3)))


class Asks(nn.Module):
    """Has code that knows what its layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.norm(self.conv(x)) * self.norm.weight[:, None, None]).mean((2, 3)))


class Uncopied(nn.Module):
    """Holds a tensor that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)
        self.held = self.conv.weight * 2

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


class Insists(nn.Module):
    """Checks what its layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.norm, nn.BatchNorm2d)
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("make", [Bypass, Asks, Insists, Uncopied])
def test_what_cannot_be_changed_is_left_alone(make: type[nn.Module]) -> None:
    assert plan(settled(make()), EXAMPLE[:1]) == NOTHING
    assert plan(make().eval(), EXAMPLE[:1]) == NOTHING  # also where nothing has been learnt yet


def test_nothing_learnt_hides_nothing() -> None:
    """A new normalization is the identity: what is folded must be right for weights that come later."""
    module = Bypass().eval()
    nn.init.zeros_(module.head.weight)
    assert plan(module, EXAMPLE[:1]) == NOTHING
    in_place = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.Flatten()).eval()
    assert plan(in_place, EXAMPLE[:1]).folds == ()


def test_running_out_of_memory_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("medsaliency.model.folding.apply", full)
    with pytest.raises(torch.OutOfMemoryError):
        plan(simple(nn.BatchNorm2d(4)), EXAMPLE[:1])


def test_what_changes_after_planning_is_left_alone() -> None:
    module = simple(nn.BatchNorm2d(4))
    found = plan(module, EXAMPLE[:1])
    module[1].register_full_backward_hook(lambda *_: None)
    assert isinstance(apply(module, found)[1], nn.BatchNorm2d)
    module[1] = nn.Identity()
    torch.testing.assert_close(apply(module, found)(EXAMPLE), module(EXAMPLE))
    shorter = module[:5]  # without its head
    torch.testing.assert_close(apply(shorter, found)(EXAMPLE), shorter(EXAMPLE))


def test_a_module_that_holds_a_tensor_of_a_pass_runs_itself() -> None:
    module = simple(nn.BatchNorm2d(4))
    classifier = Classifier(module, ["a", "b"], channels=3)
    first = Probe(classifier, EXAMPLE, [0, 1]).scores(EXAMPLE, [0, 1])
    module.last = module[0](EXAMPLE)  # part of a graph: refuses to be copied
    probe = Probe(classifier, EXAMPLE, [0, 1])
    torch.testing.assert_close(probe.scores(EXAMPLE, [0, 1]), first, rtol=1e-4, atol=1e-5)
    assert probe._fast.module is module


@pytest.mark.parametrize(
    "module",
    [
        Twice(),
        simple(nn.BatchNorm2d(4, track_running_stats=False)),
        simple(nn.ReLU(), nn.BatchNorm2d(4)),
        simple(nn.ReLU(inplace=True), nn.BatchNorm2d(4)),
        simple(),
    ],
    ids=["runs twice", "no statistics", "not next to each other", "in place between them", "none"],
)
def test_such_normalizations_are_not_folded(module: nn.Module) -> None:
    found = plan(settled(module), EXAMPLE[:1])
    assert found.folds == ()
    assert found.head is not None


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_layer_with_a_hook_is_not_folded(kind: str, layer: int) -> None:
    module = simple(nn.BatchNorm2d(4))
    assert plan(module, EXAMPLE[:1]).folds == (("0", "1"),)
    getattr(module[layer], f"register_{kind}")(lambda *_: None)
    assert plan(module, EXAMPLE[:1]).folds == ()


def test_the_head_computes_in_full_precision() -> None:
    module = simple(nn.BatchNorm2d(4))
    found = plan(module, EXAMPLE[:1])
    assert found.head == "5"
    changed = apply(module, found)
    assert isinstance(changed[5], FullPrecision)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert module(EXAMPLE).dtype == torch.bfloat16
        logits = changed(EXAMPLE)
    assert logits.dtype == torch.float32
    with torch.no_grad():
        exact = module(EXAMPLE)
        features = changed[:5](EXAMPLE)
    torch.testing.assert_close(logits, exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(changed[5](features), exact)


def test_a_probe_sees_the_weights_of_its_time() -> None:
    module = simple(nn.BatchNorm2d(4)).train()
    classifier = Classifier(module, ["a", "b"], channels=3)
    first = Probe(classifier, EXAMPLE, [0, 1]).scores(EXAMPLE, [0, 1])
    torch.testing.assert_close(first, classifier.scores(EXAMPLE, [0, 1]), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        module[0].weight.data.mul_(-1)  # through .data, which leaves no trace in a tensor's version
        module[1].running_mean.add_(0.3)
    second = Probe(classifier, EXAMPLE, [0, 1]).scores(EXAMPLE, [0, 1])
    torch.testing.assert_close(second, classifier.scores(EXAMPLE, [0, 1]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first, second)
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())


def test_memory_that_ran_out_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    module = simple(nn.BatchNorm2d(4))

    def full(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError

    module.register_forward_pre_hook(full)
    classifier = Classifier(module, ["a", "b"], channels=3, batch_size=8)
    probe = Probe(classifier, EXAMPLE[:1], [0])
    assert len(probe.scores(EXAMPLE[:1].repeat(5, 1, 1, 1), [0] * 5)) == 5
    assert classifier.batch_size == 2
