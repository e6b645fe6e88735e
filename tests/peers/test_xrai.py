"""XRAI against PAIR's `saliency`, on the same integrated gradients of real images of the three data sets."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import saliency.core as pair
import timm
import torch
from PIL import Image
from saliency.core.xrai import _get_segments_felzenszwalb
from scipy.stats import spearmanr

from medsaliency.attribution.xrai import integrated, xrai
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

SIZE = 96
DATA_SETS = ("brain-mri", "breast-ultrasound", "chest-xray")
Pair = tuple[np.ndarray, np.ndarray]
Variants = tuple[tuple[bool, float], ...]
FULL_AND_FAST = ((False, 1.0), (True, 1.0))


@pytest.fixture(scope="module")
def resnet() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model("resnet18", num_classes=3)
    return Classifier(module, ["a", "b", "c"], channels=3, mean=0.3, std=0.25)


@pytest.fixture(scope="module")
def cases(real_data: Path, resnet: Classifier) -> dict[str, list[Pair]]:
    """Three images (H, W, C) of each data set, from all over its manifest, with their integrated gradients."""
    found = {}
    for name in DATA_SETS:
        with (real_data / name / "manifest.csv").open() as file:
            rows = list(csv.DictReader(file))
        images = []
        for row in rows[:: len(rows) // 3][:3]:
            with Image.open(real_data / name / row["image"]) as image:
                gray = np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
            images.append(torch.from_numpy(gray.astype(np.float32) / 255).expand(3, -1, -1))
        probe = Probe(resnet, torch.stack(images), [0, 1, 2])
        found[name] = [
            (image.permute(1, 2, 0).numpy(), attribution.permute(1, 2, 0).numpy())
            for image, attribution in zip(probe.images, integrated(probe, steps=4), strict=True)
        ]
    return found


def both(image: np.ndarray, attribution: np.ndarray, variants: Variants) -> Iterator[Pair]:
    """Our map and PAIR's, for each pair of ``fast`` and ``area_threshold``."""
    segments = _get_segments_felzenszwalb(image)
    for fast, area in variants:
        parameters = pair.XRAIParameters(algorithm="fast" if fast else "full", area_threshold=area)
        theirs = pair.XRAI().GetMask(
            image, None, segments=segments, base_attribution=attribution, extra_parameters=parameters
        )
        yield xrai(image, attribution, fast=fast, area_threshold=area), theirs


@pytest.mark.parametrize("name", DATA_SETS)
def test_maps_are_the_same_with_the_same_rule_for_ties(cases, name, monkeypatch: pytest.MonkeyPatch) -> None:
    # scikit-image's sort leaves the order of equal edges to the processor, and PAIR's means are rounded to the
    # attributions' type, which makes a first of equal segments.
    sort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda values, axis=-1, kind=None: sort(values, axis=axis, kind="stable"))
    for image, attribution in cases[name]:
        for ours, theirs in both(image, attribution.astype(np.float64), (*FULL_AND_FAST, (False, 0.4))):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * np.abs(theirs).max())
            assert len(np.unique(ours)) >= 5


@pytest.mark.parametrize("name", DATA_SETS)
def test_maps_are_close_with_whatever_decides_ties(cases, name) -> None:
    for ours, theirs in both(*cases[name][-1], FULL_AND_FAST):
        assert spearmanr(ours, theirs, axis=None).statistic >= 0.99
        top = [found >= np.quantile(found, 0.8) for found in (ours, theirs)]
        assert (top[0] & top[1]).sum() >= 0.95 * top[1].sum()
