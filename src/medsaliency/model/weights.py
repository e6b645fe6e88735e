"""Weights from files that others wrote: read without running anything, and fitted strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from medsaliency.data.untrusted import visible
from medsaliency.model.torch_files import Inert, TorchFile
from medsaliency.types import MedsaliencyError

Shapes = Mapping[str, Sequence[int]]
MOST_HEADER = 4 << 20
"""Bytes of a header of safetensors: a thousand tensors take some 100,000."""


def read_safetensors(path: Path, expected: Shapes) -> dict[str, Tensor]:
    """The tensors of a file of safetensors, whose shapes are compared before any number is read.

    Raises:
        MedsaliencyError: If it is no such file, or has other tensors than ``expected``.
    """
    try:
        with path.open("rb") as file:
            size, header = path.stat().st_size, int.from_bytes(file.read(8), "little")
        if header > min(size - 8, MOST_HEADER):
            raise MedsaliencyError(
                f"{visible(str(path))}: cannot be read as safetensors (expected a header of at most {MOST_HEADER:,} "
                f"bytes, within a file of {size:,}, got one of {header:,}); it is cut off, or of another "
                "format: copy or save it again"
            )
        with safe_open(path, "pt") as opened:
            given = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118 # no mapping
        require_shapes(expected, given, visible(str(path)))
        return load_file(path)
    except (OSError, SafetensorError, UnicodeError, KeyError, AttributeError) as error:  # types torch does not have
        raise MedsaliencyError(
            f"{visible(str(path))}: cannot be read as safetensors ({words_of(error)}); copy it again, or save it again"
        ) from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a ``.pt`` or ``.pth`` file that holds a state dict; a pickled object is refused.

    A dict that holds the weights under ``state_dict`` or ``model`` is opened, and a ``module.`` prefix (as
    DataParallel writes) dropped. What else the file holds is not made.

    Raises:
        MedsaliencyError: If the file is missing, or holds anything but tensors there.
    """
    if not path.is_file():
        raise MedsaliencyError(f"{visible(str(path))}: no such file of weights; check the path")
    try:
        file = TorchFile(path)
        state = _state_in(file.content)
        found = {name.removeprefix("module."): file.tensor(value) for name, value in state.items()}
    except MedsaliencyError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise MedsaliencyError(
            f"{visible(str(path))}: cannot be read as a state dict of plain tensors ({words_of(error)}); it is "
            "damaged, or holds other objects, which could run code when read: save module.state_dict() instead"
        ) from error
    return found


def _state_in(content: Any) -> dict[str, Any]:
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict | Inert):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        got = "an object" if isinstance(content, Inert) else type(content).__name__
        raise TypeError(f"expected names and tensors, got {got}")
    return content


def require_shapes(own: Shapes, given: Shapes, name: str) -> None:
    """Say in one line which tensors of a file do not fit.

    Args:
        own: Shapes by name that a module has.
        given: Those of the file.
        name: Of the file, for the error.

    Raises:
        MedsaliencyError: If a weight is missing, is one too many, or has another shape.
    """
    missing = sorted(own.keys() - given.keys())
    extra = sorted(given.keys() - own.keys())
    wrong = sorted(k for k in own.keys() & given.keys() if tuple(own[k]) != tuple(given[k]))
    if missing or extra or wrong:
        parts = [f"missing {missing[0]!r} and {len(missing) - 1} more"] if missing else []
        parts += [f"unexpected {extra[0][:80]!r} and {len(extra) - 1} more"] if extra else []
        parts += [f"{k!r} is {str(tuple(given[k]))[:80]}, expected {tuple(own[k])}" for k in wrong[:1]]
        raise MedsaliencyError(
            f"{name}: the weights do not fit the architecture ({'; '.join(parts)}); check architecture, classes and "
            "channels"
        )


def fit(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load ``state`` strictly, and say in one line what does not fit.

    Args:
        module: Takes the weights.
        state: Names to tensors.
        name: Of where they come from, for the error.

    Raises:
        MedsaliencyError: If a weight is missing, is one too many, has another shape or kind of number, or is NaN or
            infinite as the module holds it. The module is then as it was.
    """
    own = module.state_dict()
    require_shapes(shapes(own), shapes(state), name)
    taken = {key: _taken(value, own[key].dtype, f"{name}: {key}") for key, value in state.items()}
    module.load_state_dict(taken)


def shapes(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor."""
    return {key: tuple(value.shape) for key, value in state.items()}


def _taken(value: Tensor, dtype: torch.dtype, where: str) -> Tensor:
    """The numbers in the module's own type: rounded where it has fewer bits, but of the same kind."""
    if _kind(value.dtype) != _kind(dtype):
        raise MedsaliencyError(
            f"{where}: expected {_kind(dtype)} numbers, got {_kind(value.dtype)} ones ({value.dtype}); save the "
            "weights again"
        )
    converted = value.to(dtype)
    if dtype.is_floating_point and not bool(torch.isfinite(converted).all()):
        raise MedsaliencyError(
            f"{where}: expected finite weights, got NaN or infinity as {dtype}; the training has failed, or the file "
            "is damaged"
        )
    return converted


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_complex:
        return "complex"
    if dtype.is_floating_point:
        return "floating-point"
    return "logical" if dtype == torch.bool else "whole"


def words_of(error: Exception) -> str:
    """What an error of another library says, in one line."""
    return visible(" ".join(f"{type(error).__name__}: {error}".split())[:300])
