from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier, Output
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast, Logit, Probability, Target, as_targets, score
from medsaliency.types import MedsaliencyError

LOGITS = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0], [5.0, 5.0, 6.0]])
IMAGES = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(3))


@dataclass(frozen=True)
class Entropy:
    """What a user may write: the uncertainty of the prediction, said of one class."""

    index: int = 0

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Entropy (n,) in nats."""
        del logits
        return -(probabilities * probabilities.log()).sum(dim=1)


@dataclass(frozen=True)
class Total:
    """A mistake: one number for all rows."""

    index: int = 0

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """The sum over rows."""
        return logits[:, self.index].sum() + probabilities.sum()


@dataclass
class Unfrozen:
    """Cannot be hashed."""

    index: int

    def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """The logit."""
        return logits[:, self.index] + 0 * probabilities[:, 0]


def network(outputs: int) -> nn.Sequential:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, outputs))
    draw = torch.Generator().manual_seed(outputs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw))
    return module


def test_the_three_targets_are_a_column_and_a_difference() -> None:
    probabilities = LOGITS.softmax(dim=1)
    assert Logit(1)(LOGITS, probabilities).tolist() == [4, -1, 5]
    torch.testing.assert_close(Probability(2)(LOGITS, probabilities), probabilities[:, 2])
    assert Contrast(1, 2)(LOGITS, probabilities).tolist() == [2, -4, -1]
    # Under a softmax the contrast is the log of the odds.
    odds = probabilities[:, 1] / probabilities[:, 2]
    torch.testing.assert_close(Contrast(1, 2)(LOGITS, probabilities), odds.log())


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [1, 3, 0, 4, 2]])
def test_each_row_is_scored_by_its_own_target_in_any_order(order: list[int]) -> None:
    logits = torch.arange(15.0).reshape(5, 3).sin()
    probabilities = logits.softmax(dim=1)
    targets = [Logit(0), Contrast(1, 2), Logit(0), Probability(2), Contrast(2, 1)]
    mixed = [targets[i] for i in order]
    single = [t(logits[i : i + 1], probabilities[i : i + 1]) for i, t in enumerate(mixed)]
    assert torch.equal(score(mixed, logits, probabilities), torch.cat(single))


def test_equal_targets_are_computed_together() -> None:
    rows = []

    @dataclass(frozen=True)
    class Counting(Logit):
        def __call__(self, logits: Tensor, probabilities: Tensor) -> Tensor:
            rows.append(len(logits))
            return super().__call__(logits, probabilities)

    found = score([Counting(0), Counting(1), Counting(0)], LOGITS, LOGITS)
    assert found.tolist() == [1, -1, 5]
    assert rows == [2, 1]


@pytest.mark.parametrize(
    "given",
    [
        [2, 0, 1],
        (np.int64(2), np.uint8(0), np.int32(1)),
        np.array([2, 0, 1]),
        np.array([2, 0, 1], dtype=np.uint8),
        torch.tensor([2, 0, 1]),
        [torch.tensor(2), Logit(0), np.array(1)],
        np.array([Logit(2), 0, 1], dtype=object),
    ],
    ids=str,
)
def test_whole_numbers_mean_logits(given: object) -> None:
    assert as_targets(given, 3, 3) == (Logit(2), Logit(0), Logit(1))  # type: ignore[arg-type]


def test_target_objects_are_taken_as_they_are() -> None:
    given: list[Target | int] = [Contrast(0, 2), Probability(1), 2, Entropy(1)]
    assert as_targets(given, 4, 3) == (Contrast(0, 2), Probability(1), Logit(2), Entropy(1))
    assert [target.index for target in as_targets(given, 4, 3)] == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 1], "expected one target an image, 3 in all, got 2"),
        (torch.zeros(3, 1, dtype=torch.int64), r"3 in all, got shape \(3, 1\)"),
        (np.zeros((3, 3)), "expected whole numbers as targets"),
        (torch.tensor([0.0, 1.0, 2.0]), "expected whole numbers as targets"),
        ([0, 1, 3], "target of image 2: expected 0 to 2, a class of the model, got 3"),
        ([0, -1, 2], "target of image 1: expected 0 to 2, a class of the model, got -1"),
        ([0, Probability(7), 2], "target of image 1: expected 0 to 2, a class of the model, got 7"),
        ([Contrast(0, 3), 1, 2], "target of image 0: expected 0 to 2, a class of the model, got 3"),
        ([0, 1, Contrast(1, 1)], "target of image 2: expected two different classes to contrast"),
        ([0, "tumor", 2], "target of image 1: .* target objects, got 'tumor'"),
        ([0, 1.0, 2], "target of image 1: .* got 1.0"),
        ([0, torch.tensor(0.7), 2], "target of image 1: .* got tensor"),
        ([0, True, 2], "target of image 1: .* got True"),
        (np.array([True, False, True]), "target of image 0: .* got True"),
        (np.array(["a", "b", "c"]), "target of image 0: .* got 'a'"),
        ([0, Unfrozen(1), 2], "target of image 1: expected a target that can be hashed"),
    ],
)
def test_what_is_no_target_is_refused_by_image(given: object, message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        as_targets(given, 3, 3)  # type: ignore[arg-type]


def test_a_target_that_gives_anything_but_a_score_a_row_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"Total\(index=0\): expected one score a row, shape \(3,\), got \(\)"):
        score([Total()] * 3, LOGITS, LOGITS)


def gradients_by_hand(module: nn.Module, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Gradient of the sum of ``of`` (the module's own outputs) by images that are normalized on the way."""
    images = IMAGES.clone().requires_grad_()
    return torch.autograd.grad(of(module((images - 0.3) / 0.6)).sum(), images)[0]


