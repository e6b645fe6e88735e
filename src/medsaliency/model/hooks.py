"""Reading and replacing what a layer puts out, for the length of one call; the module is left as it was found.

Feature maps are (N, K, h, w) here, or (N, K, d, h, w) for volumes, whatever the layer makes of them: see
:mod:`medsaliency.model.tokens`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medsaliency.model.tokens import Layout, Layouts, may_be_tokens
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
    """Keep the feature maps that ``layer`` puts out, one tensor a call of it; nothing where ``layer`` is None.

    Of a transformer's tokens the patches are kept, on their grid; class and register tokens pass by.

    Args:
        module: Has the layer.
        layer: Its dotted name.
        leaf: Cut the graph there: what comes before the layer runs as it is called (without gradients, say), and from
            the layer on gradients are recorded.
    """
    kept: list[Tensor] = []

    def keep(output: Tensor, layout: Layout) -> Tensor:
        if leaf:
            output = output.detach()
        maps = layout.to_maps(output)
        if leaf:
            maps.requires_grad_()
            torch.set_grad_enabled(True)
        kept.append(maps)
        # The next module may write into what it is given (an in-place ReLU does): it gets a copy.
        return layout.from_maps(maps.clone(), output)

    with _hooked(module, layer, keep):
        yield kept


@contextmanager
def replace(module: nn.Module, layer: str, activations: Tensor) -> Iterator[None]:
    """Let ``layer`` put out the feature maps ``activations`` (n, K, h, w).

    In a convolutional network the layer computes nothing itself. One that holds all that comes before it (the body of
    a network, say) then costs nothing. In a network whose layers may put out tokens it runs, for the tokens in front of
    the patches stay as they are.
    """
    replaced = layer_of(module, layer)
    before = vars(replaced).get("forward")  # of this very layer, where somebody has put one there
    own = replaced.forward
    runs, layouts = may_be_tokens(module), Layouts(module)

    with _watched(module) as given:

        def forward(*inputs: object, **more: object) -> Tensor:
            # The next module may write into what it is given.
            if not runs:
                return activations.clone()
            output = own(*inputs, **more)
            return layouts.of(layer, output, given()).from_maps(activations.clone(), output)

        replaced.forward = forward
        try:
            yield
        finally:
            if before is None:
                del replaced.forward
            else:
                replaced.forward = before


@contextmanager
def _hooked(module: nn.Module, layer: str | None, change: Callable[[Tensor, Layout], Tensor]) -> Iterator[None]:
    if layer is None:
        yield
        return
    layouts = Layouts(module)
    with _watched(module) as given:

        def hook(_module: nn.Module, _inputs: object, output: object) -> Tensor:
            layout = layouts.of(layer, output, given())
            assert isinstance(output, Tensor)  # noqa: S101 - or it had no layout
            return change(output, layout)

        handle = layer_of(module, layer).register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def _watched(module: nn.Module) -> Iterator[Callable[[], tuple[int, ...] | None]]:
    """What tells the shape of the images that the module was given last; None before it ran."""
    shapes: list[tuple[int, ...]] = []

    def note(_module: nn.Module, inputs: tuple[object, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            shapes[:] = [tuple(inputs[0].shape)]

    handle = module.register_forward_pre_hook(note)
    try:
        yield lambda: shapes[0] if shapes else None
    finally:
        handle.remove()
