"""A trained network and real images, on which ours and independent implementations are compared."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import saliency.core as pair
import torch
from PIL import Image
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import build

SIZE = 64
SETS = ("brain-mri", "breast-ultrasound", "chest-xray")
MEAN, STD = 0.25, 0.2
CallModel = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def brain_mri(real_data: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """8-bit images (N, 1, H, W) in [0, 1] and labels of the training and the evaluation split."""
    root = real_data / "brain-mri"
    with (root / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    found = {}
    for split, count in (("training", 60), ("evaluation", 5)):
        images, labels = [], []
        for label in classes:
            chosen = [row for row in rows if row["label"] == label and row["split"] == split][:count]
            for row in chosen:
                with Image.open(root / row["image"]) as image:
                    images.append(np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
                labels.append(classes.index(label))
        found[split] = (torch.from_numpy(np.stack(images)[:, None].astype(np.float32) / 255), torch.tensor(labels))
    return found


@pytest.fixture(scope="session")
def trained(brain_mri: dict[str, tuple[Tensor, Tensor]]) -> Classifier:
    """A small network after a few passes over 240 images: far from good, and far from random."""
    module = build("small_cnn", classes=4, seed=0)
    classifier = Classifier(module, ["glioma", "meningioma", "no-tumor", "pituitary"], mean=0.2, std=0.2, size=SIZE)
    how = Training(epochs=6, batch_size=16, flip=False, rotation=0, zoom=0, shift=0)
    train(classifier, *brain_mri["training"], *brain_mri["evaluation"], how)
    return classifier


@pytest.fixture(scope="session")
def one_of_each(real_data: Path) -> Tensor:
    """One image of each set, (3, 1, H, W) in [0, 1]."""
    found = []
    for name in SETS:
        with (real_data / name / "manifest.csv").open() as file:
            row = next(csv.DictReader(file))
        with Image.open(real_data / name / row["image"]) as image:
            found.append(np.asarray(image.convert("L").resize((SIZE, SIZE)), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(found)[:, None])


@pytest.fixture(scope="session", params=["resnet18", "efficientnet_b0"])
def probe(request: pytest.FixtureRequest, one_of_each: Tensor) -> Probe:
    """Those images in front of an untrained network of each of two architectures."""
    module = build(request.param, classes=3, seed=0, size=SIZE)
    return Probe(Classifier(module, ["a", "b", "c"], mean=MEAN, std=STD), one_of_each, [2, 0, 1])


@pytest.fixture(scope="session")
def call_model(probe: Probe) -> Callable[[int], CallModel]:
    """PAIR's view of a model, one an image: (N, H, W, C) in float64 on its side, written without our gradients."""

    def of_image(image: int) -> CallModel:
        target = int(probe.targets[image])

        def call(
            batch: np.ndarray, call_model_args: object = None, expected_keys: object = None
        ) -> dict[str, np.ndarray]:
            given = torch.tensor(np.moveaxis(batch, -1, 1), dtype=torch.float32, requires_grad=True)
            logits = probe.classifier.module.eval()((given - MEAN) / STD)
            (gradients,) = torch.autograd.grad(logits[:, target].sum(), given)
            return {pair.INPUT_OUTPUT_GRADIENTS: np.moveaxis(gradients.numpy(), 1, -1)}

        return call

    return of_image


@pytest.fixture
def network() -> nn.Module:
    """Small and curved: its gradients move under noise, and no map predicts what hiding costs exactly."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    draw = torch.Generator().manual_seed(0)
    for values in module.parameters():
        values.data = torch.randn(values.shape, generator=draw)
    return module
