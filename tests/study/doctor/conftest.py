"""A healthy network with its data, and data of two classes told apart by brightness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.sandbox import sandbox
from medsaliency.data.splits import split
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import build
from medsaliency.study.doctor import Diagnosis, Finding, examine
from medsaliency.study.reading import stack

MEAN, STD = 0.25, 0.2


@pytest.fixture(scope="session")
def brains() -> Dataset:
    """The sandbox, every image read once."""
    dataset = split(sandbox(size=48, training=240, evaluation=48), seed=0, validation=0.15, evaluation=0.2)
    kept = {record.id: dataset.read(record) for record in dataset.records}
    return replace(dataset, read=lambda record: kept[record.id])


@pytest.fixture(scope="session")
def healthy(brains: Dataset) -> Classifier:
    """The demo's network, trained until its batch normalizations know the images. Not to be changed."""
    classifier = Classifier(build("small_cnn", classes=4), brains.classes, mean=MEAN, std=STD, size=48)
    training, validation = (stack(brains.samples(brains.of(name), 48)) for name in ("training", "validation"))
    train(classifier, *training, *validation, Training(epochs=8, learning_rate=0.004, batch_size=16))
    return classifier


@pytest.fixture(scope="session")
def brightness() -> Dataset:
    """Dark images and bright ones, in [0, 1]."""
    rng, count, size = np.random.default_rng(0), 20, 16
    pixels = {
        f"{name}-{i}": (0.2 * rng.random((1, size, size)) + low).astype(np.float32)
        for name, low in (("dark", 0.1), ("bright", 0.6))
        for i in range(count)
    }
    records = tuple(Record(id=name, label=int(name.startswith("bright")), patient=name) for name in pixels)
    return Dataset("brightness", ("dark", "bright"), records, lambda record: Raw(pixels[record.id]))


class Brightness(nn.Module):
    """Tells dark from bright by the mean of what it is given: a convolution, a ReLU, and a linear layer.

    Args:
        threshold: Mean brightness from which on an image is bright, in the scale that the module is given.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 0.5])[:, None, None, None].expand(2, 1, 3, 3) / 9)
            self.conv.bias.zero_()
            self.fc.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
            self.fc.bias.copy_(torch.tensor([threshold, -threshold]))

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(self.features(x)).flatten(1))
        return logits


@pytest.fixture
def network() -> Callable[..., Brightness]:
    """Makes one."""
    return Brightness


@pytest.fixture
def examined(brightness: Dataset) -> Callable[..., Diagnosis]:
    """What is found in a module, with the data of two brightnesses unless told."""

    def of(module: nn.Module, dataset: Dataset | None = None, **more: object) -> Diagnosis:
        dataset = dataset or brightness
        settings = {"classes": dataset.classes, "size": 16} | more
        return examine(Classifier(module, **settings), dataset)

    return of


@pytest.fixture
def only(examined: Callable[..., Diagnosis]) -> Callable[..., Finding]:
    """The one thing that is found in a module, by the check named."""

    def of(check: str, module: nn.Module, dataset: Dataset | None = None, **more: object) -> Finding:
        found = {name: those for name, those in examined(module, dataset, **more).findings.items() if those}
        assert list(found) == [check], found
        (finding,) = found[check]
        return finding

    return of
