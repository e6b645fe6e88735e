"""How much information an 8-bit image holds, measured in the three ways of Brima & Atemkeng 2024."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Uint8Image = NDArray[np.uint8]


def shannon_entropy(image: Uint8Image) -> float:
    """Entropy in bits, 0 to 8, of the 256-bin grey histogram of a (C, H, W) image (ITU-R 601 luma for color)."""
    counts = np.bincount(np.asarray(_pillow(image).convert("L")).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def webp_length(image: Uint8Image) -> float:
    """Bytes of a (C, H, W) image as a lossless WebP file (Kapishnikov et al. 2019; Pillow's quality 100)."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, format="webp", lossless=True, quality=100)
    return float(buffer.tell())


def _pillow(image: Uint8Image) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
