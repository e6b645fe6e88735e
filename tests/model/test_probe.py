from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution import make_method, sharing
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import Geometry, MedsaliencyError, Resize, generator


class Counting(nn.Module):
    """Counts images that pass forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.passes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(len(x))
        return self.conv(x).relu().mean(dim=(2, 3))


IMAGES = torch.linspace(0, 1, 3 * 64).reshape(3, 1, 8, 8)
SHARED = ["gradient", "grad_cam", "grad_cam_plus_plus"]


def run(classifier: Classifier, names: list[str]) -> None:
    probe = Probe(classifier, IMAGES, [0, 1, 0])
    for method in sharing({name: make_method(name) for name in names}).values():
        method(probe, [generator(0, str(i)) for i in range(3)])


@pytest.mark.parametrize("names", [SHARED, SHARED[::-1]])
def test_methods_share_one_pass_in_any_order(names: list[str]) -> None:
    module = Counting()
    run(Classifier(module, ["a", "b"], target_layer="conv"), names)
    assert module.passes == [3]


@pytest.mark.parametrize("names", [SHARED, SHARED[::-1]])
def test_a_layer_that_must_be_found_costs_one_image_twice_and_once_only(names: list[str]) -> None:
    module = Counting()
    classifier = Classifier(module, ["a", "b"])
    run(classifier, names)
    # The gradient's own pass; one image to see that the module fits, and one to trace; the features'.
    assert module.passes == [3, 1, 1, 3]
    module.passes.clear()
    run(classifier, names)
    assert module.passes == [3]


def test_a_gradient_needs_no_layer() -> None:
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), ["a", "b"])
    assert Probe(classifier, IMAGES, [0, 1, 0]).input_gradients.shape == (3, 1, 8, 8)


def test_the_shared_pass_equals_separate_ones() -> None:
    classifier = Classifier(Counting(), ["a", "b"], target_layer="conv")
    targets = torch.tensor([0, 1, 0])
    probe = Probe(classifier, IMAGES, targets)
    assert torch.equal(probe.input_gradients, classifier.input_gradients(IMAGES, targets))
    assert torch.equal(probe.features.gradients, classifier.features(IMAGES, targets).gradients)


def test_logits_are_computed_once_and_without_targets_the_predicted_class_is_taken() -> None:
    module = Counting()
    classifier = Classifier(module, ["a", "b"], target_layer="conv")
    probe = Probe(classifier, IMAGES)
    assert torch.equal(probe.targets, probe.logits.argmax(dim=1))
    torch.testing.assert_close(probe.probabilities, classifier.to_probabilities(probe.logits))
    assert module.passes == [3]
    assert len(probe) == 3


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1], "expected one target an image, 3 in all"),
        ([0, 1, 0, 1], "expected one target an image, 3 in all"),
        ([0, 1, 2], "target of image 2: expected 0 to 1.*got 2"),
        ([0, -1, 0], "target of image 1: expected 0 to 1.*got -1"),
        ([0.0, 0.7, 1.0], "expected whole numbers as targets"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets: list[float], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        Probe(Classifier(Counting(), ["a", "b"]), IMAGES, targets)


def test_lesions_that_do_not_fit_are_refused() -> None:
    classifier = Classifier(Counting(), ["a", "b"])
    with pytest.raises(MedsaliencyError, match=r"a lesion mask or None an image, 3, got 2"):
        Probe(classifier, IMAGES, [0, 1, 0], [None, None])
    small = torch.zeros(4, 4, dtype=torch.bool)
    with pytest.raises(MedsaliencyError, match=r"lesion mask 1: expected the image's size \(8, 8\), got \(4, 4\)"):
        Probe(classifier, IMAGES, [0, 1, 0], [None, small, None])
    assert Probe(classifier, IMAGES, [0, 1, 0]).lesions == (None, None, None)


def test_with_geometries_lesions_are_on_native_pixels() -> None:
    classifier = Classifier(Counting(), ["a", "b"])
    geometries = [Geometry((16, 12), (Resize((16, 12), (8, 8)),)), Geometry((8, 8)), Geometry((5, 5))]
    lesions = [torch.ones(16, 12, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool), None]
    probe = Probe(classifier, IMAGES, [0, 1, 0], lesions, geometries=geometries)
    assert probe.geometries == tuple(geometries)
    assert Probe(classifier, IMAGES, [0, 1, 0]).geometries == (None, None, None)
    with pytest.raises(MedsaliencyError, match=r"expected a geometry an image, 3, got 2"):
        Probe(classifier, IMAGES, [0, 1, 0], lesions, geometries=geometries[:2])
    with pytest.raises(MedsaliencyError, match=r"lesion mask 0: expected the native size \(16, 12\), got \(8, 8\)"):
        Probe(classifier, IMAGES, [0, 1, 0], [lesions[1], None, None], geometries=geometries)
