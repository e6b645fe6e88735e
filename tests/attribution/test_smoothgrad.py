from __future__ import annotations

import numpy as np
import pytest
import torch

from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_one_sample_without_noise_is_the_gradient(classifier, images, generators) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    maps = SmoothGrad(samples=1, noise=0)(probe, generators(4))
    torch.testing.assert_close(maps, Gradient()(probe, generators(4)), rtol=1e-4, atol=1e-6)


def test_a_linear_model_gives_its_weights_whatever_the_noise(linear, linear_images, generators) -> None:
    maps = SmoothGrad(samples=7, noise=0.9)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    torch.testing.assert_close(maps, linear.module[1].weight.detach().reshape(3, 2, 5, 6).sum(dim=1))


def test_the_noise_is_a_share_of_the_range(classifier, images, generators) -> None:
    seen = []
    image = 0.25 + 0.5 * images[:1]
    classifier.folded(image)  # traces the network, with images of its own
    hook = classifier.module.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    SmoothGrad(samples=400, noise=0.1, antithetic=False)(Probe(classifier, image, [0]), generators(1))
    hook.remove()
    noise = torch.cat(seen) * 0.3 + 0.4 - image
    assert float(noise.std()) == pytest.approx(0.1 * float(image.max() - image.min()), rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)


def test_the_maps_are_the_mean_over_the_drawn_noise(classifier, images, generators) -> None:
    image = images[:1]
    spread = 0.15 * float(image.max() - image.min())
    noise = generators(1)[0].standard_normal((3, 2, 24, 32), dtype=np.float32)
    noisy = image + spread * torch.from_numpy(noise)
    expected = classifier.input_gradients(noisy, torch.tensor([1, 1, 1])).mean(dim=0).sum(dim=0)
    maps = SmoothGrad(samples=3, antithetic=False)(Probe(classifier, image, [1]), generators(1))
    torch.testing.assert_close(maps[0], expected, rtol=1e-4, atol=1e-6)


def test_pairs_of_opposite_noise_are_two_copies_of_one_draw(classifier, images, generators) -> None:
    image = images[:1]
    spread = 0.15 * float(image.max() - image.min())
    noise = torch.from_numpy(generators(1)[0].standard_normal((2, 2, 24, 32), dtype=np.float32))
    noisy = image + spread * torch.cat([noise[:1], -noise[:1], noise[1:]])
    expected = classifier.input_gradients(noisy, torch.tensor([1, 1, 1])).mean(dim=0).sum(dim=0)
    for size in (1, 2, 32):  # a pair may be torn apart by the micro-batch
        classifier.batch_size = size
        maps = SmoothGrad(samples=3)(Probe(classifier, image, [1]), generators(1))
        torch.testing.assert_close(maps[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("input_x_gradient", lambda weights, images: weights * images),
        ("integrated_gradients", lambda weights, images: weights * (images - 0.5)),
    ],
)
def test_it_wraps_any_method_that_gives_every_pixel_a_value(of, expected, linear, linear_images, generators) -> None:
    # Pairs of opposite noise cancel in what is linear in the image.
    parameters = {"baseline": 0.5} if of == "integrated_gradients" else {}
    method = SmoothGrad(of=of, samples=4, parameters=parameters)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, expected(weights, linear_images).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_a_method_without_values_of_pixels_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"expected a method that gives every pixel a value .*got 'grad_cam'"):
        SmoothGrad(of="grad_cam")
    with pytest.raises(MedsaliencyError, match=r"unknown method .gradients.; did you mean .gradient."):
        SmoothGrad(of="gradients")


@pytest.mark.parametrize("parameters", [{"samples": 0}, {"noise": -0.1}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="smoothgrad: expected samples >= 1 and noise >= 0"):
        SmoothGrad(**parameters)
