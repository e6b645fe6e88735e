"""What a method is, and what several of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor

from medsaliency.model.grids import upsample
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, MedsaliencyError

Sign = Literal["signed", "absolute", "positive"]


class Method(Protocol):
    """Explains a batch: a frozen dataclass of its hyper-parameters, so that its repr is its provenance."""

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Return maps (N, H, W) float32, signed where the method is, never normalized.

        Args:
            probe: N images with one target each.
            rngs: One generator an image, derived from the study's seed, the sample and the method; a method draws
                from nothing else.
        """


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What becomes of the sign of a method's values; the base of every method whose values have one.

    Args:
        sign: "signed" keeps it, "absolute" takes magnitudes (before channels are summed), "positive" sets what is
            below zero to zero (after channels are summed).

    Raises:
        MedsaliencyError: If ``sign`` is none of these.
    """

    sign: Sign = "signed"
    reads_input_gradients: ClassVar[bool] = False
    """Whether it reads ``probe.input_gradients``: run before CAM methods, it gives them their features for nothing."""

    def __post_init__(self) -> None:
        if self.sign not in get_args(Sign):
            signs = ", ".join(get_args(Sign))
            raise MedsaliencyError(f"{self.own_name}: expected sign as one of {signs}, got {self.sign!r}")

    @property
    def own_name(self) -> str:
        """The name of the method's file, which is its name in lists: for its errors."""
        return type(self).__module__.rpartition(".")[2]

    def over_channels(self, attributions: Tensor) -> Tensor:
        """Sum (N, C, H, W) attributions over channels to (N, H, W), under ``sign``."""
        summed = (attributions.abs() if self.sign == "absolute" else attributions).sum(dim=1)
        return summed.clamp(min=0) if self.sign == "positive" else summed

    def of_map(self, maps: Tensor) -> Tensor:
        """Maps (N, H, W), under ``sign``."""
        return self.over_channels(maps[:, None])


class PerPixel(Signed, ABC):
    """The base of methods that give every channel of every pixel a value: what gradients are, and sums along paths."""

    @abstractmethod
    def attributions(self, probe: Probe, rngs: Generators) -> Tensor:
        """Values (N, C, H, W) float32, signed."""

    def __call__(self, probe: Probe, rngs: Generators) -> Tensor:
        """Maps (N, H, W): the values summed over channels, under ``sign``."""
        return self.over_channels(self.attributions(probe, rngs))


def weighted_sum(activations: Tensor, weights: Tensor) -> Tensor:
    """Feature maps (N, K, h, w) summed over K with weights (N, K), to (N, h, w)."""
    return torch.einsum("nk...,nk->n...", activations, weights)


def at_image_size(probe: Probe, cam: Tensor) -> Tensor:
    """A map of the layer's grid (N, h, w) at the image's size (N, H, W)."""
    return upsample(cam[:, None], probe.images.shape[2:])[:, 0]


def groups(probe: Probe, passes: int, own: Sequence[int] | None = None) -> list[list[int]]:
    """Images to take together, so that ``passes`` of each fill micro-batches and memory stays bounded.

    Args:
        probe: Has the images.
        passes: Of each of them.
        own: Which of them; None for all.
    """
    images = list(range(len(probe)) if own is None else own)
    together = -(-probe.together // passes)
    return [images[start : start + together] for start in range(0, len(images), together)]
