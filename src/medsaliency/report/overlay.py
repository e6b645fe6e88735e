"""Images and maps as small pictures, and lesions as outlines that stay sharp at any size.

A picture of a map is for looking at: it is scaled by percentiles of that map alone. No score is computed from it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2rgb
from skimage.measure import approximate_polygon, find_contours

from medsaliency.report.contents import Contrast
from medsaliency.types import BoolArray, FloatArray

AGAINST, ZERO, FOR = (60.0, 6.0, -60.0), (100.0, 0.0, 0.0), (60.0, 55.0, 40.0)
"""CIELAB (L*, a*, b*): blue and vermilion, equally light, on an axis that red-green color blindness leaves apart.

Both ends are bright, unlike those of matplotlib's own maps, whose dark ends vanish on the black of a radiograph.
"""


def _diverging(shades: int = 257) -> ListedColormap:
    """Straight lines through CIELAB, so that equal steps of a map are equal steps to the eye on either side of zero."""
    position = np.linspace(-1, 1, shades)
    lab = np.stack([np.interp(position, (-1, 0, 1), ends) for ends in zip(AGAINST, ZERO, FOR, strict=True)], axis=-1)
    return ListedColormap(lab2rgb(lab), name="against_and_for")


SEQUENTIAL = colormaps["inferno"]
DIVERGING = _diverging()

PERCENTILE = 99.0
"""The percent of pixels below full color; the rest is clipped, so that one hot pixel does not hide the map."""

IMAGE_SIDE, MAP_SIDE, STEP_SIDE = 256, 128, 96
"""Pixels; larger pictures are reduced to these, as a gallery of a thousand pictures has to stay small."""

Pixels = NDArray[np.uint8]


def is_signed(saliency: FloatArray) -> bool:
    """Tell whether a map (H, W) has negative values, which then argue against the class."""
    return bool(np.any(saliency < 0))


def signed_methods(maps: Sequence[Mapping[str, FloatArray]]) -> frozenset[str]:
    """Return the methods with a negative value in any of ``maps``, so that one method keeps one color map."""
    return frozenset(name for case in maps for name, saliency in case.items() if is_signed(saliency))


def contrast_of(saliency: FloatArray) -> Contrast:
    """What a map, or a whole volume's, of any shape is scaled by; see :func:`scaled`."""
    known = saliency[np.isfinite(saliency)].astype(np.float64)
    return Contrast(_contrast(known, signed=False), _contrast(known, signed=True))


def _contrast(known: NDArray[np.float64], *, signed: bool) -> tuple[float, float]:
    """The lowest value shown of finite ones, and the distance from it to full color; 0 where there is none."""
    if known.size == 0:
        return 0.0, 0.0
    low = 0.0 if signed else float(np.percentile(known, 100 - PERCENTILE))
    spread = np.abs(known) if signed else known - low
    # A map with fewer hot pixels than the percentile leaves out still shows them.
    return low, float(np.percentile(spread, PERCENTILE)) or float(spread.max())


def scaled(saliency: FloatArray, *, signed: bool, contrast: Contrast | None = None) -> FloatArray:
    """Scale a map for display by robust percentiles of its own finite values.

    Args:
        saliency: (H, W), any range; NaN and infinity are drawn as no saliency.
        signed: Keep zero at zero and divide by the 99th percentile of the magnitude, else map the 1st and the 99th
            percentile to 0 and 1.
        contrast: What to scale by instead: that of the volume which the map is a slice of.

    Returns:
        (H, W) in [-1, 1] if signed, else in [0, 1]. A map without any contrast is zero everywhere.

    Raises:
        ValueError: If the map is not two-dimensional.
    """
    values = np.asarray(saliency, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"a map to draw is (H, W), got shape {values.shape}")
    finite = np.isfinite(values)
    if contrast is None:
        low, scale = _contrast(values[finite], signed=signed)
    else:
        low, scale = contrast.signed if signed else contrast.plain
    if scale <= 0:
        return np.zeros(values.shape, dtype=np.float32)
    result = np.clip((np.where(finite, values, low) - low) / scale, -1.0 if signed else 0.0, 1.0)
    return result.astype(np.float32)


