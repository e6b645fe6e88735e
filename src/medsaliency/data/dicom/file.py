"""Opening a DICOM file: its header read as far as its pixels, and everything that can be refused before they are.

pydicom raises nearly any exception on a damaged file, and its messages and warnings may quote values, which may be a
patient's. So nothing of them is passed on from here: a fault is told in words of our own. It is also why values of
a header are taken as :mod:`~medsaliency.data.dicom.header` takes them.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from medsaliency.data.dicom.header import DicomFault, class_name, name_of, text, whole
from medsaliency.data.images import MAX_PIXELS
from medsaliency.types import MedsaliencyError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_HEADER = 256_000_000
"""Most bytes before the pixels (and of all that is inflated from a deflated file, header and pixels together)."""
LARGE_READ = 65_536
UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends with a delimiter."""
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
MASKS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage: they have pixels, and are no images."""
DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR."""


@dataclass(frozen=True)
class Pixels:
    """Where the pixels of a file are.

    Args:
        keyword: Of the element.
        vr: Value representation, as written; OW where none is written.
        length: In bytes, or ``UNDEFINED``.
        start: Of the value, in the stream.
        there: Bytes of the stream from there on.
    """

    keyword: str
    vr: str
    length: int
    start: int
    there: int


@dataclass(frozen=True)
class DicomFile:
    """A file that is open.

    Args:
        header: Everything before the pixels, with ``file_meta``.
        stream: The file, or what was inflated of it.
        syntax: Transfer syntax.
        pixels: None where there are none.
    """

    header: Dataset
    stream: BinaryIO
    syntax: str
    pixels: Pixels | None


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file inside into one line that begins with ``name``.

    Raises:
        MedsaliencyError: For every exception.
    """
    try:
        yield
    except MedsaliencyError:
        raise
    except DicomFault as fault:
        raise MedsaliencyError(f"{name}: {fault}") from fault
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # the file system's; pydicom raises some of its own
            raise MedsaliencyError(f"{name}: cannot be read ({error.strerror}); check the file") from error
        raise MedsaliencyError(
            f"{name}: expected a sound DICOM file, got one that cannot be read ({type(error).__name__}); export it "
            "again, or remove it"
        ) from error


@contextmanager
def opened(path: Path, name: str) -> Iterator[DicomFile]:
    """Open a file and read its header. Faults that are found inside the context are told with the name, too.

    Args:
        path: Of the file.
        name: For errors.

    Raises:
        MedsaliencyError: If it is no DICOM file or a damaged one, or whatever goes wrong inside the context.
    """
    with named(name):
        if not path.is_file():
            raise DicomFault("no such file; check the path")
        with path.open("rb", buffering=0) as raw, _Bounded(raw, path.stat().st_size) as stream:
            yield _parsed(stream)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do. What cannot be opened does not."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def frame_count(file: DicomFile) -> int:
    """How many frames an image has, once everything is checked that its header promises.

    Raises:
        DicomFault: If it is no image, has no frame, frames that are too large, or fewer bytes than it says.
    """
    header = file.header
    if text(header, "SOPClassUID") in MASKS:
        raise DicomFault(f"expected an image, got a mask ({class_name(header)}); name it as the mask of its image")
    if file.pixels is None:
        raise DicomFault(f"expected an image, got {class_name(header)} without pixel data; remove it")
    frames = whole(header, "NumberOfFrames", 1)
    if frames < 1:
        raise DicomFault(f"expected an image of one frame or more, got NumberOfFrames {frames}; remove it")
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    if not 1 <= rows * columns <= MAX_PIXELS:
        raise DicomFault(f"expected at most {MAX_PIXELS:,} pixels and at least one, got {columns} x {rows}; shrink it")
    grouped = header.get("PerFrameFunctionalGroupsSequence")
    if grouped is not None and len(grouped) != frames:
        raise DicomFault(f"expected functional groups of {frames} frames, got those of {len(grouped)}; export it again")
    _check_length(file, file.pixels, frames * rows * columns, frames)
    return frames


def _check_length(file: DicomFile, pixels: Pixels, values: int, frames: int) -> None:
    from pydicom.uid import UID

    if UID(file.syntax).is_encapsulated:
        needed = 8 * (frames + 1)  # the head of an item for the table of offsets and for every frame
        if pixels.length != UNDEFINED:
            raise DicomFault("expected compressed pixel data in items, got a plain value; export it again")
    else:
        if pixels.length == UNDEFINED:
            raise DicomFault("expected plain pixel data, got items of compressed data; export it again")
        bits = values * whole(file.header, "SamplesPerPixel", 1) * whole(file.header, "BitsAllocated")
        halved = text(file.header, "PhotometricInterpretation") == "YBR_FULL_422"  # two pixels share their color
        needed = math.ceil(bits * 2 / 3 / 8) if halved else math.ceil(bits / 8)
    there = min(pixels.length, pixels.there)
    if there < needed:
        raise DicomFault(f"expected {needed:,} bytes of pixel data, got {there:,}; it was cut off: export it again")


class _Bounded(io.BufferedReader):
    """A file that reserves no memory for bytes it does not have, whatever length an element claims."""

    def __init__(self, raw: io.FileIO, size: int) -> None:
        super().__init__(raw)
        self.size = size
        self.left = MAX_HEADER
        self.in_header = True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > LARGE_READ:
            left = max(0, self.size - self.tell())
            size = left if size is None or size < 0 else min(size, left)
        if self.in_header:
            self.left -= size
            if self.left < 0:
                raise DicomFault(f"expected at most {MAX_HEADER:,} bytes before the pixels, got more; remove it")
        return super().read(size)


def _parsed(stream: _Bounded) -> DicomFile:
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

    if stream.read(132)[128:] != b"DICM":
        raise DicomFault("expected a DICOM file (DICM after 128 bytes), got another; convert it, or remove it")
    meta = FileMetaDataset(read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2))
    syntax = UID(text(meta, "TransferSyntaxUID"))
    if not name_of(syntax) or syntax.type != "Transfer Syntax":
        raise DicomFault(
            f"expected a transfer syntax of the standard, got {'another' if syntax else 'none'}; convert it"
        )
    source: BinaryIO = stream
    if syntax == DeflatedExplicitVRLittleEndian:
        source = io.BytesIO(_inflated(stream))
    found: list[Pixels] = []

    def at_pixels(tag: BaseTag, vr: str | bytes | None, length: int) -> bool:
        if tag not in PIXELS:
            return False
        found.append(Pixels(PIXELS[tag], str(vr or "OW"), length, source.tell(), 0))
        return True

    header = read_dataset(source, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=at_pixels)
    header.file_meta = meta
    stream.in_header = False
    pixels = None
    if found:
        last = found[-1]  # pydicom asks before it, when it makes sure of how the file is written
        there = source.seek(0, io.SEEK_END) - last.start
        pixels = Pixels(last.keyword, last.vr, last.length, last.start, there)
    return DicomFile(header, source, str(syntax), pixels)


def _inflated(stream: _Bounded) -> bytes:
    """The rest of a deflated file, unless it is one that would fill the memory."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    whole_file = inflate.decompress(stream.read(), MAX_HEADER)
    if inflate.unconsumed_tail:
        raise DicomFault(f"expected at most {MAX_HEADER:,} bytes once it is inflated, got more; remove it")
    return whole_file
