"""Fill an image in from some of its pixels as SciPy's ``griddata`` does, one triangulation for all channels.

On a grid many pixels lie on one circle, so that an image has many Delaunay triangulations, which interpolate a little
differently. Where results must equal those of other software the triangulation has to be the same one: Qhull's, of the
pixels in reading order. What is faster here is the rest: triangles are filled pixel by pixel, where ``griddata``
searches the triangle of every pixel, and all channels share them.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from medsaliency.evaluation.delaunay import fill
from medsaliency.types import BoolArray, FloatArray


def interpolate(image: FloatArray, known: BoolArray) -> FloatArray:
    """Show the known pixels of an image and the four corners, the others linear on Qhull's triangulation of those.

    Args:
        image: (C, H, W) float32, H and W at least 2.
        known: (H, W).

    Returns:
        (C, H, W) float32; known pixels are exact.
    """
    width = known.shape[1]
    known = known.copy()
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    if known.all():
        return image.astype(np.float32)
    points = np.argwhere(known)
    triangles = Delaunay(points).simplices
    flat = points[:, 0] * width + points[:, 1]
    return fill(image, flat[triangles], known.ravel()).reshape(image.shape)
