"""How alike two maps of the same size are: SSIM, rank correlation, HOG and the overlap of their highest pixels.

The first three as Adebayo et al. 2018, arXiv:1810.03292, compare maps. Two maps cannot be compared, and the score is
undefined with its reason, where one of them is constant or not finite: it then has no structure, and no order, to be
alike in.

Volumes are compared voxel by voxel and windows of SSIM are cubes; HOG, which is made of planes, takes their slices. A
volume of one slice is an image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from skimage import feature
from skimage.metrics import structural_similarity

from medsaliency.data.images import scale
from medsaliency.evaluation.ranking import chance_of_highest
from medsaliency.types import FloatArray, MedsaliencyError, Score

Similarity = Callable[[FloatArray, FloatArray], Score]
"""Compares two (H, W) maps, or two (D, H, W); 1 for equal ones."""
WINDOW = 11
"""Pixels across the Gaussian window of SSIM."""
CELL, BLOCK = 8, 3
"""Pixels across a cell of HOG, and cells across a block."""


def ssim(a: FloatArray, b: FloatArray) -> Score:
    """Structural similarity, in [-1, 1]: Wang et al. 2004, doi:10.1109/TIP.2003.819861, in their Gaussian window.

    Args:
        a: (H, W), or (D, H, W) with as many slices as the window has pixels, scaled here by its own minimum and maximum
            to [0, 1].
        b: Of the same shape, likewise.

    Raises:
        MedsaliencyError: If the shapes differ.
    """
    a, b = _image_of_one_slice(a), _image_of_one_slice(b)
    if undefined := _undefined(a, b, smallest=WINDOW):
        return undefined
    found = structural_similarity(  # type: ignore[no-untyped-call]
        _unit(a), _unit(b), data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return Score(float(found))


def spearman(a: FloatArray, b: FloatArray) -> Score:
    """Rank correlation of the pixels of two maps, in [-1, 1]; equal pixels share their mean rank.

    Raises:
        MedsaliencyError: If the shapes differ.
    """
    return _undefined(a, b) or Score(float(stats.spearmanr(a.ravel(), b.ravel()).statistic))


def hog(a: FloatArray, b: FloatArray) -> Score:
    """Correlation, in [-1, 1], of two maps' histograms of oriented gradients: doi:10.1109/CVPR.2005.177.

    Nine orientations, cells of 8 x 8 pixels, blocks of 3 x 3 cells. An orientation has no sign: a map and its negative
    are equal. Of volumes the histograms of all slices (H, W) are compared together; how slices follow each other does
    not enter.

    Args:
        a: (H, W) or (D, H, W), scaled here by its own minimum and maximum to [0, 1].
        b: Of the same shape, likewise.

    Raises:
        MedsaliencyError: If the shapes differ.
    """
    a, b = _image_of_one_slice(a), _image_of_one_slice(b)
    if undefined := _undefined(a, b, smallest=CELL * BLOCK, sides=2):
        return undefined
    x, y = (np.concatenate([_histograms(plane) for plane in _planes(_unit(m))]) for m in (a, b))
    if x.min() == x.max() or y.min() == y.max():
        return Score.undefined("a map has no gradient where HOG looks")
    return Score(float(np.corrcoef(x, y)[0, 1]))


def dice(a: FloatArray, b: FloatArray, share: float = 0.1) -> Score:
    """Dice coefficient, in [0, 1], of the k highest pixels of one map and the k highest of the other.

    Both sets have exactly ``k = round(share * H * W)`` pixels (of volumes ``share * D * H * W``), so that this is the
    share of one that is in the other. Where a tie leaves open which pixels they are, it is the expected value of
    choosing in each map at random.

    Args:
        a: (H, W) or (D, H, W).
        b: Of the same shape.
        share: Of the pixels, in (0, 1).

    Raises:
        MedsaliencyError: If the shapes differ or ``share`` is out of its range.
    """
    check_share("dice", share)
    size = round(share * a.size)
    if undefined := _undefined(a, b):
        return undefined
    if not 0 < size < a.size:
        return Score.undefined("the share is no pixel, or all of them")
    return Score(min(float((chance_of_highest(a, size) * chance_of_highest(b, size)).sum() / size), 1.0))


SIMILARITIES: dict[str, Similarity] = {"ssim": ssim, "spearman": spearman, "hog": hog, "dice": dice}


def check_share(name: str, share: float) -> None:
    """Make sure that a share of the pixels is one.

    Raises:
        MedsaliencyError: If it is not in (0, 1).
    """
    if not 0 < share < 1:
        raise MedsaliencyError(f"{name}: expected share in (0, 1), got {share}; give it as a share of the map's pixels")


def _undefined(a: FloatArray, b: FloatArray, smallest: int = 1, sides: int = 3) -> Score | None:
    """Why two maps cannot be compared, if they cannot.

    Args:
        a: One of them.
        b: The other.
        smallest: Least length that will do.
        sides: How many of the last axes must have it.
    """
    if a.ndim not in (2, 3) or a.shape != b.shape:
        raise MedsaliencyError(
            f"similarity: expected two maps (H, W) or (D, H, W) of one size, got {a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Score.undefined("a map is not finite")
    if a.min() == a.max() or b.min() == b.max():
        return Score.undefined("a map is constant")
    if min(a.shape[-sides:]) < smallest:
        return Score.undefined("the maps are too small")
    return None


def _image_of_one_slice(saliency: FloatArray) -> FloatArray:
    return saliency[0] if saliency.ndim == 3 and len(saliency) == 1 else saliency


def _planes(saliency: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slices (D, H, W) of a volume; an image is one."""
    return saliency.reshape(-1, *saliency.shape[-2:])


def _histograms(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = feature.hog(
        plane, orientations=9, pixels_per_cell=(CELL, CELL), cells_per_block=(BLOCK, BLOCK)
    )
    return found


def _unit(saliency: FloatArray) -> NDArray[np.float64]:
    return scale(saliency).astype(np.float64)
