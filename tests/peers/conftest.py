"""A trained network and real images, on which ours and independent implementations are compared."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import build

SIZE = 64


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
