from __future__ import annotations

from itertools import combinations
from math import factorial

import pytest
import torch
from torch import nn

from medsaliency.attribution.kernel_shap import KernelSHAP
from medsaliency.attribution.superpixels import superpixels
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_of_an_additive_score_it_gives_the_shapley_values(linear, linear_images, generators, baseline) -> None:
    method = KernelSHAP(samples=40, segments=6, baseline=baseline)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    for target, (found, image) in enumerate(zip(maps, linear_images, strict=True)):
        numbers = superpixels(image, 6)
        weights = linear.module[1].weight.detach()[target].reshape(2, 5, 6)
        of_pixels = (weights * (image - baseline)).sum(dim=0)
        for number in range(int(numbers.max()) + 1):
            own = numbers == number
            torch.testing.assert_close(found[own], of_pixels[own].sum().expand(int(own.sum())), rtol=1e-3, atol=2e-3)


def test_of_a_score_that_is_not_additive_it_tends_to_them(generators) -> None:
    class Product(nn.Module):
        """Mean of the left half times mean of the right."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x[..., :8].mean(dim=(1, 2, 3)) * x[..., 8:].mean(dim=(1, 2, 3)))[:, None].repeat(1, 2)

    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    classifier = Classifier(Product(), ["a", "b"])
    numbers = superpixels(image[0], 4)
    count = int(numbers.max()) + 1
    assert count >= 3

    def value(shown: tuple[int, ...]) -> float:
        return float(classifier.logits(image * torch.isin(numbers, torch.tensor(shown)))[0, 0])

    maps = KernelSHAP(samples=3000, segments=4)(Probe(classifier, image, [0]), generators(1))
    whole = value(tuple(range(count)))
    for number in range(count):
        others = [other for other in range(count) if other != number]
        exact = sum(
            factorial(size) * factorial(count - 1 - size) / factorial(count) * (value((*some, number)) - value(some))
            for size in range(count)
            for some in combinations(others, size)
        )
        assert float(maps[0][numbers == number][0]) == pytest.approx(exact, abs=0.03 * whole)
