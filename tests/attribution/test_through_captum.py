from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from medsaliency.attribution import NEEDS_CAPTUM, make_method
from medsaliency.attribution.deep_lift import DeepLIFT
from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.attribution.through_captum import drawing_from, through_layers
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator


@pytest.mark.parametrize("name", sorted(NEEDS_CAPTUM))
def test_without_captum_the_extra_is_named(name, classifier, images, generators, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    method = make_method(name)
    with pytest.raises(MedsaliencyError, match=r"needs the extra captum: pip install 'medsaliency\[captum\]'"):
        method(Probe(classifier, images, [0, 1, 2, 0]), generators(4))


def test_draws_follow_the_generator_and_global_ones_go_on_after_an_error() -> None:
    def draw() -> tuple[float, float]:
        return float(torch.rand(())), float(np.random.rand())  # noqa: NPY002

    with drawing_from(generator(1)):
        first = draw()
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    with drawing_from(generator(1)):
        assert draw() == first
    with pytest.raises(ZeroDivisionError), drawing_from(generator(1)):
        draw()[0] / 0
    assert before == (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    with drawing_from(generator(2)):
        assert draw() != first


def test_an_error_leaves_no_hook_on_the_module(classifier, images) -> None:
    def fail(scorer: nn.Module, _image: torch.Tensor) -> torch.Tensor:
        for layer in scorer.modules():
            layer.register_forward_hook(lambda *_: None)
            layer.something = 1
        raise KeyError

    classifier.module.train()
    with pytest.raises(KeyError):
        through_layers(Probe(classifier, images, [0, 1, 2, 0]), "test", fail)
    assert classifier.module.training
    assert not any(layer._forward_hooks or hasattr(layer, "something") for layer in classifier.module.modules())


class WrittenOver(nn.Module):
    """The ReLU works in place, and its input is used again after it."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(1, 2, 1), nn.ReLU(inplace), nn.Linear(2, 2)
        for number, parameter in enumerate(self.parameters()):
            nn.init.constant_(parameter, (-1) ** number)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        positive = self.relu(x)
        return self.head((positive + x).mean(dim=(2, 3)))


@pytest.mark.parametrize("method", [DeepLIFT(), GuidedBackprop()])
def test_a_module_that_relies_on_a_layer_in_place_is_refused(method, generators) -> None:
    image = torch.tensor([[0.1, 2.0], [0.3, 0.4]])[None, None]
    method(Probe(Classifier(WrittenOver(inplace=False), ["a", "b"]), image, [0]), generators(1))
    with pytest.raises(MedsaliencyError, match="set inplace=False"):
        method(Probe(Classifier(WrittenOver(inplace=True), ["a", "b"]), image, [0]), generators(1))
