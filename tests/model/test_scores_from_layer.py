"""Scores of activations put in a layer's place, in whatever way the module goes on from there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model import classifier as model
from medsaliency.model.classifier import Classifier
from medsaliency.model.targets import Contrast, Probability

DRAW = torch.Generator().manual_seed(4)
IMAGE = torch.rand(1, 1, 6, 6, generator=DRAW)
ACTIVATIONS = torch.randn(7, 3, 6, 6, generator=DRAW)


class Tailed(nn.Module):
    """A body, a layer, and a tail that a subclass gives; counts the images that enter the body and the layer."""

    width = 3

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 2, 3, padding=1)
        self.layer = nn.Conv2d(2, 3, 3, padding=1)
        self.head = nn.Linear(self.width, 3)
        self.entered: list[int] = []
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        self.entered.append(len(x))
        earlier = self.body(x)
        return self.tail(self.layer(earlier), earlier)

    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        """Logits of the layer's output and of what came before it."""
        raise NotImplementedError


class Plain(Tailed):
    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        return self.head(found.relu().mean(dim=(2, 3)))


class Adds(Tailed):
    """A residual connection around the layer."""

    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        return self.head((found + earlier[:, :1]).relu().mean(dim=(2, 3)))


class Concatenates(Tailed):
    """Dense features: what came before stands beside the layer's."""

    width = 5

    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        return self.head(torch.cat([found, earlier], dim=1).relu().mean(dim=(2, 3)))


class Views(Tailed):
    """Flattens by the number of images that came in."""

    width = 3 * 36

    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        return self.head(found.reshape(len(earlier), -1))


class Averages(Tailed):
    """Of the right shape also where images are too few, and then another number: the mean over the batch."""

    def tail(self, found: Tensor, earlier: Tensor) -> Tensor:
        rest = found - found.mean(dim=0, keepdim=True) if len(earlier) < len(found) else found
        return self.head(rest.relu().mean(dim=(2, 3)))


def by_hand(module: Tailed) -> Tensor:
    """Logits (P, K), of as many copies of the image as there are activations."""
    with torch.no_grad():
        return module.tail(ACTIVATIONS, module.body(IMAGE.expand(len(ACTIVATIONS), -1, -1, -1)))


@pytest.mark.parametrize("kind", [Plain, Adds, Concatenates, Views, Averages])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_they_are_those_of_full_passes(kind: type[Tailed], batch_size: int) -> None:
    module = kind()
    classifier = Classifier(module, ["a", "b", "c"], target_layer="layer", batch_size=batch_size)
    logits = by_hand(module)
    for target, expected in (
        (1, logits[:, 1]),
        (Contrast(2, 0), logits[:, 2] - logits[:, 0]),
        (Probability(0), logits.softmax(dim=1)[:, 0]),
    ):
        torch.testing.assert_close(classifier.scores_from_layer(IMAGE, ACTIVATIONS, target), expected)


@pytest.mark.parametrize(("kind", "images"), [(Plain, [1, 1, 1]), (Adds, [1, 1, 1]), (Concatenates, [3, 2, 2])])
def test_the_body_runs_once_a_micro_batch_where_it_can(
    kind: type[Tailed], images: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "NUMBERS", 3 * ACTIVATIONS[0].numel())
    module = kind()
    Classifier(module, ["a", "b", "c"], target_layer="layer", batch_size=3).scores_from_layer(IMAGE, ACTIVATIONS, 0)
    assert module.entered == [2, 1, *images]  # both ways on two activations, then the whole


def test_one_activation_is_enough() -> None:
    module = Concatenates()
    classifier = Classifier(module, ["a", "b", "c"], target_layer="layer")
    torch.testing.assert_close(classifier.scores_from_layer(IMAGE, ACTIVATIONS[:1], 2), by_hand(module)[:1, 2])


def test_an_images_own_activations_give_its_score() -> None:
    classifier = Classifier(Adds(), ["a", "b", "c"], mean=0.2, std=0.7, target_layer="layer")
    own = classifier.features(IMAGE, [0]).activations
    torch.testing.assert_close(classifier.scores_from_layer(IMAGE, own, 0), classifier.scores(IMAGE, [0]))
