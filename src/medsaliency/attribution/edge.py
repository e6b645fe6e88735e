"""Edge: a control that looks at the image and never at the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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
        maps = np.stack([np.hypot(*(ndimage.sobel(image, axis, mode="nearest") for axis in (0, 1))) for image in grey])
        return torch.from_numpy(maps.astype(np.float32)).to(probe.images.device)
