"""A copy of a network that does the same with less work: batch normalizations folded into the convolutions before them.

In eval mode a batch normalization multiplies and shifts every feature map by constants, which the convolution can do
with its own weights (Jacob et al. 2018, arXiv:1712.05877, section 3.2).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
NORMALIZATIONS = (nn.BatchNorm2d, nn.BatchNorm3d)
CLOSE = 1e-3
"""Largest change of a logit, relative to the largest logit, that rounding may explain."""


@dataclass(frozen=True)
class Plan:
    """What can be changed in a copy of a network without changing what it computes, by names of layers.

    Args:
        folds: Convolutions, each with the batch normalization that alone takes what it puts out.
        head: The linear layer that puts out the logits, if one does.
    """

    folds: tuple[tuple[str, str], ...] = ()
    head: str | None = None


NOTHING = Plan()


def plan(module: nn.Module, example: Tensor) -> Plan:
    """Trace one forward pass for what can be folded, and try it.

    Layers that run several times, that carry hooks, or whose class is more than a convolution or a batch normalization
    are left alone. The trial is on a copy with other weights, drawn at random: an untrained normalization changes
    nothing, so that with its own weights a network could hide what folding does to it. Where the logits then differ by
    more than rounding (a feature map that is used before its normalization, say), or where the changed copy does not
    run, nothing is changed.

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.
    """
    with torch.no_grad():
        found = _trace(module, example)
        try:
            other = _with_other_weights(module)
            several = torch.cat([example, -0.5 * example.flip(-1)])
            logits, changed = other(several), apply(other, found)(several)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - it cannot be copied, or its own code bears no other weights or layers
            return NOTHING
    same = torch.allclose(changed, logits, rtol=0, atol=CLOSE * float(logits.abs().max()))
    return found if same else NOTHING


def possible(module: nn.Module) -> bool:
    """Whether there is anything that a plan could change, so that a trace is worth its passes."""
    return any(type(layer) is nn.Linear or _is_normalization(layer) for layer in module.modules())


def apply(module: nn.Module, found: Plan) -> nn.Module:
    """A copy of ``module`` in eval mode, its weights those of now, changed by a plan; no weight asks for gradients.

    Layers that were removed, replaced or got hooks since the plan was made are left alone.

    Raises:
        RuntimeError: If the module cannot be copied.
    """
    copy = deepcopy(module).eval().requires_grad_(False)
    layers = {name: layer for name, layer in copy.named_modules() if _plain(layer)}
    for convolution, normalization in found.folds:
        before, after = layers.get(convolution), layers.get(normalization)
        if isinstance(before, CONVOLUTIONS) and isinstance(after, NORMALIZATIONS):
            _replace(copy, convolution, fuse_conv_bn_eval(before, after).requires_grad_(False))
            _replace(copy, normalization, _rest(after))
    if found.head is not None and found.head in layers:
        _replace(copy, found.head, FullPrecision(layers[found.head]))
    return copy


class FullPrecision(nn.Module):
    """A layer that computes in float32 whatever the precision around it.

    The last layer costs nothing, and rounding a logit to bfloat16 loses more than all the layers before it do.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        """What the layer puts out for features of any precision."""
        with torch.autocast(features.device.type, enabled=False):
            found: Tensor = self.layer(features.float())
        return found


def _trace(module: nn.Module, example: Tensor) -> Plan:
    """Convolutions with the normalization of what they put out, and the layer of the logits."""
    runs: dict[str, int] = {}
    # Kept, so that no other tensor gets the place of one of them in memory; with how often it was written to, since a
    # layer that works in place puts out the very tensor that it was given.
    put_out: dict[str, tuple[Tensor, int]] = {}
    pairs: list[tuple[str, str]] = []
    handles = []
    for name, layer in module.named_modules():
        if not name or not _plain(layer):
            continue

        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(layer, NORMALIZATIONS) and inputs:
                given = (inputs[0], inputs[0]._version)
                pairs.extend((before, name) for before, kept in put_out.items() if _same(kept, given))
            elif isinstance(output, Tensor):
                put_out[name] = output, output._version

        handles.append(layer.register_forward_hook(record))
    try:
        logits: Tensor = module(example)
    finally:
        for handle in handles:
            handle.remove()
    folds = tuple(pair for pair in pairs if all(runs[name] == 1 for name in pair))
    head = [name for name, kept in put_out.items() if _same(kept, (logits, logits._version)) and runs[name] == 1]
    return Plan(folds, head[0] if head and isinstance(module.get_submodule(head[0]), nn.Linear) else None)


def _same(one: tuple[Tensor, int], other: tuple[Tensor, int]) -> bool:
    return one[0] is other[0] and one[1] == other[1]


def _plain(layer: nn.Module) -> bool:
    """Whether it is nothing but a linear layer, a convolution or a batch normalization."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return (type(layer) in (nn.Linear, *CONVOLUTIONS) or _is_normalization(layer)) and not any(hooks)


def _is_normalization(layer: nn.Module) -> bool:
    from timm.layers.norm_act import BatchNormAct2d  # slow to import

    return type(layer) in (*NORMALIZATIONS, BatchNormAct2d) and layer.running_mean is not None


def _with_other_weights(module: nn.Module) -> nn.Module:
    """A copy whose normalizations and linear layers have random weights of a usual size."""
    copy = deepcopy(module)
    draw = torch.Generator().manual_seed(0)
    for layer in copy.modules():
        drawn: dict[str, tuple[float, float]] = {}
        if _is_normalization(layer):
            drawn = {"running_mean": (0.0, 0.5), "running_var": (1.0, 0.2), "weight": (1.0, 0.2), "bias": (0.0, 0.5)}
        elif type(layer) is nn.Linear:
            drawn = {"weight": (0.0, float(layer.in_features) ** -0.5)}
        for name, (mean, spread) in drawn.items():
            values = getattr(layer, name)
            if values is not None:  # a normalization without weights of its own
                random = torch.randn(values.shape, generator=draw).clamp(-3, 3)
                values.data.copy_(mean + spread * random)
    return copy


def _rest(normalization: nn.Module) -> nn.Module:
    """What a layer does after it has normalized: timm's brings its activation along."""
    if type(normalization) in NORMALIZATIONS:
        return nn.Identity()
    return nn.Sequential(normalization.get_submodule("drop"), normalization.get_submodule("act"))


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)
