"""Picture files (PNG, JPEG, TIFF, ...) to arrays, and arrays to the channels of a model."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from medsaliency.types import BoolArray, FloatArray, MedsaliencyError

MAX_PIXELS = 64_000_000
"""Largest image decoded, in pixels (8,000 x 8,000): a larger one is refused before its data is read."""

DECODED = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
"""Of the kinds that Pillow knows: whatever a file is called, it would hand PostScript to a program that runs it."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

# What Pillow raises on damaged files, as found by changing bytes of good ones; its own checks are not complete.
_UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def read_image(path: Path, *, source: str | None = None) -> FloatArray:
    """Read an 8- or 16-bit PNG, JPEG or TIFF as (C, H, W) float32 in [0, 1], C being 1 or 3.

    Eight-bit values are divided by 255. Deeper or floating-point files have no common white (12 of 16 bits is usual in
    radiography), so they are scaled by their own minimum and maximum; a constant one becomes all zeros. Palettes
    become color, and an alpha channel is dropped.

    Raises:
        MedsaliencyError: If the file is missing, unreadable, truncated, or larger than ``MAX_PIXELS``.
    """
    array = _decode(path, source or str(path))
    scaled: FloatArray = array.astype(np.float32) / np.float32(255) if array.dtype == np.uint8 else scale(array)
    return scaled[None] if scaled.ndim == 2 else np.ascontiguousarray(scaled.transpose(2, 0, 1))


def scale(values: np.ndarray) -> FloatArray:
    """Scale finite values of any shape and type by their own minimum and maximum to float32 in [0, 1].

    Constant values become all zeros.
    """
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    return ((wide - low) / (high - low) if high > low else np.zeros_like(wide)).astype(np.float32)


def read_mask(path: Path, *, source: str | None = None) -> BoolArray:
    """Read a lesion mask as (H, W) bool: every value above zero is lesion (above 127 in a JPEG).

    Raises:
        MedsaliencyError: As :func:`read_image`.
    """
    array = _decode(path, source or str(path))
    # JPEG leaves a rim of small values around every edge; every other format keeps the values that were drawn.
    lowest = 127 if path.suffix.lower() in (".jpg", ".jpeg") else 0
    return np.asarray(array > lowest if array.ndim == 2 else (array > lowest).any(axis=2), dtype=np.bool_)


def _decode(path: Path, name: str) -> np.ndarray:
    """Pixels of a file as (H, W) or (H, W, 3), in the file's own depth."""
    try:
        if not path.is_file():
            raise MedsaliencyError(f"{name}: no such image file; check the path")
        with Image.open(path, formats=DECODED) as image:
            # Pillow's own limit only warns, and silencing a warning is not safe in a pool of threads.
            if image.width * image.height > MAX_PIXELS:
                raise MedsaliencyError(
                    f"{name}: expected at most {MAX_PIXELS:,} pixels, got {image.width} x {image.height}; shrink it"
                )
            # A JPEG's further frames are previews; those of any other format are slices or moments of their own.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                raise MedsaliencyError(f"{name}: expected one image, got a file of {frames}; save each as its own file")
            array = np.asarray(_plain(image))
    except UnidentifiedImageError as error:  # its own message is the path once more
        raise MedsaliencyError(
            f"{name}: expected an image, got another or a damaged file; replace or remove it"
        ) from error
    except _UNREADABLE as error:
        raise MedsaliencyError(f"{name}: cannot be read as an image ({error}); replace or remove it") from error
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise MedsaliencyError(f"{name}: expected a gray or color image, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise MedsaliencyError(f"{name}: expected finite pixel values, got NaN or infinity; repair or remove the image")
    return array


def _plain(image: Image.Image) -> Image.Image:
    """The image as gray or RGB, where it is stored as a palette, with alpha, or in another space of color."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB, Pillow warns where the palette has a transparent entry
    if image.mode in ("RGBA", "RGBX", "CMYK", "YCbCr"):
        return image.convert("RGB")
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("L", "RGB", "F") or image.mode.startswith("I"):
        return image
    raise ValueError(f"expected a gray or color image, got Pillow mode {image.mode}")


def to_channels(pixels: FloatArray, channels: int, name: str) -> FloatArray:
    """Bring (C, H, W) pixels, or (C, D, H, W), to 1 channel (ITU-R 601 luma) or 3 (gray repeated).

    Raises:
        MedsaliencyError: If the image has another number of channels than 1 or 3, or ``channels`` is neither.
    """
    have = pixels.shape[0]
    if have not in (1, 3) or channels not in (1, 3):
        raise MedsaliencyError(f"{name}: expected an image of 1 or 3 channels for a model of 1 or 3, got {have}")
    if have == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    return np.tensordot(np.array([[0.299, 0.587, 0.114]], np.float32), pixels, axes=1).astype(np.float32)
