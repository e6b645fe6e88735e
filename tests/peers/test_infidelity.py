"""Infidelity against captum's, given the same perturbations (extra `captum`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import metrics as peer
from torch import Tensor

from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.evaluation.infidelity import Infidelity, hide, patch_sums
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

SAMPLES, SIDE, TARGETS = 40, 4, [2, 0, 1]
SIDES = np.array([SIDE, SIDE])


def rngs() -> list[np.random.Generator]:
    return [generator(0, str(i), "infidelity") for i in range(len(TARGETS))]


def test_as_captum_s_raw_and_scaled(network) -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    probe = Probe(Classifier(network, ["a", "b", "c"]), images, TARGETS)
    maps = InputXGradient(sign="signed")(probe, [])
    corners = [rng.integers((13, 13), size=(SAMPLES, 2)) for rng in rngs()]
    black = torch.zeros(1, 16, 16)

    def perturb(repeated: Tensor) -> tuple[Tensor, Tensor]:
        # Captum asks once for all copies, those of an image one after another. A map of input times gradient takes
        # perturbations in units of the input: 1 where hidden.
        assert len(repeated) == 3 * SAMPLES
        hidden = torch.cat([hide(image, black, own, SIDES) for image, own in zip(images, corners, strict=True)])
        masks = torch.cat([hide(black, torch.ones_like(black), own, SIDES) for own in corners])
        return masks, hidden

    def theirs(normalize: bool) -> Tensor:
        given = (network, perturb, images, maps[:, None])
        return peer.infidelity(*given, target=TARGETS, n_perturb_samples=SAMPLES, normalize=normalize)

    falls = []
    for i, own in enumerate(corners):
        hidden = hide(images[i], black, own, SIDES)
        falls.append((probe.own_scores[i] - probe.scores(hidden, [i] * SAMPLES, precise=True)).double().numpy())
    raw = [
        np.mean((patch_sums(m.numpy(), own, SIDES) - f) ** 2) for m, own, f in zip(maps, corners, falls, strict=True)
    ]
    assert raw == pytest.approx(theirs(False).tolist(), rel=1e-4)

    ours = Infidelity(samples=SAMPLES, patch=SIDE / 16, baseline="black")(probe, maps, rngs())["infidelity"]
    squares = [float(np.mean(f**2)) for f in falls]
    found = [score.value for score in ours]
    assert all(0.001 < value < 0.999 for value in found)
    assert found == pytest.approx((theirs(True).double().numpy() / squares).tolist(), rel=1e-3)
