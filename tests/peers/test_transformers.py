"""CAM methods on transformers against Gildenblat's `grad-cam` with a reshape written here, and against Captum.

The networks are untrained and cheap, images are not square, and the layer is the one that is chosen unless told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_grad_cam as grad_cam
import timm
import torch
from captum.attr import LayerFeatureAblation
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
from medsaliency.model.classifier import Classifier
from medsaliency.model.passes import Features
from medsaliency.model.probe import Probe
from medsaliency.types import torch_seed

SIZE = (64, 96)
TOLERANCE = 1e-4
IMAGES = torch.rand(4, 1, *SIZE, generator=torch.Generator().manual_seed(1))
Reshape = Callable[[Tensor], Tensor]


def patches(tokens: Tensor, front: int = 1) -> Tensor:
    """(n, front + 4 * 6, K), row after row, to (n, K, 4, 6)."""
    return tokens[:, front:].reshape(len(tokens), 4, 6, -1).permute(0, 3, 1, 2)


def channels_first(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


NETWORKS: dict[str, tuple[str, dict, str, Reshape | None]] = {
    "vit": ("vit_tiny_patch16_224", {"img_size": SIZE}, "blocks.11.norm1", patches),
    "vit with registers": (
        "vit_tiny_patch16_224",
        {"img_size": SIZE, "reg_tokens": 3},
        "blocks.11.norm1",
        partial(patches, front=4),
    ),
    "averaging vit": (
        "vit_tiny_patch16_224",
        {"img_size": SIZE, "global_pool": "avg", "class_token": False},
        "blocks.11",
        partial(patches, front=0),
    ),
    "swin": ("swin_tiny_patch4_window7_224", {"img_size": SIZE}, "norm", channels_first),
    "convnext": ("convnext_atto", {}, "norm_pre", None),
}
FEW = {"embed_dim": 24, "num_heads": 2}
"""Few feature maps, for methods that take a pass for each."""
SMALL: dict[str, tuple[str, dict, str, Reshape | None]] = {
    "vit": (
        "vit_tiny_patch16_224",
        {"img_size": SIZE, "reg_tokens": 3, "depth": 2, **FEW},
        "blocks.1.norm1",
        partial(patches, front=4),
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": SIZE, **FEW, "num_heads": (2, 2), "depths": (2, 2)},
        "norm",
        channels_first,
    ),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}, "norm_pre", None),
}


@dataclass(frozen=True)
class Steep:
    """A multiple of a logit: a target of ours and, given one image's logits alone, of the peers."""

    index: int
    by: float

    def __call__(self, logits: Tensor, probabilities: Tensor | None = None) -> Tensor:
        return self.by * logits[..., self.index]


@dataclass(frozen=True)
class Subject:
    """A network and images, as ours and as the peers take them."""

    classifier: Classifier
    images: Tensor
    layer: nn.Module
    reshape: Reshape | None

    @property
    def network(self) -> nn.Module:
        return self.classifier.module

    def ours(self, method: Method, targets: Sequence[Steep]) -> Tensor:
        return method(Probe(self.classifier, self.images, list(targets)), [])

    def theirs(self, name: str, targets: Sequence[Steep]) -> Tensor:
        peer = getattr(grad_cam, name)
        with peer(model=self.network, target_layers=[self.layer], reshape_transform=self.reshape) as cam:
            return torch.from_numpy(cam(input_tensor=self.images, targets=list(targets)))


def steep(by: float) -> list[Steep]:
    """Some class of each image."""
    return [Steep(index % 3, by) for index in range(len(IMAGES))]


def subject(network: tuple[str, dict, str, Reshape | None], classes: int = 3) -> Subject:
    architecture, more, layer, reshape = network
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(0, architecture))
        module = timm.create_model(architecture, pretrained=False, in_chans=1, num_classes=classes, **more).eval()
    classifier = Classifier(module, [f"class {i}" for i in range(classes)])
    assert classifier.target_layer(IMAGES) == layer
    return Subject(classifier, IMAGES, module.get_submodule(layer), reshape)


@pytest.fixture(scope="module", params=NETWORKS)
def own(request: pytest.FixtureRequest) -> Subject:
    return subject(NETWORKS[request.param])


