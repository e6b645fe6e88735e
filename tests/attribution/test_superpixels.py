from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.kernel_shap import KernelSHAP
from medsaliency.attribution.lime import LIME
from medsaliency.attribution.superpixels import superpixels
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_they_are_numbered_from_zero_without_a_gap(images) -> None:
    for image in images:
        numbers = superpixels(image, 12)
        assert numbers.shape == (24, 32)
        assert numbers.unique().tolist() == list(range(int(numbers.max()) + 1))
        assert 6 <= int(numbers.max()) + 1 <= 18


def test_they_follow_an_edge() -> None:
    image = torch.zeros(1, 32, 32)
    image[:, :, 13:] = 1  # a square of the grid would reach from pixel 8 to 15
    numbers = superpixels(image, 16)
    # The pixels at the edge itself are smoothed.
    assert not set(numbers[:, :12].unique().tolist()) & set(numbers[:, 14:].unique().tolist())


def test_a_volume_has_supervoxels_that_follow_a_plane() -> None:
    volume = torch.zeros(1, 12, 16, 20)
    volume[:, :, :, 13:] = 1
    numbers = superpixels(volume, 16)
    assert numbers.shape == (12, 16, 20)
    assert numbers.unique().tolist() == list(range(int(numbers.max()) + 1))
    assert not set(numbers[..., :12].unique().tolist()) & set(numbers[..., 14:].unique().tolist())
    assert int(numbers.max()) + 1 >= 4


@pytest.mark.parametrize("method", [LIME, KernelSHAP])
def test_hidden_images_pass_in_micro_batches_and_a_map_is_constant_on_superpixels(
    method, linear, linear_images, generators
) -> None:
    linear.batch_size = 4
    passes = []
    hook = linear.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    maps = method(samples=10, segments=4)(Probe(linear, linear_images[:1], [2]), generators(1))
    hook.remove()
    assert passes == [4, 4, 2]
    numbers = superpixels(linear_images[0], 4)
    assert all(len(maps[0][numbers == number].unique()) == 1 for number in range(int(numbers.max()) + 1))


@pytest.mark.parametrize("method", [LIME, KernelSHAP])
def test_what_cannot_be_is_refused(method, linear, generators) -> None:
    for wrong in ({"samples": 1}, {"segments": 1}):
        with pytest.raises(MedsaliencyError, match="samples >= 2 and segments >= 2"):
            method(**wrong)
    with pytest.raises(MedsaliencyError, match="at least 2 superpixels, got 1"):
        method(samples=4, segments=2)(Probe(linear, torch.rand(1, 2, 1, 1), [0]), generators(1))
