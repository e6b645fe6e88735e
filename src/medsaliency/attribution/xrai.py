"""XRAI: Kapishnikov, Bolukbasi, Viegas & Terry 2019, arXiv:1906.02825, algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsaliency.attribution.method import Signed
from medsaliency.attribution.refined_path import refined_path
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

if TYPE_CHECKING:
    from medsaliency.attribution.region_growing import Lists

Number = TypeVar("Number", np.int64, np.floating)

BASELINES = (0.0, 1.0)
"""Black and white, in display range."""
SCALES = (50, 100, 150, 250, 500, 1200)
SIGMA = 0.8


class Sizes(NamedTuple):
    """What is counted in pixels.

    Args:
        side: Of the grid on which images are segmented, along each axis.
        smallest: Pixels of the smallest segment, on that grid.
        radius: Pixels by which a segment grows on all sides, to take in the edge that bounds it.
        fewest: Pixels that a segment must add to the region.
    """

    side: int
    smallest: int
    radius: int
    fewest: int


SIZES = {2: Sizes(side=224, smallest=150, radius=5, fewest=50), 3: Sizes(side=64, smallest=43, radius=1, fewest=8)}
"""Of images and of volumes, by their axes.

Those of images are the reference implementation's. Those of volumes, for which there is none, are about the same shares
of the side: the smallest segment is as a cube of 3.5 of 64 voxels, where it is as a square of 12 of 224 pixels.
"""


@dataclass(frozen=True, kw_only=True)
class XRAI(Signed):
    """Segments of the image, ranked by their mean integrated gradient from a black and a white baseline.

    Each pixel of the map has the mean attribution of what its segment added to the region when its turn came. A volume
    has segments of voxels in place of pixels. Costs at most ``2 * steps`` forward and backward passes an image, which
    the full and the fast algorithm share; segments and region take about a tenth of a second more, of a volume about
    two seconds.

    Args:
        fast: Rank segments once, by all their pixels, instead of anew after each by what they would still add.
        steps: Most points of the integral from each baseline, closest where the gradient changes most. 48 err about as
            little as the reference implementation's 100.
        area_threshold: The fraction of the image, above 0 and up to 1, beyond which the region stops; the rest has
            its common mean. 1 ranks the whole image.
        sign: "absolute" ranks by the magnitudes of integrated gradients; else see
            :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``steps`` is below 1 or ``area_threshold`` out of range.
    """

    fast: bool = False
    steps: int = 48
    area_threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise MedsaliencyError(f"xrai: expected steps >= 1, got {self.steps}")
        if not 0 < self.area_threshold <= 1:
            raise MedsaliencyError(
                f"xrai: expected area_threshold above 0 and up to 1, got {self.area_threshold}; 1 ranks the whole image"
            )

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W); nothing is drawn."""
        del rngs
        maps = torch.empty_like(probe.images[:, 0])
        attributions = integrated(probe, self.steps)
        if self.sign == "absolute":
            attributions = attributions.abs()
        for i, (image, attribution) in enumerate(zip(probe.images, attributions, strict=True)):
            found = xrai(_to_numpy(image), _to_numpy(attribution), fast=self.fast, area_threshold=self.area_threshold)
            maps[i] = torch.from_numpy(found)
        return self.of_map(maps)


def integrated(probe: Probe, steps: int) -> Tensor:
    """Integrated gradients (N, C, H, W), the mean over :data:`BASELINES`, of at most ``steps`` points each.

    Computed once for the full and the fast algorithm.
    """

    def mean() -> Tensor:
        return torch.stack([refined_path(probe, baseline, steps) for baseline in BASELINES]).mean(dim=0)

    return probe.once((integrated, steps), mean)


def xrai(
    image: NDArray[np.floating],
    attribution: NDArray[np.floating],
    *,
    fast: bool = False,
    area_threshold: float = 1.0,
) -> NDArray[np.float64]:
    """The map (H, W) of an image (H, W, C) of any range, from the attributions (H, W, C) of its values.

    Of a pixel's channels the one of the highest attribution counts. A volume is (D, H, W, C) and has a map (D, H, W);
    one of a single slice is taken for an image.
    """
    from medsaliency.attribution.region_growing import grow  # compiled by numba, which is slow to import

    values = attribution.max(axis=-1)
    if image.ndim == 4 and 1 in image.shape[:-1]:
        image = image.squeeze(axis=image.shape.index(1))
    fewest = SIZES[image.ndim - 1].fewest
    return grow(values, segments(image), fewest=fewest, fast=fast, area=area_threshold)


def segments(image: NDArray[np.floating]) -> Lists:
    """Overlapping segments of an image (H, W, C) or a volume (D, H, W, C) at all scales, from small to large.

    What the segmentation takes for a strong edge depends on the range of values and on the size, so every image is
    brought to [-1, 1] and to the grid of :data:`SIZES` for it. A constant image has one segment at each scale.
    """
    from medsaliency.attribution.felzenszwalb import felzenszwalb  # likewise
    from medsaliency.attribution.region_growing import dilated

    sides, low, high = image.shape[:-1], image.min(), image.max()
    sizes = SIZES[len(sides)]
    if low == high:
        return dilated(np.zeros((len(SCALES), *sides), np.int64), sizes.radius)
    scaled = (image - low) / (high - low) * 2 - 1
    square = (sizes.side,) * len(sides)
    # Channel by channel: as one array, the spline would run over channels as well, for nothing and ten times as long.
    resized = [_resized(scaled[..., channel], square, order=3) for channel in range(scaled.shape[-1])]
    grid = np.stack(resized, axis=-1).clip(-1, 1).astype(np.float64)
    labels = felzenszwalb(grid, SCALES, SIGMA, sizes.smallest)
    return dilated(np.stack([_resized(scale, sides, order=0) for scale in labels]), sizes.radius)


def _resized(array: NDArray[Number], size: tuple[int, ...], order: int) -> NDArray[Number]:
    """An array (H, W) or (D, H, W) at another size, by splines of ``order``; 0 takes the nearest pixel."""
    from skimage.transform import resize  # slow to import

    smooth = order > 0
    found = resize(  # type: ignore[no-untyped-call]
        array, size, order=order, mode="constant", clip=False, preserve_range=True, anti_aliasing=smooth
    )
    return np.asarray(found, dtype=array.dtype)


def _to_numpy(values: Tensor) -> NDArray[np.floating]:
    return values.movedim(0, -1).cpu().numpy()
