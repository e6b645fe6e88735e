"""Reading and replacing what a layer puts out, for the length of one call; the module is left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError, nearest


def layer_of(module: nn.Module, name: str) -> nn.Module:
    """The submodule of that dotted name.

    Raises:
        MedsaliencyError: If there is none; the nearest names are shown.
    """
    layers: dict[str, nn.Module] = dict(module.named_modules())
    if name not in layers or not name:
        raise MedsaliencyError(f"unknown layer {name!r}{nearest(name, [n for n in layers if n])}")
    return layers[name]


@contextmanager
def capture(module: nn.Module, layer: str | None, *, leaf: bool = False) -> Iterator[list[Tensor]]:
    """Keep what ``layer`` puts out, one tensor a call of it; nothing where ``layer`` is None.

    Args:
        module: Has the layer.
        layer: Its dotted name.
        leaf: Cut the graph there: what comes before the layer runs as it is called (without gradients, say), and from
            the layer on gradients are recorded.
    """
    kept: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        if leaf:
            output = output.detach().requires_grad_()
            torch.set_grad_enabled(True)
        kept.append(output)
        # The next module may write into what it is given (an in-place ReLU does): it gets a copy.
        return output.clone()

    with _hooked(module, layer, keep):
        yield kept


@contextmanager
def replace(module: nn.Module, layer: str, activations: Tensor) -> Iterator[None]:
    """Let ``layer`` put out ``activations`` (n, K, h, w) and compute nothing itself.

    A layer that holds all that comes before it (the body of a network, say) then costs nothing.
    """
    replaced = layer_of(module, layer)
    before = vars(replaced).get("forward")  # of this very layer, where somebody has put one there

    def forward(*_inputs: object, **_more: object) -> Tensor:
        return activations.clone()  # the next module may write into what it is given

    replaced.forward = forward
    try:
        yield
    finally:
        if before is None:
            del replaced.forward
        else:
            replaced.forward = before


@contextmanager
def _hooked(module: nn.Module, layer: str | None, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    if layer is None:
        yield
        return

    def hook(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise MedsaliencyError(f"layer {layer!r}: expected feature maps (N, K, h, w), got {got}; choose another")
        return change(output)

    handle = layer_of(module, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
