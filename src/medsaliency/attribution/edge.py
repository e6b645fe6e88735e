"""Edge: a control that looks at the image and never at the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True)
class Edge:
    """Sobel gradient magnitude of the mean over channels (Adebayo et al. 2018, arXiv:1810.03292, use edges likewise).

    A method that scores no better than this may show the image's structure and not the model's reasons. Costs no
    model pass.
    """

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), at least 0; nothing is drawn."""
        del rngs
        grey = probe.images.mean(dim=1).cpu().numpy()
        # One image at a time: on a stack, Sobel would smooth across the images too.
        maps = np.stack([_magnitude(image) for image in grey])
        return torch.from_numpy(maps.astype(np.float32)).to(probe.images.device)


def _magnitude(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of the gradient of an image (H, W) or a volume (D, H, W)."""
    lines = image.squeeze()  # along an axis of one pixel nothing changes
    slopes = (ndimage.sobel(lines, axis, mode="nearest") for axis in range(lines.ndim))
    return np.asarray(reduce(np.hypot, slopes, 0 * lines).reshape(image.shape))
