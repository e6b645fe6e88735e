"""MedMNIST files (Yang et al. 2023, doi:10.1038/s41597-022-01721-8): one ``.npz`` of images, labels and splits.

An image is taken from the file when it is asked for: from the disk where the archive is not compressed, and else from
its array, which is decompressed once, when the first image of its split is read.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.geometry import MAX_VALUES
from medsaliency.data.images import scale
from medsaliency.data.manifest import SPLIT_NAMES
from medsaliency.data.reading import Reading
from medsaliency.data.volumes import DEFLATE, EXPANSION, PLAIN_BYTES
from medsaliency.types import MedsaliencyError

SPLITS = ("train", "val", "test")
MAX_CLASSES = 1000
MAX_HELD = 8 * 2**30
"""Most bytes of images of one split that are held in memory."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def medmnist(path: Path, classes: tuple[str, ...] | None = None) -> Dataset:
    """Open a MedMNIST file of 2D images or 3D volumes with one label each.

    Patients are unknown, so every image stands alone; the splits are the file's own. A record's id is its split and
    number, such as ``train/00012``.

    Args:
        path: An ``.npz`` with ``train_images``, ``train_labels`` and the same of ``val`` and ``test``: images
            (N, H, W), (N, H, W, 3) or (N, D, H, W), labels (N, 1) or (N,).
        classes: Names of the labels, in their order from 0; None names them by their numbers.

    Raises:
        MedsaliencyError: If it is no such file, has several labels an image (as ChestMNIST has), or its arrays claim
            to be larger than they can be.
    """
    if not path.is_file():
        raise MedsaliencyError(f"{path}: no such MedMNIST file; check the path")
    archive = Archive(path)
    members = archive.members()
    splits = [split for split in SPLITS if f"{split}_images" in members or f"{split}_labels" in members]
    if not splits:
        raise MedsaliencyError(
            f"{path}: expected MedMNIST's arrays (train_images, train_labels, ...), got none of them; name the kind of "
            "source, or rename the arrays"
        )
    labels = {split: _labels(archive, members, split) for split in splits}
    highest = int(max(values.max() for values in labels.values()))
    if classes is None:
        classes = tuple(str(number) for number in range(highest + 1))
    if len(classes) <= highest or len(set(classes)) < len(classes):
        raise MedsaliencyError(
            f"{path}: expected {highest + 1} different names in classes, for the labels 0 to {highest}, got {classes}"
        )
    volume = {len(members[f"{split}_images"].item) for split in splits} == {3}
    records = tuple(
        Record(id=(name := f"{split}/{number:05}"), label=label, patient=name, split=SPLIT_NAMES[split], image=path)
        for split in splits
        for number, label in enumerate(labels[split].tolist())
    )
    return Dataset(path.stem, tuple(classes), records, archive.read, Reading(volume=volume))


