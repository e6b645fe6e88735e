"""Against captum called directly, on an image of each of three real data sets (extra `captum`)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import captum.attr as peer
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr._core.lime import get_exp_kernel_similarity_function
from PIL import Image
from torch import Tensor, nn

from medsaliency.attribution.deep_lift import DeepLIFT
from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.gradient_shap import GradientSHAP
from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.attribution.guided_grad_cam import GuidedGradCAM
from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.kernel_shap import KernelSHAP
from medsaliency.attribution.lime import LIME
from medsaliency.attribution.method import Method
from medsaliency.attribution.occlusion import Occlusion
from medsaliency.attribution.superpixels import superpixels
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError, generator

SIZE = 64
TARGETS = [2, 0, 1]
TOGETHER = 32  # images in a pass, as in ours: how a network rounds its sums depends on it
MEAN, STD = 0.3, 0.2


class Normalized(nn.Module):
    """The whole model as a user of captum would write it, preprocessing included."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module((images - MEAN) / STD)


@pytest.fixture(scope="module")
def images(real_data: Path) -> Tensor:
    """(3, 1, H, W) in [0, 1]: the first image of each data set."""
    found = []
    for name in ("brain-mri", "breast-ultrasound", "chest-xray"):
        with (real_data / name / "manifest.csv").open() as file:
            first = next(csv.DictReader(file))["image"]
        with Image.open(real_data / name / first) as image:
            found.append(np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(found)[:, None].astype(np.float32) / 255)


@pytest.fixture(scope="module", params=["resnet18", "efficientnet_b0"])
def model(request: pytest.FixtureRequest, images: Tensor) -> nn.Module:
    """Untrained but for its batch statistics, without which its feature maps would fade to nothing."""
    module = build(request.param, classes=3, channels=1, seed=0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():  # at several exposures, which methods that darken the image will show it
        Normalized(module.train())(torch.cat([images * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)]))
    return module.eval()


def span(image: Tensor) -> float:
    return float(image.max() - image.min())


Theirs = Callable[[nn.Module, Tensor, int, np.random.Generator], Tensor]


def of_gradient_shap(model: nn.Module, image: Tensor, target: int, rng: np.random.Generator) -> Tensor:
    with seeded(rng):
        return peer.GradientShap(model).attribute(
            image, baselines=torch.full_like(image, 0.2), n_samples=4, stdevs=0.1 * span(image), target=target
        )


def of_lime(model: nn.Module, image: Tensor, target: int, rng: np.random.Generator) -> Tensor:
    lime = peer.Lime(model, SkLearnLasso(alpha=0.001), get_exp_kernel_similarity_function("cosine", 0.3))
    return over_superpixels(lime, image, target, rng)


def of_kernel_shap(model: nn.Module, image: Tensor, target: int, rng: np.random.Generator) -> Tensor:
    return over_superpixels(peer.KernelShap(model), image, target, rng)


