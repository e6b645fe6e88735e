"""The weights of a network that was pickled whole, read without running anything that the file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from medsaliency.data.untrusted import visible
from medsaliency.model.torch_files import Inert, TorchFile
from medsaliency.types import MedsaliencyError

DEEPEST = 64
"""Most modules within one another."""
MOST = 100_000
"""Most modules, one that is used twice counted twice."""


def read_pickled_weights(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of the ``nn.Module`` that ``torch.save`` wrote whole, by their dotted names.

    A state dict, which is what should have been saved, will do as well.

    Args:
        path: A zip archive, or the layout of torch before 1.6.

    Raises:
        MedsaliencyError: If the file is missing, too large, damaged, or holds no module.
    """
    try:
        file = TorchFile(path)
        weights = _Weights(file)
        if isinstance(file.content, dict):
            for name, value in file.content.items():
                weights.add("", name, value)
        else:
            weights.collect(file.content, "", 0)
        found = weights.found
    except MedsaliencyError:
        raise
    except Exception as error:  # a damaged file can raise anything
        said = visible(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        raise MedsaliencyError(
            f"{visible(str(path))}: cannot be read as a network that torch saved ({said}); fetch it again"
        ) from error
    if not found:
        raise MedsaliencyError(
            f"{visible(str(path))}: expected a network that torch saved whole, got no weights; fetch it again"
        )
    return found


class _Weights:
    """What is taken out of a file.

    Args:
        file: Has their numbers.
    """

    def __init__(self, file: TorchFile) -> None:
        self.file = file
        self.found: dict[str, Tensor] = {}
        self.modules = 0

    def collect(self, module: Any, prefix: str, depth: int) -> None:
        """Add what ``nn.Module.state_dict`` would list of ``module``."""
        self.modules += 1
        if depth > DEEPEST or self.modules > MOST:
            raise ValueError("modules within modules without end")
        if not isinstance(module, Inert):
            raise TypeError(f"expected a module, got {type(module).__name__}")
        for kind in ("_parameters", "_buffers"):
            for name, value in module.state.get(kind, {}).items():
                if value is not None:
                    self.add(prefix, name, value)
        for name, child in module.state.get("_modules", {}).items():
            if child is not None:
                self.collect(child, f"{prefix}{_plain(name)}.", depth + 1)

    def add(self, prefix: str, name: Any, value: Any) -> None:
        """Add a copy of the tensor ``value``."""
        self.found[f"{prefix}{_plain(name)}"] = self.file.tensor(value)


def _plain(name: Any) -> str:
    if not isinstance(name, str | int):
        raise TypeError(f"expected a name, got {type(name).__name__}")
    return str(name)
