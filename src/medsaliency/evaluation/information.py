"""How much information an 8-bit image holds, measured in the ways of Brima & Atemkeng 2024."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Uint8Image = NDArray[np.uint8]


def shannon_entropy(image: Uint8Image) -> float:
    """Entropy in bits, 0 to 8, of the 256-bin gray histogram of a (C, H, W) image, or of all of a volume (C, D, H, W).

    Three channels are color (ITU-R 601 luma); any other number has one histogram of all its values.
    """
    flat = image.reshape(len(image), -1, image.shape[-1])
    gray = np.asarray(_pillow(flat).convert("L")) if len(image) == 3 else flat
    counts = np.bincount(gray.ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def webp_length(image: Uint8Image) -> float:
    """Bytes of a (C, H, W) image as a lossless WebP file (Kapishnikov et al. 2019; Pillow's quality 100).

    Three channels are color; any other number stand below each other as one gray image. A volume (C, D, H, W) has a
    file a slice: what neighboring slices have in common is counted in each.
    """
    if image.ndim == 4:
        return sum(webp_length(image[:, i]) for i in range(image.shape[1]))
    buffer = io.BytesIO()
    _pillow(image).save(buffer, format="webp", lossless=True, quality=100)
    return float(buffer.tell())


def eight_bit(images: NDArray[np.float32]) -> Uint8Image:
    """Images in display range [0, 1] in whole steps of 1/255."""
    return np.round(images * 255).astype(np.uint8)


def amounts(images: Uint8Image) -> NDArray[np.float64]:
    """Entropy and WebP length, (2, T), of images (T, C, H, W), or volumes."""
    return np.array([[shannon_entropy(image), webp_length(image)] for image in images]).T


def _pillow(image: Uint8Image) -> Image.Image:
    if len(image) == 3:
        return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return Image.fromarray(image.reshape(-1, image.shape[2]))
