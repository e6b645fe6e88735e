"""The weights of a network that was pickled whole, read without running anything that the file asks for.

A pickle names classes and functions, and reading it in the ordinary way imports and calls them. Here no name is ever
looked up: each stands for an inert object that keeps what it was given, and the weights are picked out of those.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medsaliency.types import MedsaliencyError

LARGEST = 2 << 30
"""Most bytes of a file, and of the weights taken out of it."""
DEEPEST = 64
"""Most modules within one another."""
MOST = 100_000
"""Most modules, one that is used twice counted twice."""
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LEGACY = (0x1950A86A20F9469CFC6C, 1001)
"""How a file begins that torch wrote before its version 1.6: a magic number and the version of the layout."""


def read_pickled_weights(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of the ``nn.Module`` that ``torch.save`` wrote whole, by their dotted names.

    A state dict, which is what should have been saved, will do as well.

    Args:
        path: A zip archive, or the layout of torch before 1.6.

    Raises:
        MedsaliencyError: If the file is missing, too large, damaged, or holds no module.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise MedsaliencyError(f"{path}: expected a file of weights of at most {LARGEST >> 30} GiB; check the path")
    content = path.read_bytes()
    try:
        module, storages = _zipped(content) if zipfile.is_zipfile(io.BytesIO(content)) else _legacy(content)
        weights = _Weights(storages)
        if isinstance(module, dict):
            for name, value in module.items():
                weights.add("", name, value)
        else:
            weights.collect(module, "", 0)
        found = weights.found
    except Exception as error:  # a damaged file can raise anything
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise MedsaliencyError(
            f"{path}: cannot be read as a network that torch saved ({said}); fetch it again"
        ) from error
    if not found:
        raise MedsaliencyError(f"{path}: expected a network that torch saved whole, got no weights; fetch it again")
    return found


class _Inert:
    """Stands for whatever a pickle names, and does nothing."""

    def __init__(self, *given: Any, **_more: Any) -> None:
        self.given = given
        self.state: dict[str, Any] = {}

    def __new__(cls, *_given: Any, **_more: Any) -> _Inert:
        made = super().__new__(cls)
        made.given, made.state = (), {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _View(_Inert):
    """A tensor: its storage, offset, size and stride."""


class _Parameter(_Inert):
    """A tensor that is trained."""


class _Storage:
    """Numbers in a file.

    Args:
        key: Of the file's storage.
        dtype: Of the numbers.
    """

    def __init__(self, key: str, dtype: torch.dtype) -> None:
        self.key, self.dtype = key, dtype


class _Reader(pickle._Unpickler):
    """Takes the structure of a pickle apart.

    Of the two readers of the standard library the one in Python, whose memo is a dict: no index in a file makes it
    large.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.sizes: dict[str, int] = {}  # bytes of a number, by the key of its storage

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; nothing is imported."""
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _View,
            ("torch._utils", "_rebuild_parameter"): _Parameter,
        }
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        return known.get((module, name), _Inert)

    def persistent_load(self, pid: Any) -> Any:
        """A storage, or (in the old layout) a module's class with its source text, which is not read."""
        if pid[0] == "module":
            return _Inert
        if pid[0] != "storage" or not isinstance(pid[1], torch.dtype) or (len(pid) > 5 and pid[5] is not None):
            raise ValueError("expected whole storages of numbers")
        if not isinstance(pid[2], str | int):
            raise TypeError("expected a number or a name of a storage")
        self.sizes[str(pid[2])] = pid[1].itemsize
        return _Storage(str(pid[2]), pid[1])


def _zipped(content: bytes) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST >> 30} GiB")
        (root,) = (name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl"))
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        within = f"{root}data/"
        storages = {n.removeprefix(within): archive.read(n) for n in archive.namelist() if n.startswith(within)}
        return _Reader(io.BytesIO(archive.read(f"{root}data.pkl"))).load(), storages


def _legacy(content: bytes) -> tuple[Any, dict[str, bytes]]:
    stream = io.BytesIO(content)
    magic, version, system = (_Reader(stream).load() for _ in range(3))
    if (magic, version) != LEGACY or not system["little_endian"]:
        raise ValueError("it does not begin as torch's files do")
    reader = _Reader(stream)
    module = reader.load()
    storages: dict[str, bytes] = {}
    for key in _Reader(stream).load():
        count = int.from_bytes(stream.read(8), "little", signed=True)
        storages[str(key)] = stream.read(count * reader.sizes[str(key)])
    return module, storages


class _Weights:
    """What is taken out of a file.

    Args:
        storages: Their bytes, by key.
    """

    def __init__(self, storages: dict[str, bytes]) -> None:
        self.storages = storages
        self.numbers: dict[str, Tensor] = {}  # (bytes,), by key: views of one storage share it
        self.found: dict[str, Tensor] = {}
        self.modules = 0
        self.bytes = 0

    def collect(self, module: Any, prefix: str, depth: int) -> None:
        """Add what ``nn.Module.state_dict`` would list of ``module``."""
        self.modules += 1
        if depth > DEEPEST or self.modules > MOST:
            raise ValueError("modules within modules without end")
        if not isinstance(module, _Inert):
            raise TypeError(f"expected a module, got {type(module).__name__}")
        for kind in ("_parameters", "_buffers"):
            for name, value in module.state.get(kind, {}).items():
                if value is not None:
                    self.add(prefix, name, value)
        for name, child in module.state.get("_modules", {}).items():
            if child is not None:
                self.collect(child, f"{prefix}{_plain(name)}.", depth + 1)

    def add(self, prefix: str, name: Any, value: Any) -> None:
        """Add a copy of the tensor ``value``.

        Raises:
            ValueError: If it, or all together, are larger than a file may be.
        """
        if isinstance(value, _Parameter):
            value = value.given[0]
        if not isinstance(value, _View):
            raise TypeError("expected a tensor among the weights")
        storage, offset, size, stride = value.given[:4]
        numbers = self._storage(storage.key).view(storage.dtype)
        count = math.prod(size)
        if count > len(numbers):
            raise ValueError("a tensor of more numbers than the file has")
        self.bytes += count * storage.dtype.itemsize
        if self.bytes > LARGEST:
            raise ValueError(f"expected weights of at most {LARGEST >> 30} GiB, got more of views of the same numbers")
        self.found[f"{prefix}{_plain(name)}"] = torch.as_strided(numbers, tuple(size), tuple(stride), offset).clone()

    def _storage(self, key: str) -> Tensor:
        if key not in self.numbers:
            content = bytearray(self.storages[key])
            self.numbers[key] = (
                torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            )
        return self.numbers[key]


def _plain(name: Any) -> str:
    if not isinstance(name, str | int):
        raise TypeError(f"expected a name, got {type(name).__name__}")
    return str(name)
