"""GradientSHAP: Lundberg & Lee 2017, arXiv:1705.07874, by expected gradients (Erion et al. 2021, arXiv:1906.10670)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medsaliency.attribution.method import PerPixel
from medsaliency.attribution.through_captum import captum, drawing_from
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class GradientSHAP(PerPixel):
    """Gradients at random points between a baseline and noisy copies of the image, times their difference.

    Costs ``samples`` forward and backward passes an image. Runs through the extra ``captum``.

    Args:
        samples: Random points; 25 as in SmoothGrad.
        noise: Standard deviation of the noise as a share of the image's range (its maximum less its minimum); 0.15 as
            in SmoothGrad.
        baseline: Display-range value of every baseline pixel; 0 is black.
        sign: See :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` is below 1 or ``noise`` negative.
    """

    samples: int = 25
    noise: float = 0.15
    baseline: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.noise < 0:
            raise MedsaliencyError(f"gradient_shap: expected samples >= 1 and noise >= 0, got {self}")

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Mean products (N, C, H, W); each image's generator seeds captum's draws."""
        peer = captum("gradient_shap")
        # On the CPU, where captum's draws are the same whatever device runs the model.
        images = probe.images.cpu()
        values = []
        for i, (image, rng) in enumerate(zip(images, rngs, strict=True)):
            spread = float(image.max() - image.min())
            with drawing_from(rng):
                found = peer.GradientShap(partial(_scores, probe, i)).attribute(
                    image[None],
                    baselines=torch.full_like(image, self.baseline)[None],
                    n_samples=self.samples,
                    stdevs=self.noise * spread,
                )
            values.append(found)
        return torch.cat(values).to(probe.images)


def _scores(probe: Probe, owner: int, points: Tensor) -> Tensor:
    scores: Tensor = _Scores.apply(points, probe, owner)
    return scores


class _Scores(torch.autograd.Function):
    """A probe's scores (P,) of points (P, C, H, W), which keeps their gradients: in its micro-batches, by its rules."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, probe: Probe, owner: int) -> Tensor:
        # Captum runs the module itself; so that both agree to rounding, so do we.
        scores, gradients = probe.gradients(points, [owner] * len(points), precise=True)
        ctx.save_for_backward(gradients.to(points))
        return scores.to(points)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradients,) = ctx.saved_tensors
        return aligned(outer[0], gradients) * gradients, None, None
