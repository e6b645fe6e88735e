"""Max-sensitivity against captum's, given the same noise (extra `captum`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from captum.metrics import sensitivity_max
from torch import Tensor

from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation.max_sensitivity import MaxSensitivity
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

SAMPLES, RADIUS, TARGETS = 6, 0.1, [2, 0, 1]


def rngs() -> list[np.random.Generator]:
    return [generator(0, str(i), "max_sensitivity") for i in range(len(TARGETS))]


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_as_captum_s(network) -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))

    def noisy(repeated: Tensor, radius: float) -> Tensor:
        # Captum asks once for all copies, those of an image one after another, as ours are drawn from its generator.
        noise = [rng.uniform(-radius, radius, (1, 16, 16)) for rng in rngs() for _ in range(SAMPLES)]
        return repeated + torch.from_numpy(np.stack(noise).astype(np.float32))

    theirs = sensitivity_max(
        lambda given, target: Saliency(network).attribute(given, target, abs=False),
        images,
        perturb_func=noisy,
        perturb_radius=RADIUS,
        n_perturb_samples=SAMPLES,
        target=torch.tensor(TARGETS),
    )
    probe = Probe(Classifier(network, ["a", "b", "c"]), images, TARGETS)
    ours = MaxSensitivity(samples=SAMPLES, radius=RADIUS)(
        probe, lambda other: Gradient()(other, []), Gradient()(probe, []), rngs()
    )
    found = [score.value for score in ours["max_sensitivity"]]
    assert min(found) > 0.01
    assert len(set(found)) == 3
    assert found == pytest.approx(theirs.tolist(), rel=1e-4)