HEADS: dict[str, tuple[Output, int, Target, Callable[[Tensor], Tensor]]] = {
    "softmax, probability": ("softmax", 3, Probability(2), lambda z: z.softmax(dim=1)[:, 2]),
    "softmax, contrast": ("softmax", 3, Contrast(2, 0), lambda z: z[:, 2] - z[:, 0]),
    "multi-label, logit": ("sigmoid", 3, Logit(1), lambda z: z[:, 1]),
    "multi-label, probability": ("sigmoid", 3, Probability(1), lambda z: z[:, 1].sigmoid()),
    "multi-label, contrast": ("sigmoid", 3, Contrast(1, 2), lambda z: z[:, 1] - z[:, 2]),
    "single logit, above": ("single_logit", 1, Logit(1), lambda z: z[:, 0]),
    "single logit, below": ("single_logit", 1, Logit(0), lambda z: -z[:, 0]),
    "single logit, probability below": ("single_logit", 1, Probability(0), lambda z: 1 - z[:, 0].sigmoid()),
    "single logit, contrast": ("single_logit", 1, Contrast(1, 0), lambda z: 2 * z[:, 0]),
    "a target of one's own": ("softmax", 3, Entropy(), lambda z: -(z.softmax(1) * z.log_softmax(1)).sum(1)),
}


@pytest.mark.parametrize("head", HEADS)
def test_scores_and_gradients_of_every_head_are_those_by_hand(head: str) -> None:
    output, outputs, target, of = HEADS[head]
    module = network(outputs)
    classes = ["below", "above"] if outputs == 1 else ["a", "b", "c"]
    classifier = Classifier(module, classes, mean=0.3, std=0.6, output=output, target_layer="0", batch_size=3)
    probe = Probe(classifier, IMAGES, [target] * 4)
    expected = gradients_by_hand(module, of)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(probe.input_gradients, expected)
    scores, gradients = probe.gradients(IMAGES[[1, 0]], [1, 0])
    torch.testing.assert_close(gradients, expected[[1, 0]])
    with torch.no_grad():
        by_hand = of(module((IMAGES - 0.3) / 0.6))
    torch.testing.assert_close(scores, by_hand[[1, 0]])
    torch.testing.assert_close(probe.scores(IMAGES, range(4)), by_hand)
    own = probe.features.activations[2:3]
    torch.testing.assert_close(probe.scores_from_layer(own, 2), by_hand[2:3])


def test_every_image_has_its_own_target_in_one_batch() -> None:
    classifier = Classifier(network(3), ["a", "b", "c"], batch_size=2)
    targets: list[Target | int] = [Contrast(0, 1), 2, Probability(1), Contrast(0, 1)]
    together = Probe(classifier, IMAGES, targets)
    assert together.targets.tolist() == [0, 2, 1, 0]
    assert together.objects[1] == Logit(2)
    for i, target in enumerate(targets):
        alone = Probe(classifier, IMAGES[i : i + 1], [target])
        torch.testing.assert_close(together.input_gradients[i : i + 1], alone.input_gradients)
