from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.refined_path import PARTS, refined_path, shares
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


@pytest.mark.parametrize(
    ("changes", "steps", "expected"),
    [
        ([], 1, [1]),
        ([], 6, [5]),
        ([1.0, 1.0, 1.0], 4, [1, 1, 1, 1]),
        ([1.0, 1.0, 1.0], 12, [3, 3, 3, 3]),
        # Variations 8, 4.5, 1, 1: the first gets two, then 8 / 3^1.5 = 1.54 < 4.5 and the second two, then the first
        # again (1.54), then the others (1 each; the second has 4.5 / 5.2 = 0.87), in order.
        ([8.0, 1.0, 1.0], 6, [3, 1, 1, 1]),
        ([8.0, 1.0, 1.0], 8, [3, 3, 1, 1]),
        ([8.0, 1.0, 1.0], 10, [5, 3, 1, 1]),
        ([8.0, 1.0, 1.0], 13, [5, 3, 3, 1]),
        ([0.0, 0.0, 9.0], 9, [1, 1, 3, 3]),
    ],
)
def test_points_go_where_the_integrand_changes(changes, steps, expected) -> None:
    assert shares(np.array(changes), steps).tolist() == expected


@pytest.mark.parametrize("steps", [1, 5, 12, 36])
def test_an_even_change_gives_even_middles(linear, linear_images, steps) -> None:
    # A linear model's gradient is the same everywhere: the sum is weights times difference, however it is cut.
    probe = Probe(linear, linear_images, [0, 1, 2])
    weights = linear.module[1].weight.detach().reshape(3, 2, 5, 6)
    torch.testing.assert_close(refined_path(probe, 0.25, steps), weights * (linear_images - 0.25))


def test_it_is_integrated_gradients_at_the_same_points(classifier, images) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    coarse = IntegratedGradients(steps=PARTS, max_steps=PARTS, tolerance=None, baseline=0.3).attributions(probe, ())
    torch.testing.assert_close(refined_path(probe, 0.3, PARTS), coarse, rtol=1e-4, atol=1e-6)
    few = IntegratedGradients(steps=5, max_steps=5, tolerance=None, baseline=0.3).attributions(probe, ())
    torch.testing.assert_close(refined_path(probe, 0.3, 5), few, rtol=1e-4, atol=1e-6)


class LateWave(nn.Module):
    """The score of an image of one value t is the integral of cos(200 t) beyond t = 0.9, and of nothing before."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = x.mean(dim=(1, 2, 3))
        wave = torch.where(t > 0.9, torch.sin(200 * t) / 200 - torch.sin(torch.tensor(180.0)) / 200, 0.0)
        return torch.stack([wave, -wave], dim=1)


def test_a_change_at_one_end_costs_few_points() -> None:
    probe = Probe(Classifier(LateWave(), ["a", "b"]), torch.ones(1, 1, 4, 4), [0])
    exact = (np.sin(200) - np.sin(180)) / 200

    def error(values: torch.Tensor) -> float:
        return abs(float(values.sum()) - exact) / abs(exact)

    even = IntegratedGradients(steps=36, max_steps=36, tolerance=None).attributions(probe, ())
    assert error(refined_path(probe, 0.0, 36)) < 0.1 * error(even)


def test_chunks_and_company_change_nothing(classifier, images) -> None:
    expected = refined_path(Probe(classifier, images, [0, 1, 2, 0]), 0.0, 30)
    classifier.batch_size = 3
    torch.testing.assert_close(refined_path(Probe(classifier, images, [0, 1, 2, 0]), 0.0, 30), expected)
    torch.testing.assert_close(refined_path(Probe(classifier, images[2:3], [2]), 0.0, 30), expected[2:3])


def test_at_most_so_many_passes(classifier, images) -> None:
    seen: list[int] = []
    probe = Probe(classifier, images[:2], [0, 1])
    refined_path(probe, 0.0, 12)  # traces the network first
    hook = classifier.module.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    refined_path(Probe(classifier, images[:2], [0, 1]), 0.0, 40)
    hook.remove()
    assert sum(seen) == 2 * 40
