"""Gaussian blur of many images, each by its own width, as a product with a matrix along each axis."""

from __future__ import annotations

import torch
from torch import Tensor

TRUNCATE = 4.0
"""Where a kernel ends, in standard deviations; scipy's default."""


def gaussian_blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """Blur images over height and width (and a volume's depth), black beyond their edges.

    What ``scipy.ndimage.gaussian_filter(..., mode="constant")`` gives, at a cost that does not grow with the width.

    Args:
        images: (P, C, H, W) or (P, C, D, H, W), floating point; the result has its precision.
        sigma: Standard deviation in pixels, at least 0, which leaves an image as it is: one for all or (P,).
    """
    sigmas = torch.as_tensor(sigma, dtype=torch.float64, device=images.device).reshape(-1, 1)
    axes = (1,) * (images.ndim - 3)
    *others, rows, columns = (
        _kernels(size, sigmas).to(images.dtype).reshape(-1, *axes, size, size) for size in images.shape[2:]
    )
    blurred = rows @ images @ columns
    for axis, kernels in enumerate(others, start=2):
        blurred = (kernels @ blurred.transpose(axis, -2)).transpose(axis, -2)
    return blurred


def _kernels(size: int, sigmas: Tensor) -> Tensor:
    """Symmetric matrices (S, size, size) that blur lines of ``size`` pixels by ``sigmas`` (S, 1)."""
    if size == 1:  # a volume of one slice is an image: nothing is blurred from slice to slice
        return torch.ones(len(sigmas), 1, 1, dtype=torch.float64, device=sigmas.device)
    radius = (TRUNCATE * sigmas + 0.5).floor()
    reach = max(size - 1, int(radius.max()))
    distance = torch.arange(reach + 1, dtype=torch.float64, device=sigmas.device)
    weights = torch.exp(-0.5 * (distance / sigmas.clamp(min=1e-9)).square()) * (distance <= radius)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    side = weights[:, :size]
    return torch.cat([side.flip(1), side[:, 1:]], dim=1).unfold(1, size, 1).flip(1)
