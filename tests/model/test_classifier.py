from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.passes import Features
from medsaliency.types import MedsaliencyError

TARGETS = torch.tensor([0, 1, 1])


def images(count: int = 3, channels: int = 1, size: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def network(*, inplace: bool = False, outputs: int = 2) -> nn.Sequential:
    """A small network with fixed weights; the ReLU after the first convolution may write into its input."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(inplace=inplace),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, outputs),
    )
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return module


class Broken(nn.Module):
    """Raises in the forward pass, in a submodule after a hooked one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.frozen = nn.BatchNorm2d(2).eval()

    def forward(self, x: Tensor) -> Tensor:
        self.conv(x)
        raise RuntimeError("broken on purpose")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x)).mean(dim=(2, 3)).repeat(1, 2)


class Viewing(nn.Module):
    """Flattens feature maps with ``view``, which refuses channels-last memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.fc = nn.Linear(3 * 64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().view(len(x), -1))


def modes(module: nn.Module) -> list[bool]:
    return [child.training for child in module.modules()]


def both(classifier: Classifier, given: Tensor | None = None) -> tuple[Tensor, Features]:
    """Input gradients and features, from one pass."""
    found = classifier.backward(images() if given is None else given, TARGETS, to_layer=True)
    assert found.input_gradients is not None
    assert found.features is not None
    return found.input_gradients, found.features


def hooks(module: nn.Module) -> int:
    return sum(len(child._forward_hooks) + len(child._backward_hooks) for child in module.modules())


def test_logits_are_of_the_normalized_image_in_eval_mode() -> None:
    module = network()
    classifier = Classifier(module, ["a", "b"], mean=[0.4], std=0.2)
    expected = module.eval()((images() - 0.4) / 0.2)
    module.train()
    torch.testing.assert_close(classifier.logits(images()), expected)
    assert classifier.logits(images()).requires_grad is False
    assert modes(module) == [True] * 7


def test_each_channel_has_its_own_mean_and_std() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(module, ["a", "b"], channels=2, mean=[0.5, 0.25], std=[0.5, 2])
    ones = torch.ones(1, 2, 4, 4)
    torch.testing.assert_close(classifier.logits(ones), torch.tensor([[1.0, 0.375]]))
    # The gradient is with respect to the display range: 1/16 of a pixel's share, divided by std.
    gradients = classifier.input_gradients(ones, torch.tensor([1]))
    torch.testing.assert_close(gradients[0, 1], torch.full((4, 4), 1 / 16 / 2))
    assert gradients[0, 0].abs().max() == 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_micro_batch_changes_nothing(batch_size: int) -> None:
    reference = Classifier(network(), ["a", "b"])
    classifier = Classifier(network(), ["a", "b"], batch_size=batch_size)
    torch.testing.assert_close(classifier.logits(images()), reference.logits(images()))
    ours, theirs = (both(c) for c in (classifier, reference))
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1].activations, theirs[1].activations)
    torch.testing.assert_close(ours[1].gradients, theirs[1].gradients)


def test_softmax_sigmoid_and_single_logit_outputs() -> None:
    softmax = Classifier(network(), ["a", "b"]).probabilities(images())
    torch.testing.assert_close(softmax.sum(dim=1), torch.ones(3))
    sigmoid = Classifier(network(), ["a", "b"], output="sigmoid")
    torch.testing.assert_close(sigmoid.probabilities(images()), sigmoid.logits(images()).sigmoid())

    module = network(outputs=1)
    single = Classifier(module, ["below", "above"], output="single_logit")
    z = module.eval()(images())[:, 0]
    torch.testing.assert_close(single.logits(images()), torch.stack([-z, z], dim=1))
    torch.testing.assert_close(single.probabilities(images())[:, 1], z.sigmoid())
    torch.testing.assert_close(single.probabilities(images()).sum(dim=1), torch.ones(3))
    below, above = (single.input_gradients(images(), torch.full((3,), k)) for k in (0, 1))
    torch.testing.assert_close(below, -above)
    assert above.abs().max() > 0


def test_an_in_place_activation_after_the_layer_gives_the_same_features() -> None:
    plain = Classifier(network(), ["a", "b"], target_layer="0")
    inplace = Classifier(network(inplace=True), ["a", "b"], target_layer="0")
    expected, got = (both(c) for c in (plain, inplace))
    assert expected[1].activations.min() < 0
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(got[1].activations, expected[1].activations)
    torch.testing.assert_close(got[1].gradients, expected[1].gradients)


def test_features_alone_equal_features_with_gradients() -> None:
    classifier = Classifier(network(), ["a", "b"])
    gradients, features = both(classifier)
    alone = classifier.features(images(), TARGETS)
    torch.testing.assert_close(alone.activations, features.activations, rtol=0, atol=0)
    torch.testing.assert_close(alone.gradients, features.gradients, rtol=0, atol=0)
    torch.testing.assert_close(classifier.input_gradients(images(), TARGETS), gradients, rtol=0, atol=0)


def test_frozen_weights_and_no_grad_do_not_stop_gradients() -> None:
    module = network().requires_grad_(False)
    classifier = Classifier(module, ["a", "b"])
    with torch.no_grad():
        gradients, features = both(classifier)
    assert gradients.abs().max() > 0
    assert features.gradients.abs().max() > 0


def test_weights_keep_no_gradient_and_the_image_is_untouched() -> None:
    module = network()
    given = images()
    both(Classifier(module, ["a", "b"]), given)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(given, images())
    assert not given.requires_grad


def test_modes_and_hooks_come_back_when_the_module_raises() -> None:
    module = Broken()
    before = modes(module)
    assert before == [True, True, False]
    classifier = Classifier(module, ["a", "b"], target_layer="conv")
    for call in (
        lambda: classifier.logits(images()),
        lambda: both(classifier),
    ):
        with pytest.raises(RuntimeError, match="broken on purpose"):
            call()
        assert modes(module) == before
        assert hooks(module) == 0


def test_a_layer_called_twice_is_an_error_and_leaves_no_hook() -> None:
    module = Twice()
    classifier = Classifier(module, ["a", "b"], target_layer="conv")
    with pytest.raises(MedsaliencyError, match=r"layer 'conv': expected to run once in a forward pass, ran 2 times"):
        classifier.features(images(), TARGETS)
    assert hooks(module) == 0


def test_a_layer_that_puts_out_no_feature_maps_is_an_error_and_leaves_no_hook() -> None:
    module = network()
    with pytest.raises(MedsaliencyError, match=r"layer '5': expected feature maps \(N, K, h, w\), got \(3, 2\)"):
        Classifier(module, ["a", "b"], target_layer="5").features(images(), TARGETS)
    assert hooks(module) == 0


def test_a_module_that_views_its_feature_maps_works() -> None:
    module = Viewing()
    expected = module(images()).detach()
    classifier = Classifier(module, ["a", "b"])
    gradients, features = both(classifier)
    assert features.activations.shape == (3, 3, 8, 8)
    assert gradients.shape == (3, 1, 8, 8)
    torch.testing.assert_close(classifier.logits(images()), expected)


def test_images_that_do_not_fit_are_refused() -> None:
    classifier = Classifier(network(), ["a", "b"])
    for wrong in (images(channels=3), images()[0], images()[:0]):
        for call in (classifier.logits, classifier.target_layer, lambda x: classifier.features(x, TARGETS[: len(x)])):
            with pytest.raises(MedsaliencyError, match=r"expected images of shape \(N, 1, H, W\)"):
                call(wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_pixel_that_is_not_finite_is_refused_and_named(value: float) -> None:
    given = images()
    given[1, 0, 2, 2] = value
    with pytest.raises(MedsaliencyError, match="NaN or infinity in image 1"):
        Classifier(network(), ["a", "b"]).logits(given)


def test_a_logit_that_is_not_finite_is_refused() -> None:
    module = network()
    with torch.no_grad():
        module[5].bias[0] = float("nan")
    classifier = Classifier(module, ["a", "b"])
    with pytest.raises(MedsaliencyError, match="finite logits"):
        classifier.logits(images())
    with pytest.raises(MedsaliencyError, match="finite logits"):
        classifier.input_gradients(images(), TARGETS)


def test_a_wrong_number_of_logits_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"logits of shape \(3, 3\).*got \(3, 2\)"):
        Classifier(network(), ["a", "b", "c"]).logits(images())


@pytest.mark.parametrize("targets", [[0, 2, 1], [0, -1, 1]])
def test_a_target_out_of_range_is_refused(targets: list[int]) -> None:
    with pytest.raises(MedsaliencyError, match="expected 0 to 1, a class of the model, got"):
        Classifier(network(), ["a", "b"]).input_gradients(images(), torch.tensor(targets))


@pytest.mark.parametrize("targets", [[0], [0, 1], [0, 1, 0, 1], [[0], [1], [0]]])
def test_targets_are_one_an_image(targets: list[int]) -> None:
    with pytest.raises(MedsaliencyError, match="expected one target an image"):
        Classifier(network(), ["a", "b"]).input_gradients(images(), torch.tensor(targets))


def test_an_unknown_layer_shows_the_nearest() -> None:
    with pytest.raises(MedsaliencyError, match=r"unknown layer 'convv'; did you mean 'conv'\?"):
        Classifier(Twice(), ["a", "b"], target_layer="convv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "softmaxx"}, "did you mean 'softmax'"),
        ({"output": "single_logit", "classes": ["a", "b", "c"]}, "a single logit has 2 classes"),
        ({"std": 0.0}, "expected std above 0"),
        ({"std": [1.0, 2.0]}, "expected std with 1 or 1 values, got 2"),
        ({"mean": float("nan"), "std": float("nan")}, "expected std above 0"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"size": 0}, "expected size as one side in pixels"),
        ({"size": (16, 16)}, r"as \(D, H, W\) of a volume, or None, got \(16, 16\)"),
        ({"size": (0, 16, 16)}, r"as \(D, H, W\) of a volume"),
    ],
)
def test_what_cannot_be_right_is_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"classes": ["a", "b"], **changes}
    with pytest.raises(MedsaliencyError, match=message):
        Classifier(network(), **arguments)


VOLUMES = torch.rand(3, 2, 5, 6, 7, generator=torch.Generator().manual_seed(2))


def of_volumes() -> nn.Sequential:
    module = nn.Sequential(
        nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return module


@pytest.mark.parametrize("batch_size", [2, 32])
def test_of_volumes_scores_gradients_and_features_are_autograds(batch_size: int) -> None:
    module = of_volumes()
    mean, std = [0.2, 0.6], [0.5, 0.25]
    classifier = Classifier(
        module, ["a", "b"], channels=2, mean=mean, std=std, size=(5, 6, 7), target_layer="0", batch_size=batch_size
    )
    given = VOLUMES.clone().requires_grad_()
    prepared = torch.stack([(given[:, k] - mean[k]) / std[k] for k in range(2)], dim=1)
    maps = module[0](prepared)
    maps.retain_grad()
    logits = module[1:](maps.clone())
    logits[range(3), TARGETS].sum().backward()
    gradients, features = both(classifier, VOLUMES)
    torch.testing.assert_close(classifier.logits(VOLUMES), logits.detach())
    torch.testing.assert_close(gradients, given.grad)
    torch.testing.assert_close(features.activations, maps.detach())
    torch.testing.assert_close(features.gradients, maps.grad)
    assert gradients.shape == VOLUMES.shape
    assert features.activations.shape == (3, 3, 5, 6, 7)


def test_scores_of_a_layers_output_are_those_of_the_rest_of_a_network_of_volumes() -> None:
    module = of_volumes()
    classifier = Classifier(module, ["a", "b"], channels=2, target_layer="1")
    activations = torch.rand(5, 3, 5, 6, 7, generator=torch.Generator().manual_seed(3))
    found = classifier.scores_from_layer(VOLUMES[:1], activations, 1)
    torch.testing.assert_close(found, module[2:](activations)[:, 1].detach())


def test_volumes_run_in_the_plain_format_until_told_otherwise() -> None:
    assert Classifier(of_volumes(), ["a", "b"], channels=2).execution.memory_format == "contiguous"
    assert Classifier(network(), ["a", "b"]).execution.memory_format == "channels_last"
    classifier = Classifier(of_volumes(), ["a", "b"], channels=2)
    expected = classifier.logits(VOLUMES)
    classifier.execution = Execution(memory_format="channels_last")
    assert classifier.prepare(VOLUMES).is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(classifier.logits(VOLUMES), expected)


def test_images_for_a_network_of_volumes_are_refused_and_the_other_way() -> None:
    with pytest.raises(MedsaliencyError, match=r"expected volumes \(N, C, D, H, W\), as .* got images"):
        Classifier(of_volumes(), ["a", "b"], channels=2).logits(VOLUMES[:, :, 0])
    with pytest.raises(MedsaliencyError, match=r"expected images \(N, C, H, W\), as .* got volumes"):
        Classifier(network(), ["a", "b"]).logits(VOLUMES[:, :1])
