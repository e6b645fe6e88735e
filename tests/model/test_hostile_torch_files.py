"""State dicts from strangers (``.pt``) are read or refused without anything in them being looked up or run."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medsaliency.model.checkpoint import load_state_dict
from medsaliency.model.torch_files import LONGEST_PICKLE
from medsaliency.model.zoo import build

from .hostile import Harmful, assert_refused, zipped


def archive_of(path: Path, **parts: Any) -> None:
    """What torch writes, with ``data.pkl`` and other entries replaced; ``compress`` and ``copies`` say how."""
    torch.save({"weight": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    kind = zipfile.ZIP_DEFLATED if parts.pop("compress", False) else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in (entries | {name.replace("__", "/"): value for name, value in parts.items()}).items():
            archive.writestr(f"archive/{name}", content)


def claiming(numbers: int, size: tuple[int, ...], key: object = "0") -> bytes:
    """A pickle of a state dict whose one tensor claims so much."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return ("storage", torch.FloatStorage, key, "cpu", numbers) if isinstance(obj, Storage) else None

    class Tensor:
        def __reduce__(self) -> tuple[object, ...]:
            stride = tuple(int(np.prod(size[axis + 1 :], dtype=object)) for axis in range(len(size)))
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, size, stride, False, {})

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({"weight": Tensor()})
    return stream.getvalue()


def colliding(count: int, value: bytes) -> bytes:
    """Integers that all have the hash 0, each followed by ``value``, as a pickle has them."""
    return b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + value for k in range(1, count))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: archive_of(path, **{"data.pkl": claiming(2**40, (2**40,))}),
        lambda path: archive_of(path, **{"data.pkl": claiming(4, (2**40, 2**40))}),
        lambda path: archive_of(path, **{"data.pkl": claiming(4, (5,))}),
        lambda path: archive_of(path, **{"data.pkl": claiming(4, (-4,))}),
        lambda path: archive_of(path, **{"data.pkl": claiming(4, (4,), "../../../etc/passwd")}),
        lambda path: archive_of(path, data__0=b"\0" * 100_000_000, compress=True),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x02" + b"}" * (LONGEST_PICKLE + 1)}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"."}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"."}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x02" + b"]" + b"(" * 100_000 + b"l" * 100_000 + b"."}),
        lambda path: archive_of(path, **{f"file{i}": b"" for i in range(20_001)}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x02}(" + colliding(150_000, b"K\x01") + b"u."}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x02(" + colliding(150_000, b"K\x01") + b"d."}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x04(" + colliding(150_000, b"") + b"\x91."}),
        lambda path: archive_of(path, **{"data.pkl": b"\x80\x02N" + b"p99999999999999999999\n."}),
        lambda path: archive_of(path, byteorder=b"big"),
        lambda path: zipped(path),
        lambda path: path.write_bytes(b"PK\5\6" + b"\xff" * 18),
    ],
    ids=lambda spoil: "",
)
def test_a_state_dict_that_lies_is_refused(folder: Path, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "weights.pt"
    spoil(path)
    with assert_refused(folder, str(path)):
        load_state_dict(path, architecture="small_cnn", classes=["a", "b"])


def test_storages_of_the_old_layout_that_claim_more_than_the_file_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for count in (2**60, -1, 5):
        path.write_bytes(content[:-24] + struct.pack("<q", count) + content[-16:])
        with assert_refused(folder, str(path), "it is cut off"):
            load_state_dict(path, architecture="small_cnn", classes=["a", "b"])


def test_what_else_is_in_a_file_of_weights_is_not_made(tmp_path: Path) -> None:
    original = build("small_cnn", classes=2, seed=1)
    content = {"state_dict": original.state_dict(), "trainer": Harmful(tmp_path / "harm"), "epoch": np.float64(3)}
    torch.save(content, tmp_path / "weights.pt")
    loaded = load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b"])
    assert torch.equal(loaded.module.state_dict()["head.2.bias"], original.state_dict()["head.2.bias"])
    assert not (tmp_path / "harm").exists()
