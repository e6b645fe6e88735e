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
    steps = _trace(module, example)
    convolutions = [i for i, step in enumerate(steps) if isinstance(step.module, nn.Conv2d)]
    if all(_cuts_patches(steps[i].module) for i in convolutions):
        raise MedsaliencyError(
            f"no convolutional feature map found in {type(module).__name__} for an input of {tuple(example.shape)}; "
            "name a target_layer, or use methods that need none (gradient, smoothgrad, integrated_gradients)"
        )
    last = convolutions[-1]
    grid = steps[last].grid
    stage = [step for step in steps[last:] if step.grid == grid and not isinstance(step.module, POOLING)]
    return stage[-1].name


def _cuts_patches(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.stride == module.kernel_size != (1, 1)


def _trace(module: nn.Module, example: Tensor) -> list[_Step]:
    """Modules in the order in which they finish, those only that run once and put out feature maps on a grid."""
    steps: list[_Step] = []
    runs: Counter[str] = Counter()
    handles = []
    for name, child in module.named_modules():

        def record(child: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            runs[name] += 1
            if name and isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                steps.append(_Step(name, child, (output.shape[2], output.shape[3])))

        handles.append(child.register_forward_hook(record))
    try:
        with torch.no_grad():
            getattr(module, "forward_features", module)(example)
    finally:
        for handle in handles:
            handle.remove()
    return [step for step in steps if runs[step.name] == 1]
