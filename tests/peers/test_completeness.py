"""Integrated Gradients add up on 100 real images of the three sets, by adaptive steps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medsaliency.attribution.integrated_gradients import IntegratedGradients, path_difference
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

SIZE = 64
SHARE = {"brain-mri": 34, "breast-ultrasound": 33, "chest-xray": 33}


def test_a_hundred_real_images_add_up(real_data: Path, trained: Classifier) -> None:
    images = []
    for name, count in SHARE.items():
        with (real_data / name / "manifest.csv").open() as file:
            rows = list(csv.DictReader(file))
        for row in rows[:: len(rows) // count][:count]:
            with Image.open(real_data / name / row["image"]) as image:
                images.append(np.asarray(image.convert("L").resize((SIZE, SIZE)), dtype=np.float32) / 255)
    probe = Probe(trained, torch.from_numpy(np.stack(images)[:, None]))
    difference = path_difference(probe, 0.0)
    gaps = {}
    for tolerance in (None, 0.01):
        maps = IntegratedGradients(tolerance=tolerance, max_steps=20_000)(probe, [])
        gaps[tolerance] = (maps.sum(dim=(1, 2)) - difference).abs() / difference.abs()
    assert len(gaps[0.01]) == 100
    assert float(gaps[0.01].max()) < 0.01
    assert float(gaps[None].max()) > 0.01, "the first sum would do, and the test shows nothing"
