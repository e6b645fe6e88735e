"""Random: a control that knows nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import Generators


@dataclass(frozen=True)
class RandomMap:
    """Independent uniform values: what any explanation must beat. Costs no model pass."""

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W) in [0, 1), each from its image's generator."""
        size = tuple(probe.images.shape[2:])
        maps = np.stack([rng.random(size, dtype=np.float32) for _, rng in zip(probe.images, rngs, strict=True)])
        return torch.from_numpy(maps).to(probe.images.device)
