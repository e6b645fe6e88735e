"""Which layer to explain: the last feature maps that the prediction reads, found by tracing a forward pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medsaliency.model.tokens import CONVOLUTIONS, Layout, Layouts, cuts_patches
from medsaliency.types import MedsaliencyError

POOLING = (
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.Dropout3d),
)


@dataclass(frozen=True)
class _Step:
    """A module that finished in the forward pass with feature maps."""

    name: str
    module: nn.Module
    channels: int
    layout: Layout

    @property
    def grid(self) -> tuple[int, ...]:
        return self.layout.grid

    @property
    def plain(self) -> bool:
        """Whether it put out (N, K, h, w) as they are."""
        return self.layout == Layout(self.grid)


def find_target_layer(module: nn.Module, example: Tensor) -> str:
    """Name the module that puts out the last feature maps that the prediction depends on.

    One forward pass is traced, of ``forward_features`` alone where the module has it (timm's do; a VGG's head
    convolves too). From the last convolution that keeps a spatial grid (more than one position), the normalization,
    activation and residual addition that follow on the same grid are part of the stage; pooling is not, nor is a
    module that runs several times. Of the modules that end there the last to finish is named, that is the outermost:
    ``layer4`` for a ResNet, the last ReLU before the pooling for a VGG.

    In a transformer no convolution but the one that cuts the patches keeps a grid. There a backward pass says which
    blocks and normalizations put out patches that the prediction depends on, and the last of them is named. Where only
    the class token is read in the end, that is the normalization before the last attention (``blocks.11.norm1`` of a
    timm ViT with 12 blocks): no patch has a gradient after it. Where patches are averaged, it is the last block, or
    the normalization after it (``norm`` of a Swin transformer).

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.

    Raises:
        MedsaliencyError: If no feature maps on a grid are found, or none that the prediction depends on.
    """
    return next(layer.name for layer in describe_layers(module, example) if layer.chosen)


@dataclass(frozen=True)
class Layer:
    """A layer that CAM methods could read.

    Args:
        name: Dotted.
        kind: Class of the module.
        channels: Feature maps.
        grid: (h, w) of a feature map, or (d, h, w) for volumes.
        chosen: Whether it is the target layer found.
        why: What speaks for it, or against it.
    """

    name: str
    kind: str
    channels: int
    grid: tuple[int, ...]
    chosen: bool
    why: str


def describe_layers(module: nn.Module, example: Tensor) -> list[Layer]:
    """A stage for every grid on which there are convolutions, and inside the last one its convolution, in order.

    Of a transformer a stage for every grid of patches, the layer chosen, and after it the last from which on patches
    no longer count.

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.

    Raises:
        MedsaliencyError: As :func:`find_target_layer`.
    """
    steps, runs = _trace(module, example)
    plain = [step for step in steps if step.plain]
    convolutions = [step for step in plain if isinstance(step.module, CONVOLUTIONS)]
    blocks = [step for step in steps if _is_block(step.module)]
    if convolutions and not all(cuts_patches(step.module) for step in convolutions):
        after = blocks[sum(step in blocks for step in steps[: steps.index(convolutions[-1])]) :]
        if not any(step.layout.prefix is not None for step in after):  # or else a hybrid, which goes on with tokens
            return _of_convolutions(plain) + _several(module, runs)
    if not blocks:
        raise MedsaliencyError(
            f"no convolutional feature map found in {type(module).__name__} for an input of {tuple(example.shape)}, "
            "nor tokens on a grid; name a target_layer, or use methods that need none (gradient, smoothgrad, "
            "integrated_gradients)"
        )
    return _of_blocks(module, example, blocks) + _several(module, runs)


def _of_convolutions(steps: list[_Step]) -> list[Layer]:
    convolutions = [i for i, step in enumerate(steps) if isinstance(step.module, CONVOLUTIONS)]
    last = convolutions[-1]
    of_grid = {steps[i].grid: i for i in convolutions}  # the last convolution on each grid
    found = []
    for grid, i in sorted(of_grid.items(), key=lambda item: item[1]):
        if i != last:
            found.append(_layer(_largest(steps, grid), why=_finer(grid)))
            continue
        end = _stage_end(steps, i)
        if end.module is not steps[i].module:
            why = "the last convolution; normalization, activation or addition on the same grid still follow"
            found.append(_layer(steps[i], why=why))
        found.append(_layer(end, chosen=True, why=_last_stage(grid)))
    return found


def _of_blocks(module: nn.Module, example: Tensor, blocks: list[_Step]) -> list[Layer]:
    """As :func:`describe_layers`, of a transformer's blocks and normalizations."""
    counted = _counted(module, example, blocks)
    blocks = [step for step in blocks if step in counted]
    reached = [counted[step] for step in blocks]
    ends = [i for i, counts in enumerate(reached) if counts and not isinstance(blocks[i].module, nn.Sequential)]
    if not ends:
        raise MedsaliencyError(
            f"{type(module).__name__}: expected an output that depends on the feature maps of some layer, "
            f"found no gradient in any of {len(blocks)}; check that the weights are not zero, or name a target_layer"
        )
    chosen, last = blocks[ends[-1]], blocks[-1]
    after = [i for i, counts in enumerate(reached) if not counts and i > ends[-1]]
    finer = dict.fromkeys(step.grid for step in blocks[: ends[-1]] if step.grid != chosen.grid)
    found = [_layer(_largest(blocks, grid), why=_finer(grid)) for grid in finer]
    why = _last_stage(chosen.grid)
    if after:
        why = "the last patches that the prediction depends on: the attention after it is the last to read them"
    found.append(_layer(chosen, chosen=True, why=why))
    if after:
        why = "after the last attention the prediction reads the class token alone: no patch has a gradient here"
        found.append(_layer(last, why=why))
    return found


