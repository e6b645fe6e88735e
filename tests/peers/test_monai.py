"""MONAI's networks for volumes behind our methods, and its own explanations as peers (extra `monai`)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet121, ResNet
from monai.visualize import CAM, GradCAM, OcclusionSensitivity
from torch import Tensor, nn

from medsaliency.attribution import METHODS, NEEDS_ATTENTION, make_method
from medsaliency.attribution.xrai import SIZES
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # MONAI's
SIDES = (32, 64, 40)
TARGETS = [0, 2]
MAKE: dict[str, Callable[[], nn.Module]] = {
    "densenet121": lambda: DenseNet121(spatial_dims=3, in_channels=1, out_channels=3, init_features=8, growth_rate=4),
    "resnet18": lambda: ResNet(
        "basic", [2, 2, 2, 2], [8, 16, 32, 64], n_input_channels=1, num_classes=3, conv1_t_stride=2
    ),
}
LAYERS = {"densenet121": "class_layers.relu", "resnet18": "layer4"}
QUICK = {
    "smoothgrad": {"samples": 2},
    "smoothgrad_squared": {"samples": 2},
    "vargrad": {"samples": 2},
    "integrated_gradients": {"steps": 2, "tolerance": None},
    "smooth_integrated_gradients": {"samples": 2},
    "guided_integrated_gradients": {"steps": 2},
    "blur_integrated_gradients": {"steps": 2},
    "smooth_blur_integrated_gradients": {"samples": 2},
    "xrai": {"steps": 1},
    "rise": {"masks": 4},
    "occlusion": {"window": 1.0, "stride": 0.5},
    "gradient_shap": {"samples": 2},
    "lime": {"samples": 6, "segments": 8, "alpha": 1e-5},
    "kernel_shap": {"samples": 6, "segments": 8},
}


def generators() -> list[np.random.Generator]:
    return [generator(0, str(i)) for i in range(2)]


@pytest.fixture(scope="module", params=list(MAKE))
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def module(architecture: str, volumes: Tensor) -> nn.Module:
    return prepared(architecture, volumes)


def prepared(architecture: str, volumes: Tensor) -> nn.Module:
    """Untrained but for its batch statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = MAKE[architecture]()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.cat([volumes * share for share in (0.0, 0.5, 1.0)]))
    return module.eval()


@pytest.fixture(scope="module")
def volumes() -> Tensor:
    coarse = torch.rand(2, 1, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=SIDES, mode="trilinear")


@pytest.fixture(scope="module")
def classifier(module: nn.Module) -> Classifier:
    return Classifier(module, ["a", "b", "c"])


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_target_layer_is_the_last_one_with_a_grid(architecture, classifier, volumes) -> None:
    assert classifier.target_layer(volumes) == {"densenet121": "class_layers.relu", "resnet18": "layer4"}[architecture]


def test_normalizations_are_folded_and_the_model_stays_the_same(architecture, classifier, volumes) -> None:
    folded = classifier.folded(volumes)
    before, after = (
        sum(isinstance(layer, nn.BatchNorm3d) for layer in one.module.modules()) for one in (classifier, folded)
    )
    # Of a DenseNet half of the normalizations, and the first, follow a convolution; of a ResNet all of them.
    assert before - after == {"densenet121": 59, "resnet18": 20}[architecture]
    assert close(folded.logits(volumes), classifier.logits(volumes))
    mine, expected = (one.input_gradients(volumes, TARGETS) for one in (folded, classifier))
    assert float((mine - expected).norm() / expected.norm()) < 1e-2


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NEEDS_ATTENTION])
def test_every_method_explains_its_networks(name, classifier, volumes, monkeypatch) -> None:
    """Activations work in place there, and one layer of a ResNet's runs many times."""
    monkeypatch.setitem(SIZES, 3, SIZES[3]._replace(side=20))  # of XRAI's grid, for speed
    maps = make_method(name, QUICK.get(name))(Probe(classifier, volumes, TARGETS), generators())
    assert maps.shape == (2, *SIDES)
    assert bool(torch.isfinite(maps).all())
    assert len(maps.unique()) > 1


def test_grad_cam_is_monais(architecture, module, volumes) -> None:
    layer = LAYERS[architecture]
    probe = Probe(Classifier(module, [*"abc"], target_layer=layer), volumes, TARGETS)
    ours = make_method("grad_cam")(probe, generators())
    for volume, target, found in zip(volumes, TARGETS, ours, strict=True):
        peer = GradCAM(nn_module=deepcopy(module), target_layers=layer, postprocessing=lambda cam: cam)
        assert close(found, peer(volume[None], class_idx=target)[0, 0].detach())
    assert float(ours.max()) > 0


def test_grad_cam_of_a_densenet_is_the_class_activation_map_it_generalizes(volumes) -> None:
    """Behind average pooling a feature map's mean gradient is its weight in the last layer over the places pooled."""
    module = prepared("densenet121", volumes)
    probe = Probe(Classifier(module, [*"abc"]), volumes, TARGETS)
    ours = make_method("grad_cam", {"sign": "signed"})(probe, generators())
    peer = CAM(deepcopy(module), "class_layers.relu", "class_layers.out", postprocessing=lambda cam: cam)
    theirs = peer(volumes, class_idx=torch.tensor(TARGETS))[:, 0].detach()
    bias = module.class_layers.out.bias.detach()[TARGETS][:, None, None, None]
    assert close(ours * 2, theirs - bias)  # the last grid is 1 x 2 x 1


def test_occlusion_is_monais(module, volumes) -> None:
    ours = make_method("occlusion", {"window": 0.5, "stride": 0.25, "baseline": 0.25})(
        Probe(Classifier(module, [*"abc"]), volumes[:1], [2]), generators()
    )
    peer = OcclusionSensitivity(
        deepcopy(module),
        mask_size=[side // 2 for side in SIDES],
        overlap=0.5,
        mode=0.25,
        activate=False,
        n_batch=4,
        verbose=False,
    )
    remaining = peer(volumes[:1])[0][0, 2]  # the logit with a part hidden, and not what it fell by
    whole = module(volumes[:1])[0, 2].detach()
    assert close(ours[0], whole - torch.as_tensor(remaining))
