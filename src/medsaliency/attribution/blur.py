"""Gaussian blur of many images, each by its own width, as two products with matrices."""

from __future__ import annotations

import torch
from torch import Tensor

TRUNCATE = 4.0
"""Where a kernel ends, in standard deviations; scipy's default."""


def gaussian_blur(images: Tensor, sigma: float | Tensor) -> Tensor:
    """Blur images over height and width, black beyond their edges.

    What ``scipy.ndimage.gaussian_filter(..., mode="constant")`` gives, at a cost that does not grow with the width.

    Args:
        images: (P, C, H, W), floating point; the result has its precision.
        sigma: Standard deviation in pixels, at least 0, which leaves an image as it is: one for all or (P,).
    """
    sigmas = torch.as_tensor(sigma, dtype=torch.float64, device=images.device).reshape(-1, 1)
    rows, columns = (_kernels(size, sigmas).to(images.dtype)[:, None] for size in images.shape[2:])
    return rows @ images @ columns


def _kernels(size: int, sigmas: Tensor) -> Tensor:
    """Symmetric matrices (S, size, size) that blur lines of ``size`` pixels by ``sigmas`` (S, 1)."""
    radius = (TRUNCATE * sigmas + 0.5).floor()
    reach = max(size - 1, int(radius.max()))
    distance = torch.arange(reach + 1, dtype=torch.float64, device=sigmas.device)
    weights = torch.exp(-0.5 * (distance / sigmas.clamp(min=1e-9)).square()) * (distance <= radius)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    side = weights[:, :size]
    return torch.cat([side.flip(1), side[:, 1:]], dim=1).unfold(1, size, 1).flip(1)
