"""Blurred: a control that tells a map's content from its smoothness."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medsaliency.attribution.method import Method
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


@dataclass(frozen=True, kw_only=True)
class Blurred:
    """Another method's map, blurred by a Gaussian: what a metric gains by smoothness alone.

    It sees the model through that method. Where it scores better than the method itself, the metric rewards being
    smooth, and a smooth method's lead must be read in that light. Costs what the other method costs.

    Args:
        of: Name of the other method.
        parameters: Of the other method.
        sigma: Standard deviation of the blur as a share of the image's side, along each axis of its own.

    Raises:
        MedsaliencyError: If ``sigma`` is not above 0, or if ``of`` or one of ``parameters`` is unknown.
    """

    of: str = "gradient"
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)
    sigma: float = 0.05

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise MedsaliencyError(f"blurred: expected sigma above 0, a share of the image's side, got {self.sigma}")
        self._other()

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W), signed where the other method's are; that method draws from ``rngs``."""
        maps = self._other()(probe, rngs).cpu().numpy()
        spread = (0.0, *(self.sigma * side for side in maps.shape[1:]))
        blurred = ndimage.gaussian_filter(maps, spread, mode="nearest")
        return torch.from_numpy(blurred.astype(np.float32)).to(probe.images.device)

    def _other(self) -> Method:
        from medsaliency.attribution import make_method  # which imports this file

        return make_method(self.of, self.parameters)
