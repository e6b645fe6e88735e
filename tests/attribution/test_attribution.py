"""What holds for every method."""

from __future__ import annotations

import random
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch

from medsaliency.attribution import CONTROLS, METHODS, NEEDS_ATTENTION, make_method
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError

TARGETS = [0, 1, 2, 0]
QUICK = {
    "smoothgrad": {"samples": 4},
    "smoothgrad_squared": {"samples": 4},
    "vargrad": {"samples": 4},
    "integrated_gradients": {"steps": 4},
    "smooth_integrated_gradients": {"samples": 4},
    "guided_integrated_gradients": {"steps": 4},
    "blur_integrated_gradients": {"steps": 4, "max_sigma": 4.0},
    "smooth_blur_integrated_gradients": {"samples": 4, "max_sigma": 4.0},
    "xrai": {"steps": 4},
    "rise": {"masks": 60, "grid": 4},
    "occlusion": {"window": 0.5, "stride": 0.25},
    "gradient_shap": {"samples": 4},
    "lime": {"samples": 40, "segments": 8, "alpha": 0.001},
    "kernel_shap": {"samples": 40, "segments": 8},
}
ALL = pytest.mark.parametrize("name", [name for name in METHODS if name not in NEEDS_ATTENTION])
BLIND = CONTROLS - {"blurred"}
"""Controls that do not see the model; "blurred" sees it through the method that it blurs."""
SIGNED = {
    "gradient",
    "smoothgrad",
    "integrated_gradients",
    "smooth_integrated_gradients",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    "smooth_blur_integrated_gradients",
    "hires_cam",
    "input_x_gradient",
    "occlusion",
    "rise",
    "deep_lift",
    "gradient_shap",
    "guided_backprop",
    "guided_grad_cam",
    "lime",
    "kernel_shap",
    "xrai",
    "blurred",
}


def close(maps: torch.Tensor, others: torch.Tensor) -> bool:
    return torch.allclose(maps, others, rtol=1e-4, atol=1e-5 * float(others.abs().max()))


@ALL
def test_maps_are_finite_float32_of_the_image_size(name, classifier, images, generators) -> None:
    maps = make_method(name, QUICK.get(name))(Probe(classifier, images, TARGETS), generators(4))
    assert maps.shape == (4, 24, 32)
    assert maps.dtype == torch.float32
    assert bool(torch.isfinite(maps).all())
    assert not maps.requires_grad
    assert float(maps.abs().max()) > 0
    assert (float(maps.min()) < 0) == (name in SIGNED)


@ALL
def test_a_batch_gives_what_its_images_give_one_by_one(name, classifier, images, generators) -> None:
    method = make_method(name, QUICK.get(name))
    together = method(Probe(classifier, images, TARGETS), generators(4))
    rngs = generators(4)
    alone = [method(Probe(classifier, images[i : i + 1], [TARGETS[i]]), [rngs[i]]) for i in range(4)]
    assert close(together, torch.cat(alone))


@ALL
def test_the_micro_batch_changes_nothing(name, classifier, images, generators) -> None:
    method = make_method(name, QUICK.get(name))
    reference = method(Probe(classifier, images, TARGETS), generators(4))
    classifier.batch_size = 3
    assert close(method(Probe(classifier, images, TARGETS), generators(4)), reference)


@ALL
def test_the_module_and_the_images_are_left_as_they_were(name, classifier, images, generators) -> None:
    module, given = classifier.module, images.clone()
    module.train()
    module[0].eval()
    modes = [child.training for child in module.modules()]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    make_method(name, QUICK.get(name))(Probe(classifier, images, TARGETS), generators(4))
    assert [child.training for child in module.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())
    assert not any(child._backward_hooks or child._backward_pre_hooks for child in module.modules())
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert torch.equal(images, given)


@ALL
def test_no_global_random_state_is_read_or_set(name, classifier, images, generators) -> None:
    method, probe = make_method(name, QUICK.get(name)), Probe(classifier, images, TARGETS)

    def state() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = state()
    first = method(probe, generators(4))
    assert state() == before
    torch.rand(5)
    assert torch.equal(method(probe, generators(4)), first)


@ALL
def test_the_repr_is_the_provenance(name) -> None:
    method = make_method(name, QUICK.get(name))
    assert eval(repr(method), {type(method).__name__: type(method)}) == method  # noqa: S307
    with pytest.raises((FrozenInstanceError, TypeError)):
        method.anything = 1


@pytest.mark.parametrize(
    "name",
    [
        *("random", "smoothgrad", "smoothgrad_squared", "vargrad", "smooth_integrated_gradients"),
        *("smooth_blur_integrated_gradients", "rise", "gradient_shap", "lime", "kernel_shap"),
    ],
)
@pytest.mark.parametrize("count", [3, 5])
def test_generators_are_one_an_image(name, count, classifier, images, generators) -> None:
    with pytest.raises(ValueError, match="zip"):
        make_method(name, QUICK.get(name))(Probe(classifier, images, TARGETS), generators(count))


@pytest.mark.parametrize("name", sorted(set(METHODS) - BLIND - NEEDS_ATTENTION - {"eigen_cam"}))  # it knows no class
def test_the_target_matters(name, classifier, images, generators) -> None:
    method = make_method(name, QUICK.get(name))
    maps = [method(Probe(classifier, images, [k] * 4), generators(4)) for k in (0, 1)]
    assert not close(*maps)


@pytest.mark.parametrize("name", sorted(BLIND))
def test_a_control_does_not_see_the_model(name, classifier, images, generators) -> None:
    method = make_method(name, QUICK.get(name))
    before = method(Probe(classifier, images, TARGETS), generators(4))
    with torch.no_grad():
        for parameter in classifier.module.parameters():
            parameter.zero_()
    assert torch.equal(method(Probe(classifier, images, TARGETS), generators(4)), before)


def test_parameters_reach_the_method() -> None:
    assert make_method("smoothgrad", {"samples": 3}).samples == 3
    assert all(make_method(name) == factory() for name, factory in METHODS.items())


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(MedsaliencyError, match=r"unknown method 'gradcam'; did you mean 'grad_cam'"):
        make_method("gradcam")
    with pytest.raises(MedsaliencyError, match=r"'smoothgrad' has no parameter 'sample'; did you mean 'samples'\?"):
        make_method("smoothgrad", {"sample": 3})
    with pytest.raises(MedsaliencyError, match="'edge' has no parameter 'samples'; it has none"):
        make_method("edge", {"samples": 3})
    assert not fields(METHODS["edge"])
