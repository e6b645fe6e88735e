"""Files that ``torch.save`` wrote, taken apart without running anything that they ask for.

Such a file is a pickle, with the numbers beside it. A pickle names classes and functions, and reading it in the
ordinary way imports and calls them. Here no name is ever looked up: each stands for an inert object that keeps what it
was given, and tensors are made of those. Nothing is taken at its word: a number of bytes is that which the file has.
"""

from __future__ import annotations

import io
import math
import pickle  # nosec B403 # only its grammar is used: no name is looked up, nothing of a file runs
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medsaliency.data.untrusted import visible
from medsaliency.types import MedsaliencyError

LARGEST = 4 << 30
"""Most bytes of a file, and of the weights taken out of it."""
LONGEST_PICKLE = 2 << 20
"""Bytes of the structure, without numbers: a thousand tensors take some 200,000."""
MOST_ENTRIES = 20_000
"""Files in an archive: one a storage."""
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
LEGACY = (0x1950A86A20F9469CFC6C, 1001)
"""How a file begins that torch wrote before its version 1.6: a magic number and the version of the layout."""


class Inert:
    """Stands for whatever a pickle names, and does nothing."""

    def __init__(self, *given: Any, **_more: Any) -> None:
        self.given = given
        self.state: dict[str, Any] = {}

    def __new__(cls, *_given: Any, **_more: Any) -> Inert:
        """An object even where a pickle skips ``__init__``."""
        made = super().__new__(cls)
        made.given, made.state = (), {}
        return made

    def __call__(self, *_given: Any, **_more: Any) -> Inert:
        """What a function that a pickle makes would return."""
        return Inert()

    def __setstate__(self, state: Any) -> None:
        """Keep what would be an object's attributes."""
        self.state = state if isinstance(state, dict) else {}


class View(Inert):
    """A tensor: its storage, offset, size and stride."""


class Parameter(Inert):
    """A tensor that is trained."""


@dataclass(frozen=True)
class _Storage:
    """Numbers in a file.

    Args:
        key: Of the file's storage.
        dtype: Of the numbers.
    """

    key: str
    dtype: torch.dtype


class TorchFile:
    """What a file holds: ``content``, which has :class:`View` or :class:`Parameter` where tensors were.

    Args:
        path: A zip archive, or the layout of torch before 1.6.

    Raises:
        MedsaliencyError: If the file is missing or too large.
        Exception: Of any kind, if it is damaged or no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise MedsaliencyError(
                f"{visible(str(path))}: expected a file of weights of at most {LARGEST >> 30} GiB; check the path"
            )
        file = path.read_bytes()
        self._numbers: dict[str, Tensor] = {}  # (bytes,), by key: views of one storage share it
        self._bytes = 0
        self.content: Any
        self._storage: Callable[[str], bytes | memoryview]
        if file.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(file)):
            self.content, self._storage = _zipped(file)
        else:
            self.content, self._storage = _legacy(file)

    def tensor(self, value: Any) -> Tensor:
        """A copy of the tensor that ``value`` stands for.

        Raises:
            TypeError: If it stands for none.
            ValueError: If it is larger than its storage, or all together are larger than a file may be.
        """
        if isinstance(value, Parameter):
            value = value.given[0]
        if not isinstance(value, View):
            raise TypeError("expected a tensor among the weights")
        storage, offset, size, stride = value.given[:4]
        numbers = self._bytes_of(storage.key).view(storage.dtype)
        count = math.prod(size)
        if count > len(numbers):
            raise ValueError("a tensor of more numbers than the file has")
        self._bytes += count * storage.dtype.itemsize
        if self._bytes > LARGEST:
            raise ValueError(f"expected weights of at most {LARGEST >> 30} GiB, got more of views of the same numbers")
        return torch.as_strided(numbers, tuple(size), tuple(stride), offset).clone()

    def _bytes_of(self, key: str) -> Tensor:
        if key not in self._numbers:
            content = bytearray(self._storage(key))
            self._numbers[key] = (
                torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            )
        return self._numbers[key]


class _Structure:
    """The part of a file that a pickle may take."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream, self.end = stream, stream.tell() + LONGEST_PICKLE

    def read(self, count: int) -> bytes:
        """As of a file."""
        return self._within(self.stream.read(count))

    def readline(self) -> bytes:
        """As of a file."""
        return self._within(self.stream.readline())

    def _within(self, content: bytes) -> bytes:
        if self.stream.tell() > self.end:
            raise ValueError(f"expected a pickle of at most {LONGEST_PICKLE:,} bytes beside its numbers, got more")
        return content


