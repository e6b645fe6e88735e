"""Against PAIR's `saliency`, the reference implementation of the information curves (extra `test`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency.metrics import pic
from torch import Tensor

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation.curve import FRACTIONS
from medsaliency.evaluation.published_curves import PublishedCurves
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

SIZE = 64


def maps_of_many_kinds(probe: Probe) -> Tensor:
    """Fine maps, coarse maps and maps of a few values, which the rule for ties treats differently."""
    maps = Gradient(sign="absolute")(probe, [])
    maps[1::3] = GradCAM(sign="signed")(probe, [])[1::3]
    steps = (8 * maps[2::3] / maps[2::3].amax(dim=(1, 2), keepdim=True)).round()
    # Were the lowest all equal, a step would show the whole image, which PAIR cannot encode.
    maps[2::3] = torch.where(steps == 0, maps[2::3] * 1e-3, steps)
    return maps


def pair_area(classifier: Classifier, image: Tensor, saliency: Tensor, start: np.ndarray, target: int, kind: str):
    """The area as PAIR computes it; None where it excludes the image."""

    def predict(images: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.divide(images[:, None], 255, dtype=np.float32))
        probabilities = classifier.probabilities(given).numpy()
        if kind == "sic":
            return probabilities[:, target].astype(np.float64)
        return (probabilities.argmax(axis=1) == target).astype(np.float64)

    try:
        return pic.compute_pic_metric(
            img=(image[0].numpy() * 255).round().astype(np.uint8),
            saliency_map=saliency.numpy().astype(np.float64),
            random_mask=start,
            pred_func=predict,
            saliency_thresholds=list(FRACTIONS),
            min_pred_value=0.3,
        ).auc
    except pic.ComputePicMetricError:
        return None


def test_published_curves_are_those_of_pair_on_fifty_images(
    trained: Classifier, brain_mri: dict[str, tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # NumPy 2.4 has dropped the name that PAIR calls
    images = torch.cat([brain_mri["evaluation"][0], brain_mri["training"][0][::8]])[:50]
    assert len(images) == 50
    probe = Probe(trained, images)
    maps = maps_of_many_kinds(probe)
    ours = PublishedCurves(minimum=0.3)(probe, maps, [generator(i) for i in range(len(probe))])
    for kind in ("aic", "sic"):
        compared = 0
        for i, score in enumerate(ours[f"{kind}_webp_published"]):
            start = np.zeros(SIZE * SIZE, dtype=bool)
            start[generator(i).choice(SIZE * SIZE, size=SIZE * SIZE // 100, replace=False)] = True
            theirs = pair_area(trained, images[i], maps[i], start.reshape(SIZE, SIZE), int(probe.targets[i]), kind)
            assert (theirs is None) == bool(score.reason), (kind, i, score.reason)
            if theirs is not None:
                assert score.value == pytest.approx(theirs, abs=1e-3), (kind, i)
                compared += 1
        assert compared >= 15, kind
