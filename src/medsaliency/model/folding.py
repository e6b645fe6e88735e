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

CLOSE = 1e-4
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
    are left alone. Where the logits of the example then differ by more than rounding (a feature map that is used before
    its normalization, say), or where the module cannot be copied, nothing is changed.

    Args:
        module: In eval mode.
        example: (1, C, H, W), preprocessed.
    """
    with torch.no_grad():
        folds, head, logits = _trace(module, example)
        try:
            changed = apply(module, Plan(folds, head))(example)
        except (RuntimeError, TypeError, AttributeError):  # it cannot be copied, or its code knows its layers' classes
            return NOTHING
    same = torch.allclose(changed, logits, rtol=0, atol=CLOSE * float(logits.abs().max()))
    return Plan(folds, head) if same else NOTHING


def possible(module: nn.Module) -> bool:
    """Whether there is anything that a plan could change, so that a trace is worth its passes."""
    return any(type(layer) is nn.Linear or _is_normalization(layer) for layer in module.modules())


def apply(module: nn.Module, found: Plan) -> nn.Module:
    """A copy of ``module`` in eval mode, its weights those of now, changed by a plan; no weight asks for gradients."""
    copy = deepcopy(module).eval().requires_grad_(False)
    for convolution, normalization in found.folds:
        before, after = copy.get_submodule(convolution), copy.get_submodule(normalization)
        assert isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)  # noqa: S101, PT018 - as planned
        fused = fuse_conv_bn_eval(before, after).requires_grad_(False)
        _replace(copy, convolution, fused)
        _replace(copy, normalization, _rest(after))
    if found.head is not None:
        _replace(copy, found.head, FullPrecision(copy.get_submodule(found.head)))
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


def _trace(module: nn.Module, example: Tensor) -> tuple[tuple[tuple[str, str], ...], str | None, Tensor]:
    """Convolutions with the normalization of what they put out, the layer of the logits, and the logits (1, K)."""
    runs: dict[str, int] = {}
    put_out: dict[str, Tensor] = {}  # kept, so that no other tensor gets the place of one of them in memory
    pairs: list[tuple[str, str]] = []
    handles = []
    for name, layer in module.named_modules():
        if type(layer) not in (nn.Linear, nn.Conv2d) and not _is_normalization(layer):
            continue
        if not name or layer._forward_hooks or layer._forward_pre_hooks:
            continue

        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(layer, nn.BatchNorm2d):
                pairs.extend((before, name) for before, tensor in put_out.items() if tensor is inputs[0])
            else:
                put_out[name] = output

        handles.append(layer.register_forward_hook(record))
    try:
        logits: Tensor = module(example)
    finally:
        for handle in handles:
            handle.remove()
    folds = tuple(pair for pair in pairs if all(runs[name] == 1 for name in pair))
    head = [name for name, tensor in put_out.items() if tensor is logits and runs[name] == 1]
    return folds, head[0] if head and isinstance(module.get_submodule(head[0]), nn.Linear) else None, logits


def _is_normalization(layer: nn.Module) -> bool:
    from timm.layers.norm_act import BatchNormAct2d  # slow to import

    return type(layer) in (nn.BatchNorm2d, BatchNormAct2d) and layer.running_mean is not None


def _rest(normalization: nn.Module) -> nn.Module:
    """What a layer does after it has normalized: timm's brings its activation along."""
    if type(normalization) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(normalization.get_submodule("drop"), normalization.get_submodule("act"))


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)
