from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.occlusion import Occlusion
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_of_a_linear_model_a_window_takes_away_its_share(linear, linear_images, generators, baseline) -> None:
    # Windows of 2 x 2 pixels (0.4 * 5 and 0.4 * 6, rounded) side by side; the last row of them is cut to one pixel.
    maps = Occlusion(window=0.4, stride=0.4, baseline=baseline)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    shares = (weights * (linear_images - baseline)).sum(dim=1)
    for top in (0, 2, 4):
        for left in (0, 2, 4):
            window = (slice(None), slice(top, top + 2), slice(left, left + 2))
            expected = shares[window].sum(dim=(1, 2))[:, None, None].expand_as(shares[window])
            torch.testing.assert_close(maps[window], expected, rtol=1e-4, atol=1e-5)


def test_windows_that_cover_a_pixel_are_averaged(by_hand, generators) -> None:
    # x = [[1, 0.5, 0.25, 0]] and a window of 2 x 2 that moves by one: it covers pixels 01, 12 and 23 of the one row.
    # z0 = 4 mean(x) - 2 mean(relu(0.5 - x)); hiding a pixel x takes x + 0.5 min(x, 0.5) off: 1.25, 0.75, 0.375, 0.
    # Falls are 2, 1.125 and 0.375.
    maps = Occlusion(window=0.5, stride=0.25)(
        Probe(by_hand, torch.tensor([1.0, 0.5, 0.25, 0.0])[None, None, None], [0]), generators(1)
    )
    torch.testing.assert_close(maps[0], torch.tensor([[2.0, (2 + 1.125) / 2, (1.125 + 0.375) / 2, 0.375]]))


def test_a_window_as_large_as_the_image_takes_one_position(linear, linear_images, generators) -> None:
    passes = []
    hook = linear.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    maps = Occlusion(window=1, stride=0.1)(Probe(linear, linear_images[:1], [2]), generators(1))
    hook.remove()
    assert passes == [1, 1]
    fall = linear.logits(linear_images[:1])[0, 2] - linear.logits(torch.zeros_like(linear_images[:1]))[0, 2]
    torch.testing.assert_close(maps[0], fall.expand(5, 6))


def test_covered_images_pass_in_micro_batches(linear, linear_images, generators) -> None:
    linear.batch_size = 4
    passes = []
    hook = linear.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    Occlusion(window=0.4, stride=0.4)(Probe(linear, linear_images[:1], [2]), generators(1))
    hook.remove()
    assert passes == [1, 4, 4, 1]


@pytest.mark.parametrize("wrong", [{"stride": 0.0}, {"stride": 0.2}, {"window": 1.5, "stride": 1.0}])
def test_what_leaves_pixels_out_is_refused(wrong) -> None:
    with pytest.raises(MedsaliencyError, match="0 < stride <= window <= 1"):
        Occlusion(**wrong)
