"""Blur Integrated Gradients: Xu, Venugopalan & Sundararajan 2020, arXiv:2004.03383, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from medsaliency.attribution.blur import gaussian_blur
from medsaliency.attribution.method import PerPixel
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

Rule = Literal["midpoint", "left"]
SLOPE = 0.01
"""Pixels of blur over which "left" takes the slope of the image; the default of the authors' code."""


class BlurPath(NamedTuple):
    """Where a sum along the path takes the gradient, and which change of the image it multiplies it with.

    Args:
        at: (S,) widths of the blur, in pixels, at which the gradient is taken.
        sharper: (S,) widths, from which the image changes
        blurrier: (S,) to these.
        scale: Of the change.
        dtype: In which images are blurred.
    """

    at: Tensor
    sharper: Tensor
    blurrier: Tensor
    scale: float = 1.0
    dtype: torch.dtype = torch.float32


def blur_path(max_sigma: float, steps: int, rule: Rule, device: torch.device) -> BlurPath:
    """Parts of the path from the image to its blur by ``max_sigma``; see :class:`BlurIntegratedGradients`."""
    if rule == "left":
        at = torch.arange(steps, dtype=torch.float64, device=device) * (max_sigma / steps)
        # So small a difference of blurred images loses digits.
        return BlurPath(at, at, at + SLOPE, scale=max_sigma / steps / SLOPE, dtype=torch.float64)
    # Images lose most in the first pixels of blur: equal parts of log(1 + sigma) change them about equally.
    ends = (1 + max_sigma) ** torch.linspace(0, 1, 2 * steps + 1, dtype=torch.float64, device=device) - 1
    return BlurPath(ends[1::2], ends[:-1:2], ends[2::2])


def along_blur(
    probe: Probe, images: Tensor, which: Tensor, owners: Sequence[int], path: BlurPath, parts: Tensor
) -> Tensor:
    """What images contribute in parts of the path, (P, C, H, W).

    Args:
        probe: Gives gradients.
        images: (M, C, H, W).
        which: (P,) number of each image that contributes.
        owners: The probe's image whose target counts, P of them.
        path: Its parts,
        parts: (P,) and which of them each takes.
    """
    widths = torch.cat([path.at[parts], path.sharper[parts], path.blurrier[parts]])
    # A GPU may have been told to round float32 products, which a difference does not bear.
    exact = images.to(torch.float64 if images.is_cuda else path.dtype)
    at, sharper, blurrier = _blurred(exact, which.repeat(3), widths).chunk(3)
    gradients = probe.gradients(at.float(), owners)[1]
    return gradients * (path.scale * (sharper - blurrier)).float()


def _blurred(images: Tensor, which: Tensor, widths: Tensor) -> Tensor:
    """Of images (M, C, H, W) those that ``which`` (Q,) numbers, each blurred by one of ``widths`` (Q,).

    Where one part of a path ends the next begins: what is alike is blurred once.
    """
    alike, inverse = torch.stack([which.to(widths), widths], dim=1).unique(dim=0, return_inverse=True)
    return gaussian_blur(images[alike[:, 0].long()], alike[:, 1])[inverse]


@dataclass(frozen=True, kw_only=True)
class BlurIntegratedGradients(PerPixel):
    """Gradient integrated along the path from a blurred image to the image, which gets sharper step by step.

    Signed maps sum to the score at the image less the score at the image blurred by ``max_sigma``, up to the error of
    the sum. Costs ``steps`` forward and backward passes an image.

    Args:
        max_sigma: Standard deviation, in pixels, of the blur at which the path starts; 50 in the authors' code.
        steps: Parts of the path.
        rule: "midpoint" takes the gradient in the middle of parts that are equal in log(1 + sigma), times the whole
            change of the image over the part. "left" is the sum of the authors' code: equal parts of sigma, gradient
            and slope of the image at the sharper end.
        sign: See :class:`~medsaliency.attribution.method.Signed`; only the signed map is complete.

    Raises:
        MedsaliencyError: If ``max_sigma`` or ``steps`` is out of range or ``rule`` unknown.
    """

    max_sigma: float = 50.0
    steps: int = 25
    rule: Rule = "midpoint"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_sigma <= 0 or self.steps < 1 or self.rule not in get_args(Rule):
            raise MedsaliencyError(
                "blur_integrated_gradients: expected max_sigma above 0, steps >= 1 and rule as one of "
                f"{', '.join(get_args(Rule))}, got {self}; change them"
            )

    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Values (N, C, H, W); nothing is drawn."""
        del rngs
        path = blur_path(self.max_sigma, self.steps, self.rule, probe.images.device)
        total = torch.zeros_like(probe.images)
        passes = torch.arange(len(probe) * self.steps, device=total.device)
        for chunk in passes.split(probe.together):
            own = chunk // self.steps
            total.index_add_(0, own, along_blur(probe, probe.images, own, own.tolist(), path, chunk % self.steps))
        return total
