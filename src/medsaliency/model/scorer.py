"""A classifier's score as a module of its own, for libraries that hook layers and run the module themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn


class Scorer(nn.Module):
    """From images (n, C, H, W) in display range to the score (n,) of one target, in one pass.

    Args:
        module: What is run, so that its layers can be found and hooked.
        run: Runs it, from images to scores.
    """

    def __init__(self, module: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self._run = run

    def forward(self, images: Tensor) -> Tensor:
        """Score (n,) of images (n, C, H, W) in display range."""
        return self._run(images)


def to_be_hooked(module: nn.Module) -> nn.Module:
    """A copy in which every layer without weights gets an input of its own, which nothing else uses.

    A hook on that input would otherwise see what flows back to it from elsewhere (around a residual block, say), and
    a layer that works in place would change it for the others.
    """
    own = deepcopy(module)
    for layer in own.modules():
        if _without_weights(layer):
            layer.register_forward_pre_hook(lambda _, inputs: tuple(map(_cloned, inputs)))
    return own


def separate_uses(module: nn.Module, run: Callable[[], Tensor]) -> Tensor:
    """Run ``module`` and give every use of a layer without weights that ran several times a layer of its own.

    Libraries that keep what a layer was given keep it once a layer.

    Args:
        module: Is changed.
        run: One pass of it.

    Returns:
        What the pass gave.
    """
    runs: Counter[nn.Module] = Counter()
    handles = [
        layer.register_forward_hook(lambda layer, *_: runs.update([layer]))
        for layer in module.modules()
        if _without_weights(layer)
    ]
    found = run()
    for handle in handles:
        handle.remove()
    taking_turns = {layer: _TakingTurns(layer, times) for layer, times in runs.items() if times > 1}
    for parent in list(module.modules()):
        for name, layer in list(parent._modules.items()):
            if layer in taking_turns:
                setattr(parent, name, taking_turns[layer])
    return found


class _TakingTurns(nn.Module):
    """Copies of a layer, of which each run in a pass takes the next."""

    def __init__(self, layer: nn.Module, times: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(layer) for _ in range(times))
        self.turn = 0

    def forward(self, *inputs: Tensor) -> Tensor:
        layer = self.layers[self.turn]
        self.turn = (self.turn + 1) % len(self.layers)
        found: Tensor = layer(*inputs)
        return found


def _without_weights(layer: nn.Module) -> bool:
    return next(layer.children(), None) is None and next(layer.parameters(), None) is None


def _cloned(value: object) -> object:
    return value.clone() if isinstance(value, torch.Tensor) else value
