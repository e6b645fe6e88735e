"""What stands where a pixel is not shown: an image of the same size that says as little as possible of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from scipy import ndimage
from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, nearest

Baseline = Literal["mean", "blur", "black"]


def check_baseline(metric: str, baseline: str) -> None:
    """Make sure that ``baseline`` is known.

    Raises:
        MedsaliencyError: If it is not; the nearest known one is named.
    """
    if baseline not in get_args(Baseline):
        known = ", ".join(get_args(Baseline))
        raise MedsaliencyError(
            f"{metric}: expected baseline {known}, got {baseline!r}{nearest(baseline, get_args(Baseline))}"
        )


def baselines_of(probe: Probe, baseline: Baseline, sigma: float) -> Tensor:
    """The baseline of each of a probe's images, (N, C, H, W), made once for all metrics and maps."""
    return probe.once(("baseline", baseline, sigma), lambda: make_baseline(probe.images, baseline, sigma))


def make_baseline(images: Tensor, baseline: Baseline, sigma: float = 1 / 14) -> Tensor:
    """The baseline of each image.

    Args:
        images: (N, C, H, W) in display range.
        baseline: "mean", every channel's mean over the image; "blur", the image under a Gaussian; "black", zeros.
        sigma: Width of the Gaussian, the same along every axis, as a share of the :func:`shorter_side`, above 0. The
            default is 16 pixels of 224.

    Returns:
        (N, C, H, W) float32.
    """
    if baseline == "mean":
        return images.mean(dim=tuple(range(2, images.ndim)), keepdim=True).expand_as(images)
    if baseline == "black":
        return torch.zeros_like(images)
    width = sigma * shorter_side(images.shape)
    # A border of zeros would darken the rim, and so tell where the image ends.
    widths = (0, 0, *(width,) * (images.ndim - 2))
    blurred = ndimage.gaussian_filter(images.cpu().numpy(), widths, mode="nearest")
    return torch.from_numpy(blurred).to(images)


def shorter_side(shape: Sequence[int]) -> int:
    """The shorter of H and W, by which widths and patches are measured; a volume's is that of its slices.

    Not the shortest of three: a volume of few slices would then be blurred by a pixel or two, which hides nothing.

    Args:
        shape: (..., H, W).
    """
    return min(shape[-2:])
