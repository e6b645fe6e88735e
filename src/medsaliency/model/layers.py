"""Which layer to explain: the last convolutional feature maps, found by tracing a forward pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError

POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True)
class _Step:
    """A module that finished in the forward pass with feature maps (N, K, h, w)."""

    name: str
    module: nn.Module
    channels: int
    grid: tuple[int, int]


def find_target_layer(module: nn.Module, example: Tensor) -> str:
    """Name the module that puts out the last convolutional feature maps.

    One forward pass is traced, of ``forward_features`` alone where the module has it (timm's do; a VGG's head
    convolves too). From the last convolution that keeps a spatial grid (more than one position), the normalization,
    activation and residual addition that follow on the same grid are part of the stage; pooling is not, nor is a
    module that runs several times. Of the modules that end there the last to finish is named, that is the outermost:
    ``layer4`` for a ResNet, the last ReLU before the pooling for a VGG.

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.

    Raises:
        MedsaliencyError: If no convolution with a spatial grid runs, or only one that cuts the image into patches (a
            vision transformer's embedding).
    """
    return next(layer.name for layer in describe_layers(module, example) if layer.chosen)


@dataclass(frozen=True)
class Layer:
    """A layer that CAM methods could read.

    Args:
        name: Dotted.
        kind: Class of the module.
        channels: Feature maps.
        grid: (h, w) of a feature map.
        chosen: Whether it is the target layer found.
        why: What speaks for it, or against it.
    """

    name: str
    kind: str
    channels: int
    grid: tuple[int, int]
    chosen: bool
    why: str


def describe_layers(module: nn.Module, example: Tensor) -> list[Layer]:
    """A stage for every grid on which there are convolutions, and inside the last one its convolution, in order.

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.

    Raises:
        MedsaliencyError: As :func:`find_target_layer`.
    """
    steps, runs = _trace(module, example)
    convolutions = [i for i, step in enumerate(steps) if isinstance(step.module, nn.Conv2d)]
    if all(_cuts_patches(steps[i].module) for i in convolutions):
        raise MedsaliencyError(
            f"no convolutional feature map found in {type(module).__name__} for an input of {tuple(example.shape)}; "
            "name a target_layer, or use methods that need none (gradient, smoothgrad, integrated_gradients)"
        )
    last = convolutions[-1]
    of_grid = {steps[i].grid: i for i in convolutions}  # the last convolution on each grid
    found = []
    for grid, i in sorted(of_grid.items(), key=lambda item: item[1]):
        if i != last:
            why = f"a finer grid ({grid[0]} x {grid[1]}) of earlier, simpler features"
            found.append(_layer(_largest(steps, grid), why=why))
            continue
        end = _stage_end(steps, i)
        if end.module is not steps[i].module:
            why = "the last convolution; normalization, activation or addition on the same grid still follow"
            found.append(_layer(steps[i], why=why))
        why = f"the last stage with a spatial grid ({grid[0]} x {grid[1]}): the most abstract features with a place"
        found.append(_layer(end, chosen=True, why=why))
    several = [name for name, count in runs.items() if name and count > 1]
    if several:
        why = "runs several times in one forward pass, so that its feature maps are not one thing; cannot be read"
        modules = dict(module.named_modules())
        found += [Layer(name, type(modules[name]).__name__, 0, (0, 0), False, why) for name in several[:3]]
    return found


def _layer(step: _Step, *, chosen: bool = False, why: str) -> Layer:
    return Layer(step.name, type(step.module).__name__, step.channels, step.grid, chosen, why)


def _stage_end(steps: list[_Step], convolution: int) -> _Step:
    """The last module to finish of those that follow a convolution on its grid, pooling left out."""
    grid = steps[convolution].grid
    return [s for s in steps[convolution:] if s.grid == grid and not isinstance(s.module, POOLING)][-1]


def _largest(steps: list[_Step], grid: tuple[int, int]) -> _Step:
    """The module of most parts on a grid, of equal ones the last: a whole stage, and not the next one's first part."""
    on_grid = [s for s in steps if s.grid == grid and not isinstance(s.module, POOLING)]
    return max(reversed(on_grid), key=lambda s: len(list(s.module.modules())))


def _cuts_patches(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.stride == module.kernel_size != (1, 1)


def _trace(module: nn.Module, example: Tensor) -> tuple[list[_Step], Counter[str]]:
    """Modules that run once and put out feature maps on a grid, in the order in which they finish; runs of each."""
    steps: list[_Step] = []
    runs: Counter[str] = Counter()
    handles = []
    for name, child in module.named_modules():

        def record(child: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            runs[name] += 1
            if name and isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                steps.append(_Step(name, child, output.shape[1], (output.shape[2], output.shape[3])))

        handles.append(child.register_forward_hook(record))
    try:
        with torch.no_grad():
            getattr(module, "forward_features", module)(example)
    finally:
        for handle in handles:
            handle.remove()
    return [step for step in steps if runs[step.name] == 1], runs
