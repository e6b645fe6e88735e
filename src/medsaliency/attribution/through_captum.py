"""What the methods that run through captum share: the import, the module it may hook, and its random numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medsaliency.model.optional import optional
from medsaliency.model.probe import Probe
from medsaliency.model.scorer import separate_uses
from medsaliency.types import MedsaliencyError


def captum(method: str, module: str = "captum.attr") -> Any:
    """A module of captum, imported when ``method`` first needs it.

    Raises:
        MedsaliencyError: If captum is not installed.
    """
    return optional(module, "captum", method)


def through_layers(probe: Probe, method: str, attribute: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
    """Values (N, C, H, W) of a method that hooks layers, image by image.

    Args:
        probe: N images with one target each.
        method: Its name, for errors.
        attribute: Gives the values (1, C, H, W) of an image by the module that scores it.

    Raises:
        MedsaliencyError: If the module scores otherwise where no layer of it works in place.
    """
    images = probe.images
    expected = probe.own_scores[:1]
    with probe.classifier.scorers(probe.objects) as scorers, warnings.catch_warnings():
        first = scorers[0]
        with torch.no_grad():
            found = separate_uses(first, lambda: first(images[:1]))
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
            raise MedsaliencyError(
                f"{method}: expected the same score with and without layers that work in place; set inplace=False in "
                "the layer whose input is used a second time"
            )
        for notice in ("Setting .*hooks", "Input Tensor"):  # captum's, at every call
            warnings.filterwarnings("ignore", notice, UserWarning)
        values = [attribute(own, image[None].clone()) for own, image in zip(scorers, images, strict=True)]
    return torch.cat(values).detach()


@contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Within the block the global generators of torch (the CPU's) and NumPy, which captum draws from, follow ``rng``.

    Both are put back afterwards.
    """
    seed = int(rng.integers(2**32))
    before = np.random.get_state()  # noqa: NPY002 - captum's
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