@dataclass(frozen=True)
class Member:
    """An array of the archive: its numbers begin ``start`` bytes into what is compressed as ``info`` says."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool
    start: int

    @property
    def item(self) -> tuple[int, ...]:
        """Shape of one image, without color."""
        return self.shape[1:3] if self.color else self.shape[1:]

    @property
    def color(self) -> bool:
        """Whether each value is (red, green, blue)."""
        return len(self.shape) == 4 and self.shape[3] == 3


class Archive:
    """An ``.npz`` file, and the arrays of it that were decompressed.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[str, NDArray[Any]] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Archive], tuple[Path]]:
        return Archive, (self.path,)

    def members(self) -> dict[str, Member]:
        """The arrays by name, from their headers.

        Raises:
            MedsaliencyError: If it is no archive of arrays, or one claims a size that it cannot have.
        """
        found: dict[str, Member] = {}
        with self._opened() as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if not re.fullmatch(rf"({'|'.join(SPLITS)})_(images|labels)", name):
                    continue
                if name in found:
                    raise MedsaliencyError(f"{self.path}: expected {name} once, got it twice; download the file again")
                with archive.open(info) as stream:
                    found[name] = self._member(stream, info, name)
        return found

    def read(self, record: Record) -> Raw:
        """Read one image. Eight-bit values are divided by 255, others scaled by the image's own range.

        Raises:
            MedsaliencyError: If the file is damaged or gone, or an image is not finite.
        """
        split, _, number = record.id.partition("/")
        with self._lock:
            if split not in self._held:
                try:
                    self._held[split] = self._images(split)
                except MedsaliencyError as error:
                    raise MedsaliencyError(f"{record.id}: {error}") from error
            images = self._held[split]
        image = np.asarray(images[int(number)])
        if not np.isfinite(image).all():
            raise MedsaliencyError(f"{record.id}: expected finite pixel values, got NaN or infinity; remove the image")
        pixels = image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else scale(image)
        color = images.ndim == 4 and images.shape[3] == 3
        return Raw(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) if color else pixels[None])

    def labels(self, member: Member) -> NDArray[Any]:
        """The numbers of an array of labels."""
        with self._opened() as archive:
            return _decompressed(archive, member)

    def _images(self, split: str) -> NDArray[Any]:
        member = self.members().get(f"{split}_images")
        if member is None:
            raise MedsaliencyError(f"{self.path}: expected {split}_images, got none; the file was changed")
        order = "F" if member.columns_first else "C"
        with self._opened() as archive:
            if member.info.compress_type != zipfile.ZIP_STORED:
                size = math.prod(member.shape) * member.dtype.itemsize
                if size > MAX_HELD:
                    raise MedsaliencyError(
                        f"{self.path}: expected at most {MAX_HELD:,} bytes of compressed images a split, got {size:,}; "
                        "save the arrays uncompressed (numpy.savez), so that images are read one by one"
                    )
                return _decompressed(archive, member)
            with self.path.open("rb") as file:  # where its bytes begin, only the file says (APPNOTE.TXT 4.3.7)
                file.seek(member.info.header_offset + 26)
                lengths = struct.unpack("<HH", file.read(4))
                offset = file.tell() + sum(lengths) + member.start
            return np.memmap(self.path, member.dtype, "r", offset, member.shape, order)  # type: ignore[call-overload, no-any-return]

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except MedsaliencyError:
            raise
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, LookupError, RuntimeError) as error:
            raise self._damaged(error) from error
        except (TypeError, ArithmeticError, MemoryError, SyntaxError, struct.error) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> MedsaliencyError:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        return MedsaliencyError(f"{self.path}: cannot be read as an .npz of arrays ({said}); download it again")

    def _member(self, stream: IO[bytes], info: zipfile.ZipInfo, name: str) -> Member:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MedsaliencyError(f"{self.path}: expected {name} as numpy saves it, got another way; save it again")
        shape, columns_first, dtype = _HEADERS[version](stream)
        images = name.endswith("images")
        member = Member(info, shape, dtype, columns_first, stream.tell())
        if dtype.kind not in ("uif" if images else "ui") or not (
            3 <= len(shape) <= 4 if images else 1 <= len(shape) <= 2
        ):
            raise MedsaliencyError(
                f"{self.path}: expected {name} as an array of numbers, got {dtype} of shape {shape}; download it again"
            )
        size = math.prod(shape) * dtype.itemsize
        image = math.prod(shape[1:])
        if min(shape) < 1 or image > MAX_VALUES or member.start + size != info.file_size:
            raise MedsaliencyError(
                f"{self.path}: expected {name} of {info.file_size:,} bytes as the archive says, got an array of shape "
                f"{shape} ({size:,} bytes); download it again"
            )
        packed = info.compress_type == zipfile.ZIP_DEFLATED
        most = max(PLAIN_BYTES, EXPANSION * info.compress_size) if packed else info.compress_size
        if info.file_size > min(most, DEFLATE * info.compress_size) or info.compress_size > self.path.stat().st_size:
            raise MedsaliencyError(
                f"{self.path}: expected {name} to grow at most {EXPANSION}-fold, got {info.compress_size:,} bytes for "
                f"{info.file_size:,}; if you trust the file, save it uncompressed (numpy.savez)"
            )
        return member


def _decompressed(archive: zipfile.ZipFile, member: Member) -> NDArray[Any]:
    """All of an array, held once; the archive's checksum is compared at its end."""
    held = np.empty(math.prod(member.shape) * member.dtype.itemsize, np.uint8)
    with archive.open(member.info) as stream:
        stream.read(member.start)
        filled = 0
        while filled < held.size and (got := stream.readinto(held.data[filled : filled + 2**20])):  # type: ignore[attr-defined]
            filled += got
        if filled < held.size or stream.read(1):
            raise ValueError(f"{filled:,} of {held.size:,} bytes")
    return held.view(member.dtype).reshape(member.shape, order="F" if member.columns_first else "C")


def _labels(archive: Archive, members: dict[str, Member], split: str) -> NDArray[np.int64]:
    """(N,) labels of a split."""
    images, labels = members.get(f"{split}_images"), members.get(f"{split}_labels")
    if images is None or labels is None or images.shape[0] != labels.shape[0]:
        got = [None if member is None else member.shape[0] for member in (images, labels)]
        raise MedsaliencyError(
            f"{archive.path}: expected as many {split}_images as {split}_labels, got {got[0]} and {got[1]}; download "
            "it again"
        )
    if len(labels.shape) == 2 and labels.shape[1] != 1:
        raise MedsaliencyError(
            f"{archive.path}: expected one label an image, got {labels.shape[1]} (images of several findings at once, "
            "which are no classes); write a manifest with the finding of interest as label"
        )
    values = archive.labels(labels).ravel()
    if values.min() < 0 or values.max() >= MAX_CLASSES:
        raise MedsaliencyError(
            f"{archive.path}: expected labels from 0 to {MAX_CLASSES - 1}, got {values.min()} to {values.max()}"
        )
    return values.astype(np.int64)