def _counted(module: nn.Module, example: Tensor, steps: Sequence[_Step]) -> dict[_Step, bool]:
    """Whether the prediction has a gradient at any position of each step's feature maps.

    Differentiated is a random sum of the logits and of what the linear layer is given that puts them out: its own
    weights are zero in some untrained networks. What is not one thing an image (a table of positions) is left out.
    """
    draw = torch.Generator().manual_seed(0)
    linear: list[tuple[Tensor, Tensor]] = []
    kept: dict[_Step, Tensor] = {}

    def keep_given(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        linear.append((inputs[0], output))

    def keep_put_out(step: _Step, output: Tensor) -> Tensor:
        kept[step] = output
        return output.clone()  # the next module may write into what it is given

    handles = [part.register_forward_hook(keep_given) for part in module.modules() if isinstance(part, nn.Linear)]
    handles += [s.module.register_forward_hook(lambda _m, _i, output, s=s: keep_put_out(s, output)) for s in steps]
    try:
        with torch.enable_grad():
            output = module(torch.cat([example.detach()] * 2).requires_grad_())
            logits: Tensor = getattr(output, "logits", output)
            read = [logits, *(given for given, put_out in linear if put_out is logits)]
            total = torch.stack([_random_sum(values, draw) for values in read]).sum()
            sources = {step: values for step, values in kept.items() if len(values) == 2}
            gradients = torch.autograd.grad(total, list(sources.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    counted = zip(sources, gradients, strict=True)
    return {step: g is not None and bool(step.layout.to_maps(g).any()) for step, g in counted}


def _random_sum(values: Tensor, draw: torch.Generator) -> Tensor:
    return (values * torch.randn(values.shape, generator=draw).to(values)).sum()


def _is_block(module: nn.Module) -> bool:
    """Whether it is a normalization or a module of several parts, with weights: what ends a stage of a transformer."""
    if next(module.parameters(), None) is None:
        return False
    return next(module.children(), None) is not None or "norm" in type(module).__name__.lower()


def _several(module: nn.Module, runs: Counter[str]) -> list[Layer]:
    why = "runs several times in one forward pass, so that its feature maps are not one thing; cannot be read"
    modules = dict(module.named_modules())
    several = [name for name, count in runs.items() if name and count > 1]
    return [Layer(name, type(modules[name]).__name__, 0, (0, 0), False, why) for name in several[:3]]


def _finer(grid: tuple[int, ...]) -> str:
    return f"a finer grid ({' x '.join(map(str, grid))}) of earlier, simpler features"


def _last_stage(grid: tuple[int, ...]) -> str:
    sides = " x ".join(map(str, grid))
    return f"the last stage with a spatial grid ({sides}): the most abstract features with a place"


def _layer(step: _Step, *, chosen: bool = False, why: str) -> Layer:
    return Layer(step.name, type(step.module).__name__, step.channels, step.grid, chosen, why)


def _stage_end(steps: list[_Step], convolution: int) -> _Step:
    """The last module to finish of those that follow a convolution on its grid, pooling left out."""
    grid = steps[convolution].grid
    return [s for s in steps[convolution:] if s.grid == grid and not isinstance(s.module, POOLING)][-1]


def _largest(steps: list[_Step], grid: tuple[int, ...]) -> _Step:
    """The module of most parts on a grid, of equal ones the last: a whole stage, and not the next one's first part."""
    on_grid = [s for s in steps if s.grid == grid and not isinstance(s.module, POOLING)]
    return max(reversed(on_grid), key=lambda s: len(list(s.module.modules())))


def _trace(module: nn.Module, example: Tensor) -> tuple[list[_Step], Counter[str]]:
    """Modules that run once and put out feature maps on a grid, in the order in which they finish; runs of each."""
    steps: list[_Step] = []
    runs: Counter[str] = Counter()
    layouts = Layouts(module)
    handles = []
    for name, child in module.named_modules():

        def record(child: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            runs[name] += 1
            if not name or not isinstance(output, Tensor) or output.ndim not in (3, example.ndim):
                return
            try:
                layout = layouts.of(name, output, tuple(example.shape))
            except MedsaliencyError:
                return  # no feature maps, which is no fault here
            if math.prod(layout.grid) > 1:
                steps.append(_Step(name, child, layout.to_maps(output).shape[1], layout))

        handles.append(child.register_forward_hook(record))
    try:
        with torch.no_grad():
            getattr(module, "forward_features", module)(example)
    finally:
        for handle in handles:
            handle.remove()
    return [step for step in steps if runs[step.name] == 1], runs