def over_superpixels(method: peer.Lime, image: Tensor, target: int, rng: np.random.Generator) -> Tensor:
    with seeded(rng):
        return method.attribute(
            image,
            baselines=0.1,
            target=target,
            feature_mask=superpixels(image[0], 12)[None, None],
            n_samples=30,
            perturbations_per_eval=TOGETHER,
        )


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Captum's draws seeded as the reference says: by 32 bits of the image's generator."""
    seed, before = int(rng.integers(2**32)), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    np.random.set_state(before)  # noqa: NPY002


CASES: dict[str, tuple[Method, Theirs]] = {
    "gradient": (
        Gradient(),
        lambda model, image, target, _: peer.Saliency(model).attribute(image, target=target, abs=False),
    ),
    "input_x_gradient": (
        InputXGradient(),
        lambda model, image, target, _: peer.InputXGradient(model).attribute(image, target=target),
    ),
    "integrated_gradients": (
        IntegratedGradients(steps=8, tolerance=None),
        lambda model, image, target, _: peer.IntegratedGradients(model).attribute(
            image, baselines=0.0, target=target, n_steps=8, method="riemann_middle"
        ),
    ),
    # Windows of 16 pixels that move by 13, the last of them cut at the border.
    "occlusion": (
        Occlusion(window=0.25, stride=0.2, baseline=0.1),
        lambda model, image, target, _: peer.Occlusion(model).attribute(
            image, (1, 16, 16), strides=(1, 13, 13), baselines=0.1, target=target, perturbations_per_eval=TOGETHER
        ),
    ),
    "deep_lift": (
        DeepLIFT(baseline=0.1),
        lambda model, image, target, _: peer.DeepLift(model).attribute(image, baselines=0.1, target=target),
    ),
    "gradient_shap": (GradientSHAP(samples=4, noise=0.1, baseline=0.2), of_gradient_shap),
    "lime": (LIME(samples=30, segments=12, baseline=0.1, alpha=0.001, width=0.3), of_lime),
    "kernel_shap": (KernelSHAP(samples=30, segments=12, baseline=0.1), of_kernel_shap),
}


QUIETLY = pytest.mark.filterwarnings(
    "ignore:Setting forward, backward hooks",
    "ignore:Setting backward hooks",
    "ignore:Input Tensor 0 did not",
    "ignore:Objective did not converge",
)


def assert_agree(model: nn.Module, images: Tensor, ours: Method, theirs: Theirs, layer: str | None = None) -> None:
    """Maps and captum's, to a fraction of their largest value that a network's rounding in other batches makes up."""
    classifier = Classifier(model, ["a", "b", "c"], mean=MEAN, std=STD, size=SIZE, target_layer=layer)
    rngs = [[generator(0, str(i)) for i in range(3)] for _ in range(2)]
    maps = ours(Probe(classifier, images, TARGETS), rngs[0])
    for i, target in enumerate(TARGETS):
        expected = theirs(Normalized(model), images[i : i + 1].clone(), target, rngs[1][i]).detach()[0, 0]
        assert float(expected.std()) > 0
        off = float((maps[i] - expected).abs().max() / expected.abs().max())
        assert off < 1e-4


@QUIETLY
@pytest.mark.parametrize("name", CASES)
def test_maps_equal_captums(name: str, model: nn.Module, images: Tensor) -> None:
    assert_agree(model, images, *CASES[name])


@QUIETLY
@pytest.mark.parametrize("model", ["resnet18"], indirect=True)
def test_guided_maps_equal_captums(model: nn.Module, images: Tensor) -> None:
    assert_agree(
        model,
        images,
        GuidedBackprop(),
        lambda model, image, target, _: peer.GuidedBackprop(model).attribute(image, target=target),
    )
    assert_agree(
        model,
        images,
        GuidedGradCAM(),
        lambda model, image, target, _: peer.GuidedGradCam(model, model.module.layer2).attribute(
            image, target=target, interpolate_mode="bilinear"
        ),
        layer="layer2",
    )


class Around(nn.Module):
    """A ReLU whose input also goes around it, as in a block that activates first."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        return (2 * self.relu(x) - x).mean(dim=(2, 3)).repeat(1, 2)


@QUIETLY
def test_captum_alone_loses_what_flows_around_a_layer(images: Tensor) -> None:
    """Ours gives every layer an input of its own: DeepLIFT is complete, and guided gradients are 2 - 1 or -1."""
    probe = Probe(Classifier(Around(), ["a", "b"]), images, [0, 0, 0])
    rise = probe.classifier.logits(images)[:, 0] - probe.classifier.logits(torch.zeros_like(images))[:, 0]
    torch.testing.assert_close(DeepLIFT()(probe, []).sum(dim=(1, 2)), rise, rtol=1e-4, atol=1e-4)
    guided = torch.where(images[:, 0] > 0.5, 1.0, -1.0) / SIZE**2
    torch.testing.assert_close(GuidedBackprop()(probe, []), guided)
    for method in (peer.DeepLift, peer.GuidedBackprop):
        theirs = method(Around()).attribute(images.clone(), target=0).detach()
        assert float(theirs.sum(dim=(1, 2, 3)).sub(rise).abs().max()) > 0.05
        assert float(theirs[:, 0].sub(guided).abs().max()) > 0.5 / SIZE**2


@QUIETLY
@pytest.mark.parametrize("model", ["efficientnet_b0"], indirect=True)
def test_captums_guided_map_of_a_network_without_relu_is_its_gradient(model: nn.Module, images: Tensor) -> None:
    """So ours refuses it."""
    own, image = Normalized(model), images[:1].clone()
    assert torch.equal(
        peer.GuidedBackprop(own).attribute(image, target=0), peer.Saliency(own).attribute(image, target=0, abs=False)
    )
    with pytest.raises(MedsaliencyError, match=r"expected a module with nn\.ReLU layers"):
        GuidedBackprop()(Probe(Classifier(model, ["a", "b", "c"]), image, [0]), [])
