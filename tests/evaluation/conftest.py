"""Classifiers whose probabilities are known, for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


class Summing(nn.Module):
    """Logits (0, scale * (weighted sum of pixels - middle)); keeps what it was shown."""

    def __init__(self, weights: Tensor, scale: float, middle: float) -> None:
        super().__init__()
        self.weights, self.scale, self.middle = weights, scale, middle
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x.detach().clone())
        score = self.scale * ((x * self.weights).sum(dim=tuple(range(1, x.ndim))) - self.middle)
        return torch.stack([torch.zeros_like(score), score], dim=1)


MakeSumming = Callable[..., Classifier]


@pytest.fixture
def summing() -> MakeSumming:
    def make(
        weights: Tensor | float = 1.0, *, scale: float = 1.0, middle: float = 0.0, channels: int = 1
    ) -> Classifier:
        return Classifier(Summing(torch.as_tensor(weights), scale, middle), ["a", "b"], channels=channels)

    return make


@pytest.fixture
def lesion_probe(summing: MakeSumming) -> Callable[..., Probe]:
    """A probe of blank images with the given masks; None for an image without a mask."""

    def make(*masks: list[list[int]] | None) -> Probe:
        lesions = [None if mask is None else torch.tensor(mask, dtype=torch.bool) for mask in masks]
        size = next(tuple(lesion.shape) for lesion in lesions if lesion is not None)
        return Probe(summing(), torch.zeros(len(masks), 1, *size), [0] * len(masks), lesions)

    return make
