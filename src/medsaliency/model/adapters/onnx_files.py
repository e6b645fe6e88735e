"""Which other files an ONNX file asks for, found without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medsaliency.types import MedsaliencyError

WITHIN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Fields of ONNX's messages (onnx.proto3) that lead to a tensor, and the message that each holds."""
DEEPEST = 64
"""Most graphs within one another."""


def files_beside(path: Path, content: bytes) -> list[Path]:
    """The files that hold the tensors kept outside an ONNX file, all of its folder, sorted by name.

    Args:
        path: Of the file.
        content: Its bytes.

    Raises:
        MedsaliencyError: If one lies elsewhere (a link in the folder that leads out of it counts as elsewhere), or the
            file is no protocol buffer.
    """
    folder = path.parent.resolve()
    found = []
    try:
        locations = sorted(set(_locations(memoryview(content), "model", 0)))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise MedsaliencyError(f"{path}: cannot be read as ONNX ({error}); export the model again") from error
    for location in locations:
        wanted = folder / location
        if "\0" in location or not wanted.resolve().is_relative_to(folder) or not wanted.is_file():
            raise MedsaliencyError(
                f"{path}: expected its weights in the file or in files of its folder, it names {location!r}; put that "
                "file into the folder, or export the model with its weights inside"
            )
        found.append(wanted)
    return found


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError("graphs within graphs without end")
    if kind == "entry":
        fields = dict(_fields(message))
        if bytes(fields.get(1, b"")) == b"location":
            yield bytes(fields.get(2, b"")).decode("utf-8")
        return
    for number, value in _fields(message):
        if number in WITHIN[kind]:
            yield from _locations(value, WITHIN[kind][number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has a length; numbers are stepped over.

    https://protobuf.dev/programming-guides/encoding
    """
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        if key >> 32:  # some readers drop the upper bits, and would see another field than is seen here
            raise ValueError("it has a field of a number beyond 32 bits")
        kind = key & 7
        if kind == 0:
            _, at = _number(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _number(message, at)
            if at + length > len(message):
                raise ValueError("it ends in the middle of a field")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError("it has a field of unknown kind")


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where the next field begins."""
    found = 0
    for place in range(10):
        byte = message[at]
        at += 1
        found |= (byte & 127) << (7 * place)
        if byte < 128:
            return found, at
    raise ValueError("it has a number without end")
