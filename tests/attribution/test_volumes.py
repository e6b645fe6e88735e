"""What holds for every method on volumes."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution import CONTROLS, METHODS, NEEDS_ATTENTION, make_method
from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients
from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.occlusion import Occlusion
from medsaliency.attribution.xrai import SIZES
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

SIDES = (8, 10, 12)
TARGETS = [0, 1, 0]
QUICK = {
    "smoothgrad": {"samples": 4},
    "smoothgrad_squared": {"samples": 4},
    "vargrad": {"samples": 4},
    "integrated_gradients": {"steps": 4, "max_steps": 8},
    "smooth_integrated_gradients": {"samples": 20},
    "guided_integrated_gradients": {"steps": 4},
    "blur_integrated_gradients": {"steps": 4, "max_sigma": 4.0},
    "smooth_blur_integrated_gradients": {"samples": 20, "max_sigma": 4.0},
    "xrai": {"steps": 14},
    "rise": {"masks": 150, "grid": 4},
    "occlusion": {"window": 0.5, "stride": 0.25},
    "gradient_shap": {"samples": 4},
    "lime": {"samples": 60, "segments": 12, "alpha": 0.001},
    "kernel_shap": {"samples": 60, "segments": 12},
}
ALL = pytest.mark.parametrize("name", [name for name in METHODS if name not in NEEDS_ATTENTION])


def made(name: str, probe: Probe) -> Tensor:
    """The maps of a method, quickly."""
    rngs = [generator(0, f"image-{i}", name) for i in range(len(probe))]
    return make_method(name, QUICK.get(name))(probe, rngs)


def close(maps: Tensor, others: Tensor) -> bool:
    return torch.allclose(maps, others, rtol=1e-4, atol=1e-5 * float(others.abs().max()))


@pytest.fixture(autouse=True)
def coarse_supervoxels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarser grid of XRAI's: what is tested here does not depend on it, the time does."""
    monkeypatch.setitem(SIZES, 3, SIZES[3]._replace(side=16, smallest=8, radius=1, fewest=4))


@pytest.fixture
def volumes() -> Tensor:
    return torch.rand(3, 2, *SIDES, generator=torch.Generator().manual_seed(0))


