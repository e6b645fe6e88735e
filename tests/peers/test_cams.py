"""CAM methods against Gildenblat's `grad-cam`, `torchcam` and Captum (extra `test`), on real images of three data sets.

The peers are given the preprocessing and the network as one module, and images in display range, so that they mask
what ours masks. The target layers lie away from global pooling: there gradients differ from position to position, and
with them Grad-CAM, XGrad-CAM and HiResCAM; and there are few maps, so that Score-CAM and Ablation-CAM are quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_grad_cam as grad_cam
import torch
import torchcam.methods as torchcam
from captum.attr import LayerFeatureAblation, LayerGradCam, LayerGradientXActivation
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn
from torch.nn import functional as F

from medsaliency.attribution.ablation_cam import AblationCAM
from medsaliency.attribution.eigen_cam import EigenCAM
from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from medsaliency.attribution.hires_cam import HiResCAM
from medsaliency.attribution.layer_cam import LayerCAM
from medsaliency.attribution.method import Method, weighted_sum
from medsaliency.attribution.score_cam import ScoreCAM
from medsaliency.attribution.x_grad_cam import XGradCAM
from medsaliency.data import open_source
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build

SIZE = 64
DATA = ("brain-mri", "breast-ultrasound", "chest-xray")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Steep:
    """A multiple of a logit: a target of ours and, given one image's logits alone, of the peers."""

    index: int
    by: float

    def __call__(self, logits: Tensor, probabilities: Tensor | None = None) -> Tensor:
        return self.by * logits[..., self.index]


@dataclass(frozen=True)
class Subject:
    """A network and images, as ours and as the peers take them.

    Args:
        steepness: Multiple of the logits under which Score-CAM's softmax is neither flat nor has a single peak.
    """

    classifier: Classifier
    images: Tensor
    network: nn.Sequential
    layer: nn.Module
    steepness: float

    def steep(self, by: float) -> list[Steep]:
        """The predicted class of each image, as a target."""
        return [Steep(index, by) for index in Probe(self.classifier, self.images).targets.tolist()]

    @property
    def activations(self) -> Tensor:
        return Probe(self.classifier, self.images).features.activations

    def ours(self, method: Method, targets: Sequence[Steep]) -> Tensor:
        return method(Probe(self.classifier, self.images, list(targets)), [])


class Normalize(nn.Module):
    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


@pytest.fixture(scope="module")
def images(real_data: Path) -> Tensor:
    """Two of each data set, of two classes, as the package reads them: (6, 1, 64, 64)."""
    read = []
    for name in DATA:
        dataset = open_source(real_data / name)
        records = [next(record for record in dataset.records if record.label == label) for label in (0, 1)]
        read += [torch.from_numpy(sample.image) for sample in dataset.samples(records, SIZE)]
    return torch.stack(read)


@pytest.fixture(
    scope="module",
    params=[
        ("resnet18", "layer1", 100.0),  # behind a ReLU
        ("efficientnet_b0", "blocks.1", 1.0),  # linear, with values of both signs
    ],
    ids=lambda param: param[0],
)
def subject(request: pytest.FixtureRequest, images: Tensor) -> Subject:
    """A network of random weights whose normalization layers have seen the images, as after training."""
    architecture, name, steepness = request.param
    module, normalize = build(architecture, classes=3, seed=0), Normalize(0.3, 0.25)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain mean
    with torch.no_grad():
        module.train()(normalize(images))
    module.eval()
    classifier = Classifier(module, ["a", "b", "c"], mean=normalize.mean, std=normalize.std, target_layer=name)
    return Subject(classifier, images, nn.Sequential(normalize, module), module.get_submodule(name), steepness)


@pytest.fixture
def few(subject: Subject) -> Subject:
    """With one image of each data set, for methods of many passes."""
    return replace(subject, images=subject.images[::2])


def of_grad_cam(subject: Subject, name: str, targets: Sequence[Steep]) -> Tensor:
    """Maps scaled by their extremes, resized by OpenCV (between the centers of cells, as ours), and scaled again."""
    with getattr(grad_cam, name)(model=subject.network, target_layers=[subject.layer]) as cam:
        return torch.from_numpy(cam(input_tensor=subject.images, targets=list(targets)))


def of_torchcam(subject: Subject, kind: type, targets: Sequence[Steep]) -> Tensor:
    with kind(subject.network, subject.layer) as cam:
        scores = subject.network(subject.images)
        (grids,) = cam(scores=scores, targets=list(targets), normalized=False)
    return upsampled(grids)


def upsampled(grids: Tensor) -> Tensor:
    """torchcam and Captum give maps of the layer's grid and leave it to the user to resize them: here, as ours."""
    return F.interpolate(grids.detach()[:, None], size=(SIZE, SIZE), mode="bilinear")[:, 0]


