from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.gradient_shap import GradientSHAP
from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_without_noise_a_linear_model_gives_weight_times_difference(
    linear, linear_images, generators, baseline
) -> None:
    method = GradientSHAP(samples=3, noise=0, baseline=baseline)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - baseline)).sum(dim=1), rtol=1e-5, atol=1e-5)


def test_with_noise_it_is_that_in_expectation(linear, linear_images, generators) -> None:
    samples, noise = 400, 0.2
    maps = GradientSHAP(samples=samples, noise=noise)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    spans = linear_images.amax(dim=(1, 2, 3)) - linear_images.amin(dim=(1, 2, 3))
    # The mean of the noise, times the weights of both channels.
    spread = weights.square().sum(dim=1).sqrt() * noise * spans[:, None, None] / samples**0.5
    off = (maps - (weights * linear_images).sum(dim=1)) / spread
    assert float(off.abs().max()) < 5
    assert 0.7 < float(off.square().mean()) < 1.4


def test_random_points_of_the_path_stand_for_the_integral(by_hand, by_hand_image, generators) -> None:
    probe = Probe(by_hand, by_hand_image, [1])
    maps = GradientSHAP(samples=2000, noise=0)(probe, generators(1))
    torch.testing.assert_close(maps, IntegratedGradients(steps=200)(probe, generators(1)), rtol=0, atol=0.05)


def test_points_pass_in_micro_batches(linear, linear_images, generators) -> None:
    linear.batch_size = 4
    passes = []
    hook = linear.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    GradientSHAP(samples=10)(Probe(linear, linear_images[:1], [2]), generators(1))
    hook.remove()
    assert passes == [4, 3, 3]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"noise": -0.1}])
def test_what_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(MedsaliencyError, match="samples >= 1 and noise >= 0"):
        GradientSHAP(**wrong)
