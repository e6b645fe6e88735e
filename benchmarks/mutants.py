"""Damaged and hostile image files: pydicom's, pydicom-data's and nibabel's test files, each with one change."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LARGEST = 600_000
"""Bytes of a seed file: larger ones take longer and are hurt no differently."""
EXTREME = (0, 1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
DICOM_NUMBERS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel")
NIFTI_PLACES = {"dim": (40, 16), "datatype": (70, 2), "bitpix": (72, 2), "pixdim": (76, 32), "offset": (108, 4)}
NIFTI_PLACES |= {"slope": (112, 8), "codes": (252, 4), "affine": (280, 48), "magic": (344, 4), "size": (0, 4)}


def seeds() -> dict[str, list[Path]]:
    """The test files of pydicom, pydicom-data and nibabel that are small enough, by the format that reads them."""
    places = {
        name: Path(find_spec(name).submodule_search_locations[0]) for name in ("pydicom", "data_store", "nibabel")
    }
    dicom = [*(places["pydicom"] / "data" / "test_files").rglob("*"), *places["data_store"].rglob("*")]
    nifti = [*(places["nibabel"] / "tests" / "data").rglob("*.nii*")]
    small = {
        "dicom": [f for f in dicom if f.is_file() and f.read_bytes()[128:132] == b"DICM"],
        "nifti": nifti,
    }
    return {kind: sorted(f for f in files if f.stat().st_size <= LARGEST) for kind, files in small.items()}


def mutate(data: bytes, kind: str, others: Sequence[Path], rng: np.random.Generator) -> tuple[str, bytes]:
    """One change of a file, and its name."""
    packed = data[:2] == b"\x1f\x8b"
    if packed and rng.random() < 0.7:  # inside the compressed stream, where a header can be reached
        change, inner = mutate(gzip.decompress(data), kind, others, rng)
        return f"{change}, packed", gzip.compress(inner, 1, mtime=0)
    changes: list[Callable[[bytes, np.random.Generator], bytes]] = [_flip, _cut, _remove, _repeat, _extreme]
    name = rng.choice(["splice", "header", *(change.__name__.strip("_") for change in changes)])
    if name == "splice":
        other = others[int(rng.integers(len(others)))].read_bytes()
        at = int(rng.integers(1, len(data)))
        return str(name), data[:at] + other[min(at, len(other) - 1) :]
    if name == "header":
        return str(name), (_dicom_header if kind == "dicom" else _nifti_header)(data, rng)
    return str(name), {change.__name__.strip("_"): change for change in changes}[name](data, rng)


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bits, most of them near the start, where headers are."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 16))):
        at = int(len(found) * rng.random() ** 3)
        found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(len(data) * rng.random() ** 2)
    return data[:start] + data[start + int(rng.integers(1, 400)) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(len(data) * rng.random() ** 2)
    part = data[start : start + int(rng.integers(1, 400))]
    return data[:start] + part * int(rng.integers(2, 50)) + data[start:]


def _extreme(data: bytes, rng: np.random.Generator) -> bytes:
    """A number of two or four bytes at an even place replaced by one that is rarely expected."""
    found, width = bytearray(data), int(rng.choice([2, 4]))
    at = 2 * int(len(found) * rng.random() ** 3 / 2)
    found[at : at + width] = (int(rng.choice(EXTREME)) % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(found)


def _dicom_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A number that describes the pixels, or an element's declared length, replaced."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(str(rng.choice(DICOM_NUMBERS)))
    found = bytearray(data)
    at = found.find(tag.to_bytes(4, "little")[2:] + tag.to_bytes(4, "little")[:2])
    if at < 0:
        return _extreme(data, rng)
    value = int(rng.choice(EXTREME))
    if rng.random() < 0.2:
        found[at + 6 : at + 8] = (value % 2**16).to_bytes(2, "little")
    elif bytes(found[at + 4 : at + 6]) == b"IS":
        found[at + 8 : at + 8 + found[at + 6]] = str(value)[: found[at + 6]].ljust(found[at + 6]).encode()
    else:
        found[at + 8 : at + 10] = (value % 2**16).to_bytes(2, "little")
    return bytes(found)


def _nifti_header(data: bytes, rng: np.random.Generator) -> bytes:
    place, length = NIFTI_PLACES[str(rng.choice(list(NIFTI_PLACES)))]
    found = bytearray(data)
    at, width = place + 2 * int(rng.integers(length // 2)), int(rng.choice([2, 4]))
    how = rng.random()
    if how < 0.5:
        new = (int(rng.choice(EXTREME)) % 2 ** (8 * width)).to_bytes(width, "little")
    elif how < 0.75:
        new = np.float32(rng.choice([np.nan, np.inf, -1, 0, 1e30, 1e-30])).tobytes()
    else:
        new = rng.bytes(width)
    found[at : at + len(new)] = new
    return bytes(found)
