"""Weights from files that others wrote: read without running anything, and fitted strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a ``.pt`` or ``.pth`` file that holds tensors only; a pickled object is refused.

    A dict that holds the weights under ``state_dict`` or ``model`` is opened, and a ``module.`` prefix (as
    DataParallel writes) dropped.

    Raises:
        MedsaliencyError: If the file is missing, or holds anything but tensors.
    """
    if not path.is_file():
        raise MedsaliencyError(f"{path}: no such file of weights")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise MedsaliencyError(
            f"{path}: cannot be read as a state dict of plain tensors; it is damaged, or holds other objects, which "
            "could run code when read: save module.state_dict() instead"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise MedsaliencyError(f"{path}: expected a state dict (names to tensors), got {type(state).__name__}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def fit(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load ``state`` strictly, and say in one line what does not fit.

    Args:
        module: Takes the weights.
        state: Names to tensors.
        name: Of where they come from, for the error.

    Raises:
        MedsaliencyError: If a weight is missing, is one too many, or has another shape.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys())
    wrong = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or extra or wrong:
        parts = [f"missing {missing[0]!r} and {len(missing) - 1} more"] if missing else []
        parts += [f"unexpected {extra[0]!r} and {len(extra) - 1} more"] if extra else []
        parts += [f"{k!r} is {tuple(state[k].shape)}, expected {tuple(own[k].shape)}" for k in sorted(wrong)[:1]]
        raise MedsaliencyError(
            f"{name}: the weights do not fit the architecture ({'; '.join(parts)}); check architecture, classes and "
            "channels"
        )
    module.load_state_dict(state)
