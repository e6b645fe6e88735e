"""Images of which some pixels are shown and the others stand as a baseline has them, and what a model says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from medsaliency.evaluation.ranking import counts, places, rank
from medsaliency.model.probe import Probe
from medsaliency.types import Generators

AT_ONCE = 2**25
"""Numbers of changed images held at once."""


def best_pixels(maps: Tensor, rngs: Generators, fractions: Sequence[float]) -> Tensor:
    """Masks of exactly the k best pixels of each map, for each share; ties in a random order.

    Args:
        maps: (N, H, W).
        rngs: One generator an image.
        fractions: T shares of the pixels, in [0, 1].

    Returns:
        (N, T, H, W) bool, True on the best ``round(fraction * H * W)`` pixels.
    """
    shape = maps.shape[1:]
    many = counts(fractions, shape.numel())
    found = np.stack([places(rank(m, rng)) for m, rng in zip(maps.cpu().numpy(), rngs, strict=True)])
    return torch.from_numpy(found[:, None] < many[:, None]).reshape(len(maps), len(many), *shape)


def mixed_logits(probe: Probe, i: int, base: Tensor, masks: Tensor) -> Tensor:
    """What the model says as masks show image ``i`` on a base, and as they put the base into the image.

    Args:
        probe: Gives the image and the model.
        i: The image's number.
        base: (C, H, W), what stands where the image does not.
        masks: (P, H, W) bool.

    Returns:
        (2, P, K) logits: of the image where a mask is True, and of the base there.
    """
    image, flat = probe.images[i], masks[:, None].to(probe.images.device)
    parts = []
    for part in flat.split(max(1, AT_ONCE // (2 * image.numel()))):
        shown = torch.cat([torch.where(part, image, base), torch.where(part, base, image)])
        parts.append(probe.logits_of(shown).unflatten(0, (2, -1)))
    return torch.cat(parts, dim=1)


def class_probabilities(
    probe: Probe, show: Callable[[int], Tensor], steps: int, *, at_once: int | None = None
) -> Tensor:
    """Probabilities (N, T, K) of T images made of each of a probe's N.

    Args:
        probe: Gives the model.
        show: From an image's number to its T images (T, C, H, W), made when they are needed, so that few are held.
        steps: T.
        at_once: Images in memory together; None takes some hundred, fewer where they are large.
    """
    group = max(1, (at_once or AT_ONCE // probe.images[0].numel()) // max(steps, 1))
    parts = []
    for start in range(0, len(probe), group):
        shown = torch.cat([show(i) for i in range(start, min(start + group, len(probe)))])
        parts.append(probe.probabilities_of(shown))
    return torch.cat(parts).reshape(len(probe), steps, -1)