def scaled(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    assert bool((high > low).all())
    return (maps - low) / (high - low)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """After each map is scaled by its extremes, the only form in which grad-cam gives them."""
    torch.testing.assert_close(scaled(ours), scaled(theirs), rtol=0, atol=TOLERANCE)


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    """Also as they are."""
    assert_same(ours, theirs)
    peak = theirs.abs().amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(ours / peak, theirs / peak, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (GradCAM(), "GradCAM"),
        (GradCAMPlusPlus(), "GradCAMPlusPlus"),
        (LayerCAM(), "LayerCAM"),
        (XGradCAM(), "XGradCAM"),
        (HiResCAM(sign="positive"), "HiResCAM"),
    ],
    ids=repr,
)
def test_maps_of_gradients_are_those_of_grad_cam(subject: Subject, ours: Method, name: str) -> None:
    targets = subject.steep(1e4)  # beside its gradients, the 1e-6 that grad-cam adds to squared ones vanishes
    assert_same(subject.ours(ours, targets), of_grad_cam(subject, name, targets))


# Not GradCAMpp: torchcam 0.5 divides a copy of the squared gradients and goes on with the undivided ones.
@pytest.mark.parametrize(
    ("ours", "kind"),
    [(GradCAM(), torchcam.GradCAM), (LayerCAM(), torchcam.LayerCAM), (XGradCAM(), torchcam.XGradCAM)],
    ids=repr,
)
def test_maps_of_gradients_are_those_of_torchcam(subject: Subject, ours: Method, kind: type) -> None:
    targets = subject.steep(1)
    assert_equal(subject.ours(ours, targets), of_torchcam(subject, kind, targets))


def test_maps_of_gradients_are_those_of_captum(subject: Subject) -> None:
    targets = subject.steep(1)
    indices = torch.tensor([target.index for target in targets])
    theirs = LayerGradCam(subject.network, subject.layer).attribute(subject.images, indices, relu_attributions=True)
    assert_equal(subject.ours(GradCAM(), targets), upsampled(theirs[:, 0]))
    theirs = LayerGradientXActivation(subject.network, subject.layer).attribute(subject.images, indices)
    assert_equal(subject.ours(HiResCAM(), targets), upsampled(theirs.sum(dim=1)))


def test_eigen_cam_is_that_of_grad_cam(subject: Subject) -> None:
    # Before grad-cam keeps the positive part of it, with the sign that the eigenvector happens to have.
    targets = subject.steep(1)
    ours = subject.ours(EigenCAM(centered=True, sign="signed"), targets)
    theirs = upsampled(torch.from_numpy(get_2d_projection(subject.activations.numpy())))
    assert_equal(ours, theirs * (ours * theirs).sum(dim=(1, 2), keepdim=True).sign())


class PaperOrder(torchcam.ScoreCAM):
    """Masks scaled after they are upsampled, as in the paper and ours; torchcam scales them before."""

    def _upsample(self, activation: Tensor) -> Tensor:
        return self._normalize(super()._upsample(activation), 2)


def test_score_cam_is_that_of_both(few: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = few.steep(few.steepness)
    ours = few.ours(ScoreCAM(tolerance=None), targets)
    # torchcam's baseline is the image's own score: one number for all maps, which drops out of the softmax.
    with torch.no_grad():
        assert_equal(ours, of_torchcam(few, PaperOrder, targets))
    # grad-cam aligns the corners of what it upsamples.
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", partial(nn.Upsample, mode="bilinear", align_corners=False))
    assert_same(ours, of_grad_cam(few, "ScoreCAM", targets))


def test_ablation_cam_is_that_of_grad_cam_behind_a_relu_and_of_captum(few: Subject) -> None:
    targets = few.steep(1)
    ours = few.ours(AblationCAM(), targets)
    activations = few.activations
    if float(activations.min()) == 0:  # elsewhere grad-cam sets a map not to zero but far below all values
        assert_same(ours, of_grad_cam(few, "AblationCAM", targets))
    each = torch.arange(activations.shape[1])[None, :, None, None].expand(1, *activations.shape[1:])
    ablation = LayerFeatureAblation(few.network, few.layer)
    drops = [
        ablation.attribute(image[None], 0, target.index, layer_mask=each, perturbations_per_eval=32)[0, :, 0, 0]
        for image, target in zip(few.images, targets, strict=True)
    ]
    scores = Probe(few.classifier, few.images).logits.amax(dim=1, keepdim=True)
    assert float(scores.min()) > 0
    assert_equal(ours, upsampled(weighted_sum(activations, torch.stack(drops) / scores).relu()))
