"""Methods that read what one pass gives cost one pass together."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from medsaliency.attribution import make_method, sharing
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

READERS = ["grad_cam", "grad_cam_plus_plus", "layer_cam", "x_grad_cam", "hires_cam", "eigen_cam"]


@pytest.fixture
def passes(classifier: Classifier) -> list[int]:
    """Images of each forward pass of the module."""
    counts: list[int] = []

    def count(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        counts.append(len(inputs[0]))

    classifier.module.register_forward_pre_hook(count)
    return counts


@pytest.mark.parametrize("names", [["gradient", *READERS], [*READERS[::-1], "gradient"]])
def test_the_gradient_and_six_readers_of_features_share_one_pass(
    names: list[str], classifier: Classifier, images: Tensor, generators, passes: list[int]
) -> None:
    model = Classifier(classifier.module, classifier.classes, channels=2, target_layer="1")
    probe = Probe(model, images, [0, 1, 2, 0])
    maps = {name: method(probe, generators(4)) for name, method in sharing({n: make_method(n) for n in names}).items()}
    assert set(maps) == {"gradient", *READERS}
    assert passes == [4]


@pytest.mark.parametrize("name", READERS)
def test_a_reader_alone_costs_one_pass(
    name: str, classifier: Classifier, images: Tensor, generators, passes: list[int]
) -> None:
    model = Classifier(classifier.module, classifier.classes, channels=2, target_layer="1")
    make_method(name)(Probe(model, images, [0, 1, 2, 0]), generators(4))
    assert passes == [4]