def scaled(maps: Tensor) -> Tensor:
    """Zero where a map has one value: where nothing speaks for the class."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0.0)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """After each map is scaled by its extremes, the only form in which grad-cam gives them."""
    assert ours.shape == (len(IMAGES), *SIZE)
    assert bool(torch.isfinite(ours).all())
    assert bool(scaled(ours).any())
    torch.testing.assert_close(scaled(ours), scaled(theirs), rtol=0, atol=TOLERANCE)


def upsampled(grids: Tensor) -> Tensor:
    return F.interpolate(grids[:, None], size=SIZE, mode="bilinear")[:, 0]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (GradCAM(), "GradCAM"),
        (LayerCAM(), "LayerCAM"),
        (XGradCAM(), "XGradCAM"),
        (HiResCAM(sign="positive"), "HiResCAM"),
    ],
    ids=repr,
)
def test_maps_of_gradients_are_those_of_grad_cam(own: Subject, method: Method, name: str) -> None:
    targets = steep(1e4)  # beside its gradients, the 1e-6 that grad-cam adds vanishes
    assert_same(own.ours(method, targets), own.theirs(name, targets))


def test_grad_cam_plus_plus_is_that_of_grad_cam(own: Subject) -> None:
    # It divides by 2 plus a map's mass times the gradient. Behind a normalization the mass may be below zero, and near
    # zero that sum shows every rounding: in float64, on our features, which the tests above compare.
    found = Probe(own.classifier, own.images, steep(1e4)).features
    features = Features(found.activations.double(), found.gradients.double() * 1e4)
    ours = GradCAMPlusPlus()(SimpleNamespace(features=features, images=own.images), [])
    weigh = grad_cam.GradCAMPlusPlus.get_cam_weights
    weights = weigh(None, None, None, None, features.activations.numpy(), features.gradients.numpy())
    theirs = upsampled(weighted_sum(features.activations, torch.from_numpy(weights)).relu())
    assert_same(ours, theirs)


def test_eigen_cam_is_that_of_grad_cam(own: Subject) -> None:
    kept: list[Tensor] = []
    handle = own.layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        own.network(own.images)
    handle.remove()
    maps = kept[0] if own.reshape is None else own.reshape(kept[0])
    ours = own.ours(EigenCAM(centered=True, sign="signed"), steep(1))
    theirs = upsampled(torch.from_numpy(get_2d_projection(maps.numpy())))
    assert_same(ours, theirs * (ours * theirs).sum(dim=(1, 2), keepdim=True).sign())


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_score_cam_is_that_of_grad_cam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = subject(SMALL[name])
    targets = steep(30)
    ours = own.ours(ScoreCAM(tolerance=None), targets)
    # grad-cam aligns the corners of what it upsamples.
    monkeypatch.setattr(nn, "UpsamplingBilinear2d", partial(nn.Upsample, mode="bilinear", align_corners=False))
    assert_same(ours, own.theirs("ScoreCAM", targets))


@pytest.mark.parametrize("name", ["vit", "swin", "convnext"])
def test_ablation_cam_is_captums_ablation_of_patches(name: str) -> None:
    own = subject(SMALL[name])
    targets = steep(1)
    ours = own.ours(AblationCAM(), targets)
    activations = Probe(own.classifier, own.images).features.activations
    each = torch.arange(activations.shape[1])
    # One feature a channel; tokens in front of the patches are a feature of their own, which is not asked for.
    if name == "vit":
        mask = each.repeat(1, 28, 1)
        mask[:, :4] = len(each)
    else:
        mask = each.repeat(1, *activations.shape[2:], 1) if name == "swin" else each[None, :, None, None]
    ablation = LayerFeatureAblation(own.network, own.layer)
    drops = []
    for image, target in zip(own.images, targets, strict=True):
        found = ablation.attribute(image[None], 0, target.index, layer_mask=mask, perturbations_per_eval=64)
        drops.append((found if own.reshape is None else own.reshape(found))[0, :, 0, 0])
    with torch.no_grad():
        logits = own.network(own.images)
    scores = torch.stack([logits[i, target.index] for i, target in enumerate(targets)])
    theirs = upsampled(weighted_sum(activations, torch.stack(drops) / scores.abs()[:, None]).relu())
    assert_same(ours, theirs)
