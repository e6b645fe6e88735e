"""Where the feature maps are in what a layer puts out: on a grid, with channels last, or flattened to tokens.

Convolutional networks put out feature maps (N, K, h, w). Transformers put out tokens (N, T, K), class and register
tokens in front, or (N, h, w, K). Methods read (N, K, h, w) of all of them, and what they put in a layer's place goes
back the same way. For volumes the grid has three sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAST_AXIS = (nn.LayerNorm, nn.RMSNorm, nn.Linear)
_PER_CHANNEL = (*CONVOLUTIONS, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm2d, nn.InstanceNorm3d)
_FRONT = frozenset({"cls_token", "class_token", "dist_token", "distillation_token", "reg_token", "register_tokens"})
"""Names of the parameters that Hugging Face's, torchvision's and MONAI's transformers put in front of the patches."""


@dataclass(frozen=True)
class Layout:
    """How a layer's output holds its feature maps.

    Args:
        grid: (h, w), or (d, h, w) for volumes.
        channels_last: (N, h, w, K) instead of (N, K, h, w).
        prefix: Tokens in front of the patches of (N, T, K); None where the grid is not flattened.
    """

    grid: tuple[int, ...]
    channels_last: bool = False
    prefix: int | None = None

    def to_maps(self, output: Tensor) -> Tensor:
        """Feature maps (N, K, h, w) of what the layer put out, without a copy."""
        if self.prefix is not None:
            patches: Tensor = output[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)
            return patches
        return output.movedim(-1, 1) if self.channels_last else output

    def from_maps(self, maps: Tensor, output: Tensor) -> Tensor:
        """What the layer would have put out, had its feature maps been ``maps`` (P, K, h, w).

        Args:
            maps: P is N, or any number where N is 1.
            output: What it did put out: where there are tokens in front of the patches, they stay.
        """
        if self.prefix is not None:
            front = output[:, : self.prefix].to(maps.dtype).expand(len(maps), -1, -1)
            return torch.cat([front, maps.flatten(2).transpose(1, 2)], dim=1)
        return maps.movedim(1, -1) if self.channels_last else maps


