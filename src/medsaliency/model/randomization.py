"""A classifier with some of its layers' weights drawn anew: what a model that has learned nothing there would be."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy, deepcopy

import numpy as np
import torch
from torch import nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import layer_of
from medsaliency.types import MedsaliencyError, torch_seed


def stages(module: nn.Module, steps: int) -> list[tuple[str, ...]]:
    """The layers that have parameters of their own, from the output to the input, in at most ``steps`` groups.

    The order is the reverse of that in which the module registers its layers, which is not always that in which they
    run.

    Args:
        module: Any.
        steps: Groups wanted, at least 1; they have the same number of layers, or one more.

    Returns:
        Names of layers ("" for parameters of the module itself), none twice; fewer groups where there are fewer layers.
    """
    names = [name for name, layer in module.named_modules() if next(layer.parameters(recurse=False), None) is not None]
    names.reverse()
    groups = np.array_split(np.arange(len(names)), max(1, min(steps, len(names))))
    return [tuple(names[i] for i in group) for group in groups if len(group)]


def randomized(classifier: Classifier, layers: Iterable[str], seed: int) -> Classifier:
    """The same classifier on a copy of its module in which the named layers are as if never trained.

    A layer that has ``reset_parameters`` is initialized by it, running statistics included. Parameters which that does
    not reach, or of layers without it, are drawn from a normal distribution around 0 with the root mean square of their
    own values. What a layer gets depends on ``seed`` and its name alone, on every device and whatever other layers are
    named.

    Args:
        classifier: Stays as it is.
        layers: Dotted names; "" for parameters of the module itself.
        seed: Of the new weights.

    Raises:
        MedsaliencyError: If the module has no such layer, or cannot be copied.
    """
    try:
        module = deepcopy(classifier.module)
    except RuntimeError as error:
        raise MedsaliencyError(
            f"randomization: expected a module that can be copied, got {type(classifier.module).__name__} ({error}); "
            "let it hold no tensors of a pass"
        ) from error
    for name in layers:
        layer = layer_of(module, name) if name else module
        _reinitialize(layer, torch_seed(seed, "randomization", name))
    other = copy(classifier)
    other.module = module
    return other


def _reinitialize(layer: nn.Module, seed: int) -> None:
    old = {name: values.detach().clone() for name, values in layer.named_parameters(recurse=False)}
    devices = {values.device for values in old.values()}
    layer.cpu()  # a device of another kind would draw other numbers
    if callable(reset := getattr(layer, "reset_parameters", None)):
        # It draws from the global generator of the CPU, which is put back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            reset()
    draw = torch.Generator().manual_seed(seed)
    for name, values in layer.named_parameters(recurse=False):
        before = old[name].cpu()
        if torch.equal(values, before):
            spread = before.float().square().mean().sqrt()
            values.data.copy_(spread * torch.randn(values.shape, generator=draw))
    for device in devices:
        layer.to(device)
