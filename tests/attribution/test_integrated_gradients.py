from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("steps", [1, 5, 25])
@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_a_linear_model_gives_weight_times_difference(linear, linear_images, generators, steps, baseline) -> None:
    maps = IntegratedGradients(steps=steps, baseline=baseline)(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * (linear_images - baseline)).sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_a_smooth_network_is_complete(smooth, smooth_images, generators, baseline) -> None:
    targets = torch.tensor([0, 1, 1])
    maps = IntegratedGradients(baseline=baseline, tolerance=1e-4, max_steps=2000)(
        Probe(smooth, smooth_images, targets), generators(3)
    )
    rise = smooth.logits(smooth_images) - smooth.logits(torch.full_like(smooth_images, baseline))
    expected = rise.gather(1, targets[:, None])[:, 0]
    assert float(expected.abs().min()) > 0.01
    torch.testing.assert_close(maps.sum(dim=(1, 2)), expected, rtol=1e-4, atol=1e-5)


class Power(nn.Module):
    """The sum of a power of every pixel, twice."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x**self.power).sum(dim=(1, 2, 3))[:, None].repeat(1, 2)


IMAGE = torch.tensor([[0.5, 1.0], [0.25, 0.0]])[None, None]


def test_middles_are_exact_for_a_quadratic(generators) -> None:
    maps = IntegratedGradients(steps=1, tolerance=None)(
        Probe(Classifier(Power(2), ["a", "b"]), IMAGE, [0]), generators(1)
    )
    torch.testing.assert_close(maps[0], IMAGE[0, 0] ** 2)


@pytest.mark.parametrize(("steps", "share"), [(1, 3 / 4), (2, 15 / 16)])
def test_the_sum_of_a_cubic_is_that_of_its_middles(generators, steps: int, share: float) -> None:
    # The integral of 3 a^2 is 1; from the middle 1/2 it is 3/4, from 1/4 and 3/4 it is 15/16.
    probe = Probe(Classifier(Power(3), ["a", "b"]), IMAGE, [0])
    maps = IntegratedGradients(steps=steps, tolerance=None)(probe, generators(1))
    torch.testing.assert_close(maps[0], share * IMAGE[0, 0] ** 3)


def test_points_are_added_until_the_map_adds_up(generators) -> None:
    probe = Probe(Classifier(Power(3), ["a", "b"]), IMAGE, [0])
    expected = float((IMAGE**3).sum())
    off = [
        abs(float(IntegratedGradients(steps=1, **limits)(probe, generators(1)).sum()) / expected - 1)
        for limits in ({"tolerance": None}, {"max_steps": 3}, {"tolerance": 0.1}, {"tolerance": 0.001})
    ]
    # One middle: 3/4. With both ends, two trapezoids: 9/8. With the middles of both, four: 33/32.
    assert off[:3] == pytest.approx([1 / 4, 1 / 8, 1 / 32], abs=1e-6)
    assert off[3] < 0.001


def test_only_images_that_do_not_add_up_cost_more(generators) -> None:
    class Counting(Power):
        seen = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Counting.seen += len(x)
            squares, cubes = (x**2).sum(dim=(1, 2, 3)), (x**3).sum(dim=(1, 2, 3))
            return torch.stack([squares, cubes], dim=1)

    probe = Probe(Classifier(Counting(0), ["a", "b"]), IMAGE.expand(2, -1, -1, -1), [0, 1])
    IntegratedGradients(steps=2, tolerance=0.05)(probe, generators(2))
    # Two middles each, both images, a baseline for each of two targets; then three ends for the cube alone.
    assert Counting.seen == 2 * 2 + 2 + 2 + 3


def test_a_flat_score_ends(generators) -> None:
    flat = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ["a", "b"])
    with torch.no_grad():
        flat.module[1].weight.zero_()
    assert float(IntegratedGradients()(Probe(flat, IMAGE, [0]), generators(1)).abs().max()) == 0


def test_a_contrast_is_the_difference_of_its_logits(linear, linear_images, generators) -> None:
    both = [IntegratedGradients()(Probe(linear, linear_images, [k] * 3), generators(3)) for k in (2, 0)]
    maps = IntegratedGradients()(Probe(linear, linear_images, [Contrast(2, 0)] * 3), generators(3))
    torch.testing.assert_close(maps, both[0] - both[1], rtol=1e-4, atol=1e-5)


def test_absolute_sums_magnitudes_over_channels(linear, linear_images, generators) -> None:
    maps = IntegratedGradients(sign="absolute")(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(maps, (weights * linear_images).abs().sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"steps": 9, "max_steps": 8}, {"tolerance": 0.0}])
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="integrated_gradients: expected steps >= 1, max_steps >= steps"):
        IntegratedGradients(**parameters)