class Layouts:
    """Finds the feature maps in what the layers of a network put out.

    An output of the image's number of axes is (N, K, h, w), unless the layer works along the last axis (a linear layer,
    a layer normalization, or a block with one of that width, or one of a network of timm's that says NHWC) and the
    others fit the image's proportions. One of three axes is tokens: the grid is that of the convolution that cuts the
    patches, or a half, a quarter, ... of it, or one that the network states, or the one of so many patches with the
    image's very proportions. The tokens in front are as many as the network states (timm's ``num_prefix_tokens``, or
    its class, distillation and register tokens), or none, or one.

    Args:
        module: The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def of(self, layer: str, output: object, image: Sequence[int] | None) -> Layout:
        """How the output of a layer holds its feature maps.

        Args:
            layer: Dotted name.
            output: What it put out.
            image: (N, C, H, W), the shape of what the network was given; None where unknown.

        Raises:
            MedsaliencyError: If there are no feature maps, or it cannot be told where.
        """
        axes = 4 if image is None else len(image)
        if isinstance(output, Tensor) and output.ndim == axes:
            return self._on_grid(layer, tuple(output.shape), image)
        if isinstance(output, Tensor) and output.ndim == 3:
            return self._flattened(layer, tuple(output.shape), image)
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise MedsaliencyError(f"layer {layer!r}: expected feature maps {_letters(axes)}, got {got}; choose another")

    def of_tokens(self, layer: str, tokens: int, image: Sequence[int] | None) -> Layout | None:
        """How so many tokens are the patches of an image; None where it cannot be told.

        Args:
            layer: Dotted name of the layer that the tokens are of.
            tokens: T.
            image: As in :meth:`of`.
        """
        stated = self.prefix(layer)
        fronts = (0, 1) if stated is None else tuple(dict.fromkeys((stated, 0)))
        sides = None if image is None else tuple(image[2:])
        for front in fronts:
            for grid in self._certain_grids(sides):
                if math.prod(grid) == tokens - front:
                    return Layout(grid, prefix=front)
        if sides is None:
            return None
        found = [Layout(g, prefix=front) for front in fronts if (g := _proportional(tokens - front, sides)) is not None]
        return found[0] if len(found) == 1 else None

    def prefix(self, layer: str = "") -> int | None:
        """Tokens in front of the patches as stated by the part of the network that is nearest around ``layer``."""
        for name in _around(layer):
            stated = getattr(self._parts[name], "num_prefix_tokens", None)
            if isinstance(stated, int):
                return stated
            named = [count for owner, count in self._fronts.items() if not name or f"{owner}.".startswith(f"{name}.")]
            if named:
                return sum(named)
        return None

    @cached_property
    def _parts(self) -> dict[str, nn.Module]:
        return dict(self.module.named_modules())

    @cached_property
    def _fronts(self) -> dict[str, int]:
        """Tokens that each part of the network holds as parameters, to be put in front of patches."""
        found: dict[str, int] = {}
        for owner, part in self._parts.items():
            for name, value in part.named_parameters(recurse=False):
                if name in _FRONT and value.ndim == 3:
                    found[owner] = found.get(owner, 0) + value.shape[1]
        return found

    @cached_property
    def _cutter(self) -> nn.Module | None:
        """The convolution that cuts the image into patches; those that follow it merge patches."""
        return next((part for part in self._parts.values() if cuts_patches(part)), None)

    @cached_property
    def _stated_grids(self) -> list[tuple[int, ...]]:
        stated = [getattr(part, "grid_size", None) for part in self._parts.values()]
        found = [s for s in stated if isinstance(s, (tuple, list)) and all(isinstance(side, int) for side in s)]
        return [tuple(grid) for grid in found]

    def _certain_grids(self, sides: tuple[int, ...] | None) -> list[tuple[int, ...]]:
        grids = [grid for grid in self._stated_grids if sides is None or len(grid) == len(sides)]
        if sides is None or not isinstance(self._cutter, CONVOLUTIONS) or len(self._cutter.kernel_size) != len(sides):
            return grids
        cut = tuple(side // int(kernel) for side, kernel in zip(sides, self._cutter.kernel_size, strict=True))
        merged = [tuple(-(-cells // 2**step) for cells in cut) for step in range(max(cut, default=1).bit_length())]
        return [grid for grid in (*merged, *grids) if math.prod(grid) > 1]

    def _on_grid(self, name: str, shape: tuple[int, ...], image: Sequence[int] | None) -> Layout:
        layer = self._parts[name]
        first, last = Layout(shape[2:]), Layout(shape[1:-1], channels_last=True)
        along_last = _works_along_last_axis(layer, shape[-1])
        if image is None or isinstance(layer, _PER_CHANNEL):
            return last if along_last else first
        if along_last and fits(last.grid, image[2:]):
            return last
        states = any(_states_channels_last(self._parts[part]) for part in _around(name))
        works = any(_works_along_last_axis(part, shape[-1]) for part in layer.modules())
        if not along_last:
            if not ((states or works) and fits(last.grid, image[2:])):
                return first
            if (states and works) or not fits(first.grid, image[2:]):
                return last
        if any(isinstance(part, CONVOLUTIONS) and part.out_channels == shape[1] for part in layer.modules()):
            return first
        raise MedsaliencyError(
            f"layer {name!r}: expected feature maps {_letters(len(shape))} of an image of "
            f"{' x '.join(map(str, image[2:]))} pixels, got {shape}, of which it cannot be told whether channels come "
            "first or last; choose another"
        )

    def _flattened(self, name: str, shape: tuple[int, ...], image: Sequence[int] | None) -> Layout:
        if image is not None and shape[0] != image[0]:
            raise MedsaliencyError(
                f"layer {name!r}: expected tokens (N, T, K) of {image[0]} image(s), got {shape}, as for windows of an "
                "image; choose the block around it"
            )
        found = self.of_tokens(name, shape[1], image)
        if found is None:
            of = "" if image is None else f" of {' x '.join(map(str, image[2:]))} pixels"
            raise MedsaliencyError(
                f"layer {name!r}: expected tokens (N, T, K) that are the patches of an image{of}, after class tokens, "
                f"got {shape}, of which it cannot be told on what grid {shape[1]} tokens lie; choose another"
            )
        return found


def may_be_tokens(module: nn.Module) -> bool:
    """Whether layers of a network can put out something else than (N, K, h, w): if not, none needs to run to tell."""
    layers = list(module.modules())
    if any(isinstance(layer, (nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention)) for layer in layers):
        return True
    if any("attention" in type(layer).__name__.lower() for layer in layers):
        return True
    return not any(isinstance(layer, CONVOLUTIONS) and not cuts_patches(layer) for layer in layers)


def cuts_patches(layer: nn.Module) -> bool:
    """Whether it is a convolution of windows that do not overlap, as the first layer of transformers is."""
    if not isinstance(layer, CONVOLUTIONS):
        return False
    return layer.stride == layer.kernel_size and any(side > 1 for side in layer.kernel_size)


def _works_along_last_axis(layer: nn.Module, width: int) -> bool:
    if not isinstance(layer, _LAST_AXIS) or type(layer).__name__.endswith(("2d", "3d")):
        return False  # LayerNorm2d, of timm and torchvision, works along the axis of channels
    return (layer.out_features if isinstance(layer, nn.Linear) else layer.normalized_shape[-1]) == width


def _states_channels_last(part: nn.Module) -> bool:
    stated = getattr(part, "output_fmt", None)
    return str(getattr(stated, "value", stated)).upper() == "NHWC"


def _around(name: str) -> Iterator[str]:
    """The names of a layer and of the modules that hold it, from the inside to the network itself."""
    parts = name.split(".") if name else []
    for length in range(len(parts), -1, -1):
        yield ".".join(parts[:length])


def _proportional(patches: int, sides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The grid of so many patches, more than one, with the image's very proportions; None where there is none."""
    least = tuple(side // math.gcd(*sides) for side in sides)
    for times in range(1, math.gcd(*sides) + 1):
        if math.prod(least) * times ** len(sides) == patches > 1:
            return tuple(times * cells for cells in least)
    return None


def fits(grid: tuple[int, ...], sides: Sequence[int]) -> bool:
    """Whether one factor, give or take rounding, leads from the image's sides to the grid."""
    least = max(side / (cells + 1) for side, cells in zip(sides, grid, strict=True))
    most = min(side / (cells - 1) if cells > 1 else math.inf for side, cells in zip(sides, grid, strict=True))
    return least < most and all(cells <= side for side, cells in zip(sides, grid, strict=True))


def _letters(axes: int) -> str:
    return f"(N, K, {', '.join('dhw'[5 - axes :])})"
