from __future__ import annotations

import math

import pytest
import torch

from medsaliency.attribution.center_gaussian import CenterGaussian
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_values_at_distances_worked_out_by_hand(linear, generators) -> None:
    # 5 x 10 pixels: sigma is 1 pixel down and 2 across; the middle is pixel 2 down, and between 4 and 5 across.
    maps = CenterGaussian(sigma=0.2)(Probe(linear, torch.rand(2, 2, 5, 10), [0, 1]), generators(2))
    assert maps.shape == (2, 5, 10)
    assert torch.equal(maps[0], maps[1])
    assert float(maps[0, 2, 4]) == pytest.approx(math.exp(-0.5 * 0.25**2))
    assert float(maps[0, 1, 4]) == pytest.approx(math.exp(-0.5 * (1 + 0.25**2)))
    assert float(maps[0, 2, 0]) == pytest.approx(math.exp(-0.5 * 2.25**2))
    torch.testing.assert_close(maps, maps.flip(1, 2))


def test_the_model_is_not_asked(linear, generators) -> None:
    asked: list[object] = []
    linear.module.register_forward_pre_hook(lambda *given: asked.append(given))
    CenterGaussian()(Probe(linear, torch.rand(1, 2, 5, 6), [0]), generators(1))
    assert asked == []


def test_no_width_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"sigma above 0.*got 0"):
        CenterGaussian(sigma=0)
