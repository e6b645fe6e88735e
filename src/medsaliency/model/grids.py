"""Images, volumes and feature maps alike: what depends on how many axes of places they have."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""What torch calls linear interpolation over so many axes."""


def places(values: Tensor) -> tuple[int, ...]:
    """The axes of places: (2, 3) of images (N, C, H, W) or feature maps (N, K, h, w), (2, 3, 4) of volumes."""
    return tuple(range(2, values.ndim))


def pixels(values: Tensor) -> int:
    """Places of one image (N, C, H, W), H times W; of a volume D times H times W."""
    return math.prod(values.shape[2:])


def aligned(values: Tensor, images: Tensor) -> Tensor:
    """Values (N,) or (N, K) as (N, 1, 1, 1) or (N, K, 1, 1), or with one axis more, to multiply images or volumes."""
    return values.reshape(*values.shape, *(1,) * (images.ndim - values.ndim))


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bring maps (N, K, h, w) to another size (H, W), or volumes to (D, H, W), linearly between the centers of cells.

    Args:
        maps: (N, K, h, w) or (N, K, d, h, w).
        size: As many sides as they have axes of places.
    """
    return F.interpolate(maps, size=tuple(size), mode=LINEAR[len(size)], align_corners=False)