def drawn(module: nn.Module, *, seed: int = 5, spread: float = 0.3) -> nn.Module:
    """The same module with random weights, in the order in which it names them."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=draw))
    return module


@pytest.fixture
def classifier() -> Classifier:
    module = nn.Sequential(
        nn.Sequential(nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d(2)),
        nn.Sequential(nn.Conv3d(6, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)),
    )
    return Classifier(drawn(module), ["a", "b", "c"], channels=2, mean=0.4, std=0.3)


@ALL
def test_maps_are_finite_float32_of_the_volumes_size(name, classifier, volumes) -> None:
    maps = made(name, Probe(classifier, volumes, TARGETS))
    assert maps.shape == (3, *SIDES)
    assert maps.dtype == torch.float32
    assert bool(torch.isfinite(maps).all())
    assert not maps.requires_grad
    assert len(maps.unique()) > 1


@ALL
def test_maps_depend_neither_on_the_batch_nor_on_the_micro_batch(name, classifier, volumes) -> None:
    together = made(name, Probe(classifier, volumes, TARGETS))
    method = make_method(name, QUICK.get(name))
    for i in range(3):
        alone = method(Probe(classifier, volumes[i : i + 1], TARGETS[i : i + 1]), [generator(0, f"image-{i}", name)])
        assert close(alone, together[i : i + 1])
    classifier.batch_size = 2
    assert close(made(name, Probe(classifier, volumes, TARGETS)), together)


@pytest.mark.parametrize("name", sorted(set(METHODS) - CONTROLS - NEEDS_ATTENTION - {"eigen_cam"}))  # it knows no class
def test_the_target_matters(name, classifier, volumes) -> None:
    first, second = (made(name, Probe(classifier, volumes[:1], [target])) for target in (0, 1))
    assert not close(first, second)


def network_of_images() -> nn.Module:
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 8, (3, 1)), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)),
    )
    return drawn(module, spread=0.5)


def network_without_ties() -> nn.Module:
    """No two pixels of a flat image have the same gradient, so that rounding does not decide which moves first."""
    stages = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh()), nn.Sequential(nn.Flatten(), nn.Linear(4 * 22 * 30, 3))
    return drawn(nn.Sequential(*stages))


def of_one_slice(module: nn.Module) -> nn.Module:
    """The same network for volumes of one slice."""
    other = deepcopy(module)
    for stage in other:
        for i, layer in enumerate(stage):
            if isinstance(layer, nn.Conv2d):
                kernel, padding = (1, *layer.kernel_size), (0, *layer.padding)
                stage[i] = nn.Conv3d(layer.in_channels, layer.out_channels, kernel, padding=padding)
                stage[i].weight.data.copy_(layer.weight.data[:, :, None])
                stage[i].bias.data.copy_(layer.bias.data)
            elif isinstance(layer, nn.BatchNorm2d):
                stage[i] = nn.BatchNorm3d(layer.num_features)
                stage[i].load_state_dict(layer.state_dict())
            elif isinstance(layer, nn.MaxPool2d):
                stage[i] = nn.MaxPool3d((1, 2, 2))
            elif isinstance(layer, nn.AdaptiveAvgPool2d):
                stage[i] = nn.AdaptiveAvgPool3d((1, 2, 2))
    return other


@ALL
def test_an_image_is_a_volume_of_one_slice(name) -> None:
    module = network_without_ties() if name == "guided_integrated_gradients" else network_of_images()
    images = torch.rand(3, 2, 24, 32, generator=torch.Generator().manual_seed(3))
    flat, thin = (
        Classifier(network, ["a", "b", "c"], channels=2, mean=0.4, std=0.3)
        for network in (module, of_one_slice(module))
    )
    expected = made(name, Probe(flat, images, TARGETS))
    found = made(name, Probe(thin, images[:, :, None], TARGETS))
    assert close(found, expected[:, None])
    assert len(expected.unique()) > 1


def octants(sides: tuple[int, ...]) -> list[tuple[slice, ...]]:
    halves = [(slice(0, side // 2), slice(side // 2, side)) for side in sides]
    return [(a, b, c) for a in halves[0] for b in halves[1] for c in halves[2]]


@pytest.mark.parametrize("name", sorted(set(METHODS) - CONTROLS - NEEDS_ATTENTION))
@pytest.mark.parametrize("corner", [1, 2, 4, 6])
def test_what_the_model_sees_in_an_octant_lies_in_that_octant(name, corner) -> None:
    """No axis is swapped or turned: the score is what a bright lesion in one octant of a dark volume adds to it."""
    sides = (8, 12, 16)
    places = octants(sides)
    spot = tuple(slice(part.start + 1, part.stop - 1) for part in places[corner])
    volume = 0.05 * torch.rand(1, 1, *sides, generator=torch.Generator().manual_seed(1))
    volume[0, 0][spot] += 0.9
    convolution, head = nn.Conv3d(1, 2, 3, padding=1), nn.Linear(2 * math.prod(sides), 2)
    weights = torch.zeros(2, 2, *sides)
    weights[0][:, *places[corner]] = 1 / 24
    weights[1][:, *places[7 - corner]] = 1 / 24
    with torch.no_grad():
        convolution.weight.fill_(1 / 27)
        convolution.bias.copy_(torch.tensor([0.0, -0.1]))
        head.weight.copy_(weights.flatten(1))
        head.bias.zero_()
    module = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head)
    probe = Probe(Classifier(module, ["here", "there"], target_layer="1"), volume, [0])
    maps = made(name, probe).abs()[0]
    above = (maps - maps.median()).clamp(min=0)
    masses = torch.stack([above[place].sum() for place in places])
    assert int(masses.argmax()) == corner
    others = torch.cat([masses[:corner], masses[corner + 1 :]])
    assert float(masses[corner]) > 2 * float(others.max())


@pytest.fixture
def linear() -> Classifier:
    """Logits are weights times voxels: every gradient is the weights."""
    return Classifier(drawn(nn.Sequential(nn.Flatten(), nn.Linear(2 * math.prod((4, 5, 6)), 3))), [*"abc"], channels=2)


@pytest.fixture
def linear_volumes() -> Tensor:
    return torch.rand(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(2))


def weights_of(linear: Classifier) -> Tensor:
    return linear.module[1].weight.detach().reshape(3, 2, 4, 5, 6)


def test_of_a_linear_model_the_gradient_is_the_weights(linear, linear_volumes) -> None:
    probe = Probe(linear, linear_volumes, TARGETS)
    torch.testing.assert_close(Gradient()(probe, []), weights_of(linear)[TARGETS].sum(dim=1))
    torch.testing.assert_close(InputXGradient()(probe, []), (weights_of(linear)[TARGETS] * linear_volumes).sum(dim=1))


def test_of_a_linear_model_integrated_gradients_are_complete(linear, linear_volumes) -> None:
    probe = Probe(linear, linear_volumes, TARGETS)
    maps = IntegratedGradients(baseline=0.2)(probe, [])
    expected = (weights_of(linear)[TARGETS] * (linear_volumes - 0.2)).sum(dim=1)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    rise = (linear.logits(linear_volumes) - linear.logits(torch.full_like(linear_volumes, 0.2)))[range(3), TARGETS]
    torch.testing.assert_close(maps.sum(dim=(1, 2, 3)), rise, rtol=1e-4, atol=1e-4)


def test_of_a_linear_model_blur_ig_is_the_weights_times_what_the_blur_takes(linear, linear_volumes) -> None:
    maps = BlurIntegratedGradients(steps=3, max_sigma=3)(Probe(linear, linear_volumes, TARGETS), [])
    taken = linear_volumes - gaussian_blur(linear_volumes, 3)
    torch.testing.assert_close(maps, (weights_of(linear)[TARGETS] * taken).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_of_a_linear_model_a_window_takes_away_its_share(linear, linear_volumes) -> None:
    # 0.4 of 4, 5 and 6 voxels, rounded, is 2 each; the last window along the second axis is cut to one.
    maps = Occlusion(window=0.4, stride=0.4)(Probe(linear, linear_volumes, TARGETS), [])
    shares = (weights_of(linear)[TARGETS] * linear_volumes).sum(dim=1)
    for near in (0, 2):
        for top in (0, 2, 4):
            for left in (0, 2, 4):
                window = (slice(None), slice(near, near + 2), slice(top, top + 2), slice(left, left + 2))
                expected = shares[window].sum(dim=(1, 2, 3))[:, None, None, None].expand_as(shares[window])
                torch.testing.assert_close(maps[window], expected, rtol=1e-3, atol=1e-4)


def test_grad_cam_is_what_autograd_gives_by_hand(classifier, volumes) -> None:
    module = classifier.module.eval()
    features = module[:2]((volumes - 0.4) / 0.3).detach().requires_grad_()
    score = module[2](features)[range(3), TARGETS].sum()
    (gradients,) = torch.autograd.grad(score, features)
    cams = (features * gradients.mean(dim=(2, 3, 4), keepdim=True)).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(cams, size=SIDES, mode="trilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(made("grad_cam", Probe(classifier, volumes, TARGETS)), expected.detach())
    assert bool(expected.any())


def test_edges_are_found_along_every_axis(classifier) -> None:
    steps = torch.zeros(3, 2, *SIDES)
    for axis, volume in enumerate(steps):
        volume.narrow(axis + 1, 5, SIDES[axis] - 5).fill_(1)
    for axis, found in enumerate(made("edge", Probe(classifier, steps, TARGETS))):
        expected = torch.zeros(SIDES)
        expected.narrow(axis, 4, 2).fill_(16)  # Sobel smooths twice over the two other axes, by (1, 2, 1) each
        torch.testing.assert_close(found, expected)


def test_the_center_gaussian_is_a_product_of_three(classifier, volumes) -> None:
    (found, *_) = made("center_gaussian", Probe(classifier, volumes, TARGETS))
    lines = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / n / 0.25) ** 2) for n in SIDES]
    np.testing.assert_allclose(found, np.einsum("i,j,k->ijk", *lines), rtol=1e-5)