class _Ordered(OrderedDict[Any, Any]):
    """A dict that is filled by the pickle, item by item, and by nothing that it is given when it is made."""

    def __init__(self, *_given: Any, **_more: Any) -> None:
        super().__init__()


def _checked(code: bytes, keys: slice) -> Callable[[Any], None]:
    """How an instruction is followed whose ``keys`` on the stack become those of a dict or a set.

    Large integers can be chosen so that all have one hash, and a dict of them takes time that grows with its square.
    """
    own: Callable[[Any], None] = pickle._Unpickler.dispatch[code[0]]

    def load(reader: Any) -> None:
        for key in reader.stack[keys]:
            if not isinstance(key, str | Inert | None) and not (isinstance(key, int) and abs(key) < LARGEST):
                raise ValueError(f"expected a name as a key, got {type(key).__name__}")
        own(reader)

    return load


class _Reader(pickle._Unpickler):
    """Takes the structure of a pickle apart.

    Of the two readers of the standard library the one in Python, whose memo is a dict: no index in a file makes it
    large.
    """

    dispatch = pickle._Unpickler.dispatch | {
        code[0]: _checked(code, keys)
        for code, keys in {
            pickle.SETITEM: slice(-2, -1),
            pickle.SETITEMS: slice(0, None, 2),
            pickle.DICT: slice(0, None, 2),
            pickle.ADDITEMS: slice(None),
            pickle.FROZENSET: slice(None),
        }.items()
    }
    del dispatch[pickle.PUT[0]]  # a place in the memo as text, of any size, which no file of torch has

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(_Structure(file))
        self.sizes: dict[str, int] = {}  # bytes of a number, by the key of its storage

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; nothing is imported."""
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _Ordered,
            ("torch._utils", "_rebuild_tensor_v2"): View,
            ("torch._utils", "_rebuild_parameter"): Parameter,
        }
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        return known.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Any:
        """A storage, or (in the old layout) a module's class with its source text, which is not read."""
        if pid[0] == "module":
            return Inert
        if pid[0] != "storage" or not isinstance(pid[1], torch.dtype) or (len(pid) > 5 and pid[5] is not None):
            raise ValueError("expected whole storages of numbers")
        if not isinstance(pid[2], str | int):
            raise TypeError("expected a number or a name of a storage")
        self.sizes[str(pid[2])] = pid[1].itemsize
        return _Storage(str(pid[2]), pid[1])


def _zipped(file: bytes) -> tuple[Any, Callable[[str], bytes]]:
    if file.count(b"PK\x01\x02") > MOST_ENTRIES:  # before a list is made of them
        raise ValueError(f"expected an archive of at most {MOST_ENTRIES:,} files, got more")
    archive = zipfile.ZipFile(io.BytesIO(file))
    entries = archive.infolist()
    # torch does not compress; what is compressed, or lies in the same place as another, unpacks to more than the file.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("expected an archive that is not compressed, as torch writes it")
    if sum(entry.file_size for entry in entries) > len(file):
        raise ValueError("it unpacks to more bytes than it has")
    names = {entry.filename for entry in entries}
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("expected an archive with one data.pkl, as torch writes it")
    root = roots[0]
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    structure = _Reader(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
    return structure, lambda key: archive.read(f"{root}data/{key}")


def _legacy(file: bytes) -> tuple[Any, Callable[[str], memoryview]]:
    stream = io.BytesIO(file)
    magic, version, system = (_Reader(stream).load() for _ in range(3))
    if (magic, version) != LEGACY or not system["little_endian"]:
        raise ValueError("it does not begin as torch's files do")
    reader = _Reader(stream)
    content = reader.load()
    storages: dict[str, memoryview] = {}
    for key in _Reader(stream).load():
        count = int.from_bytes(stream.read(8), "little", signed=True)
        start, size = stream.tell(), count * reader.sizes[str(key)]
        if count < 0 or start + size > len(file):
            raise ValueError("it is cut off")
        storages[str(key)] = memoryview(file)[start : start + size]
        stream.seek(start + size)
    return content, storages.__getitem__