def colorize(saliency: FloatArray, *, signed: bool | None = None, contrast: Contrast | None = None) -> Pixels:
    """Color a map (H, W) to RGBA (H, W, 4) uint8, opaque in proportion to its magnitude.

    Where there is no saliency the overlay is fully transparent and shows the image. A signed map takes the diverging
    color map centered at zero, any other the sequential one; ``signed`` None decides by the map itself. ``contrast`` is
    as in :func:`scaled`.
    """
    signed = is_signed(saliency) if signed is None else signed
    shown = scaled(saliency, signed=signed, contrast=contrast)
    position = (shown + 1) / 2 if signed else shown
    colors = np.asarray((DIVERGING if signed else SEQUENTIAL)(position, bytes=True), dtype=np.uint8).copy()
    colors[..., 3] = np.round(255 * np.abs(shown)).astype(np.uint8)
    return colors


def photograph(image: FloatArray) -> Pixels:
    """Return an image (C, H, W) in [0, 1] as (H, W) or (H, W, 3) uint8.

    Three channels are taken as red, green and blue; any other number, a stack of modalities, by its mean.

    Raises:
        ValueError: If the image is not (C, H, W).
    """
    values = np.asarray(image, dtype=np.float32)
    if values.ndim != 3:
        raise ValueError(f"an image to draw is (C, H, W), got shape {values.shape}")
    drawn = np.moveaxis(values, 0, -1) if values.shape[0] == 3 else values.mean(axis=0)
    return np.round(255 * np.clip(np.nan_to_num(drawn), 0, 1)).astype(np.uint8)


def encode(pixels: Pixels, side: int | None = None) -> bytes:
    """Encode an image (H, W) or (H, W, 3), or a colored map (H, W, 4), uint8, as a small WebP.

    ``side`` is the most pixels of the longer side; None takes that of an image or of a map.
    """
    picture = Image.fromarray(pixels)
    overlay = pixels.shape[2:] == (4,)
    side = side or (MAP_SIDE if overlay else IMAGE_SIDE)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    # Noise, of which pixel-wise maps are full, is costly to store; nothing is read from it pixel by pixel. WebP keeps
    # 16 steps of opacity at this quality and 4 at the least, which would draw rings around a smooth map.
    picture.save(buffer, format="WEBP", quality=30 if overlay else 82, alpha_quality=70, method=4)
    return buffer.getvalue()


def data_uri(webp: bytes) -> str:
    """Return WebP bytes as an address that a page holds itself."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


def contours(lesion: BoolArray) -> list[NDArray[np.float64]]:
    """Return the outlines of a mask (H, W), each (P, 2) closed points (x, y) in pixels.

    The top left corner of the image is (0, 0) and the center of its first pixel (0.5, 0.5).
    """
    # Padding closes the outline of a lesion that touches the image's edge.
    padded = np.pad(np.asarray(lesion, dtype=np.float32), 1)
    found: list[NDArray[np.float64]] = find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
    smooth = (approximate_polygon(line, tolerance=0.3) for line in found)  # type: ignore[no-untyped-call]
    return [np.asarray(line[:, ::-1] - 0.5, dtype=np.float64) for line in smooth]


def outline_path(lesion: BoolArray) -> str:
    """Return the outlines of a mask (H, W) as the ``d`` of an SVG path in pixels; empty for an empty mask."""
    pieces = []
    for line in contours(lesion):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line[:-1])
        pieces.append(f"M{points}Z")
    return "".join(pieces)


def legend_gradient(*, signed: bool, stops: int = 17) -> str:
    """Return the color scale of an overlay, as transparent as the overlay, as a CSS gradient from lowest to highest."""
    positions = np.linspace(0, 1, stops)
    opacity = np.abs(2 * positions - 1) if signed else positions
    rgba = (DIVERGING if signed else SEQUENTIAL)(positions, bytes=True)
    colors = (f"rgba({r},{g},{b},{shown:.3g})" for (r, g, b, _), shown in zip(rgba, opacity, strict=True))
    return "linear-gradient(to right," + ",".join(colors) + ")"
