"""Noisy copies of images, and a gradient method's values on them: what SmoothGrad and its kin share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.method import PerPixel
from medsaliency.model.grids import aligned
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError


def noisy_copies(
    probe: Probe, rngs: Generators, samples: int | Sequence[int], noise: float, *, antithetic: bool = False
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """Noisy copies of all images, in chunks of a micro-batch.

    An image's noise comes from its own generator, copy after copy, so that chunks do not change it.

    Args:
        probe: N images.
        rngs: One generator an image.
        samples: Copies of each image: one number for all, or N.
        noise: Standard deviation as a share of the image's range (its maximum less its minimum).
        antithetic: Give every second copy the noise of the one before with its sign turned.

    Yields:
        For P copies the image of each, its number among that image's copies, and the copies (P, C, H, W).
    """
    values = probe.images.flatten(1)
    spread = aligned(noise * (values.amax(dim=1) - values.amin(dim=1)), probe.images)
    # Said here and not by zip: a chunk would meet a generator too few only after many passes.
    counts = [samples] * len(probe) if isinstance(samples, int) else samples
    wanted = [(i, number) for i, (count, _) in enumerate(zip(counts, rngs, strict=True)) for number in range(count)]
    size = probe.together
    last = np.empty(0, np.float32)
    for start in range(0, len(wanted), size):
        chunk = wanted[start : start + size]
        drawn = []
        for i, number in chunk:
            turned = antithetic and number % 2 == 1
            last = -last if turned else rngs[i].standard_normal(probe.images.shape[1:], dtype=np.float32)
            drawn.append(last)
        own = [i for i, _ in chunk]
        which = torch.tensor(own, device=probe.images.device)
        copies = torch.from_numpy(np.stack(drawn)).to(probe.images.device).mul_(spread[which])
        yield own, [number for _, number in chunk], copies.add_(probe.images[which])


@dataclass(frozen=True, kw_only=True)
class OverNoise(PerPixel):
    """A statistic of a gradient method's values over noisy copies of the image; the base of SmoothGrad and its kin.

    Args:
        samples: Noisy copies; 25 in Brima & Atemkeng 2024.
        noise: Standard deviation of the noise as a share of the image's range (its maximum less its minimum).
        antithetic: Take the noise in pairs of opposite sign: the same mean, with less variance where the gradient's
            response to noise is partly odd.
        of: Name of the method that is run on the copies: one that gives every pixel a value.
        parameters: Of that method.
        sign: Of the statistic; see :class:`~medsaliency.attribution.method.Signed`.

    Raises:
        MedsaliencyError: If ``samples`` is too small, ``noise`` negative, or ``of`` no such method.
    """

    samples: int = 25
    noise: float = 0.15
    antithetic: bool = True
    of: str = "gradient"
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.noise < 0:
            raise MedsaliencyError(f"{self.own_name}: expected samples >= 1 and noise >= 0, got {self}")
        _base(self.of, self.parameters)

    def moments(self, probe: Probe, rngs: Generators, *powers: int) -> list[Tensor]:
        """Means (N, C, H, W) over the copies of the values to each of ``powers``."""
        base = _base(self.of, self.parameters)
        totals = [torch.zeros_like(probe.images) for _ in powers]
        for own, _, copies in noisy_copies(probe, rngs, self.samples, self.noise, antithetic=self.antithetic):
            if isinstance(base, Gradient):
                values = probe.gradients(copies, own)[1]
            else:
                values = base.attributions(probe.others(copies, own), [rngs[i].spawn(1)[0] for i in own])
            which = torch.tensor(own, device=values.device)
            for total, power in zip(totals, powers, strict=True):
                total.index_add_(0, which, values if power == 1 else values**power)
        return [total / self.samples for total in totals]


def _base(name: str, parameters: Mapping[str, Any]) -> PerPixel:
    from medsaliency.attribution import make_method  # it imports this file

    method = make_method(name, parameters)
    if not isinstance(method, PerPixel):
        raise MedsaliencyError(f"of: expected a method that gives every pixel a value (gradient, say), got {name!r}")
    return method
