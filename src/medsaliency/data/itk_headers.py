"""The text at the start of a MetaImage or NRRD file, read and checked before any library opens what it names.

Both may keep their voxels in another file, whose name stands in the text. The libraries follow any such name, out of
the folder too, and trust the numbers around it; so the text is read strictly here, and what is not understood refused.
The formats: https://itk.org/Wiki/ITK/MetaIO/Documentation (Reference) and https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from medsaliency.types import MedsaliencyError

MAX_HEADER = 2**20
META_LINE = 400
"""MetaIO reads lines into 500 characters; what it made of the rest of a longer one would not be what is seen here."""
NRRD_LINE = 2**14
CHUNK = 2**20
"""Bytes that are taken, or decompressed, at a time."""

_META = (
    dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1)
    | dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2)
    | dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4)
    | dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8)
)
_NRRD = (
    dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1)
    | dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2)
    | dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2)
    | dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4)
    | dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8)
    | dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8)
    | dict.fromkeys(("uint64", "uint64_t", "double"), 8)
)
_PATIENT_SPACES = ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps")
_SPACED = ("ElementSpacing", "ElementSize")
_AT = ("Offset", "Position", "Origin", "CenterOfRotation")
_PLACED = ("TransformMatrix", "Rotation", "Orientation")
_KEY = r"[0-9a-fA-F]{4}\|[0-9a-fA-F]{4}|\w[\w .-]*"
"""Of a MetaImage field; the first form is what ITK makes of an element of DICOM, which may hold anything."""
_REAL = r"[-+]?[0-9.]{1,30}(?:[eE][-+]?[0-9]{1,3})?"
_SEVERAL = ("LIST", "SKIPLIST", "-")
"""What stands for a list of files, or for what is typed."""
_MILLIMETERS = {"mm": 1.0, "": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "µm": 0.001, "micron": 0.001}


@dataclass(frozen=True)
class Header:
    """What a file says of its voxels.

    Args:
        sizes: Along each axis, the one that varies fastest first, that of color or vectors with them.
        size: Bytes of all voxels.
        data: The file that holds them.
        start: Where in it they start.
        length: Bytes from there on.
        packed: Whether they are compressed there, by zlib or gzip.
        spaced: Whether distances are given.
        placed: Whether a place in the patient is given.
        unit: Millimeters of one unit of length.
    """

    sizes: tuple[int, ...]
    size: int
    data: Path
    start: int
    length: int
    packed: bool
    spaced: bool
    placed: bool
    unit: float = 1.0


def read_header(path: Path, name: str) -> tuple[str, Header]:
    """SimpleITK's name of the reader for the file, and its header.

    Raises:
        MedsaliencyError: If the header is not understood, or names data that are a list of files or lie outside of the
            file's own folder.
    """
    try:
        with path.open("rb") as file:
            start = file.read(MAX_HEADER)
    except OSError as error:
        raise MedsaliencyError(f"{name}: cannot be read ({error.strerror}); check the file") from error
    if start.startswith(b"NRRD"):
        return "NrrdImageIO", _nrrd(path, start, name)
    return "MetaImageIO", _meta(path, start, name)


def check_packed(header: Header, name: str) -> None:
    """Make sure that compressed voxels are sound: SimpleITK reads as many as it can, and does not say so.

    Raises:
        MedsaliencyError: If they are damaged, fewer or more than the header says, or their checksum is another.
    """
    inflate, count, left = zlib.decompressobj(zlib.MAX_WBITS | 32), 0, header.length
    try:
        with header.data.open("rb") as file:
            file.seek(header.start)
            while not inflate.eof and count <= header.size and (packed := file.read(min(CHUNK, left))):
                left -= len(packed)
                while packed and count <= header.size:
                    count += len(inflate.decompress(packed, CHUNK))
                    packed = inflate.unconsumed_tail
    except (OSError, zlib.error) as error:
        raise MedsaliencyError(f"{name}: expected sound compressed voxels, got damaged ones; copy it again") from error
    if not inflate.eof or count != header.size:
        found = "more" if count > header.size else f"{count:,}"
        raise MedsaliencyError(
            f"{name}: expected {header.size:,} bytes of compressed voxels, got {found}; "
            "it is cut off or damaged, copy it again"
        )


def _meta(path: Path, start: bytes, name: str) -> Header:
    found: dict[str, str] = {}
    end = 0
    for number, (line, end) in enumerate(_lines(start, META_LINE), 1):  # noqa: B007  # the last one counts
        key, _, value = (part.strip() for part in line.partition("="))
        # Without a value, MetaIO takes the next line for it; and a colon separates for MetaIO as = does.
        if not value or not re.fullmatch(_KEY, key) or key in found:
            raise _unknown(name, number, "MetaImage")
        found[key] = value
        if key == "ElementDataFile":
            break
    else:
        raise MedsaliencyError(f"{name}: expected a MetaImage header with ElementDataFile, got none; replace the file")
    if found.get("ObjectType", "Image") != "Image":
        raise MedsaliencyError(f"{name}: expected a MetaImage of an image, got another ObjectType; convert it")
    dimensions = _whole(found.get("NDims", ""), 1, name, "NDims")[0]
    sizes = _whole(found.get("DimSize", ""), dimensions if 1 < dimensions < 5 else 0, name, "DimSize")
    for key, count in [(key, dimensions) for key in _SPACED + _AT] + [(key, dimensions**2) for key in _PLACED]:
        if key in found and not re.fullmatch(rf"({_REAL}\s+){{{count - 1}}}{_REAL}", found[key]):
            raise MedsaliencyError(f"{name}: expected {key} with {count} numbers, got something else; correct it")
    channels = _whole(found.get("ElementNumberOfChannels", "1"), 1, name, "ElementNumberOfChannels")[0]
    width = _META.get(found.get("ElementType", ""))
    if width is None or channels < 1:
        raise MedsaliencyError(
            f"{name}: expected an ElementType of plain numbers in one channel or more, got another; convert the file"
        )
    packed, binary = (_flag(found, key, other, name) for key, other in (("CompressedData", "F"), ("BinaryData", "T")))
    if not binary:  # MetaIO makes anything of text, and does not say so
        raise MedsaliencyError(f"{name}: expected binary voxels, got some written out; save the file in binary form")
    data, begin = _data(path, found["ElementDataFile"], name, "LOCAL", end)
    if found.get("HeaderSize", "-1") != "-1":
        begin = _whole(found["HeaderSize"], 1, name, "HeaderSize")[0] or begin
    length = max(0, data.stat().st_size - begin)
    if packed:  # without it, MetaIO takes the header for voxels, too
        length = min(length, _whole(found.get("CompressedDataSize", ""), 1, name, "CompressedDataSize")[0])
    return Header(
        sizes=(channels, *sizes),
        size=channels * math.prod(sizes) * width,
        data=data,
        start=begin,
        length=length,
        packed=packed,
        spaced=any(key in found for key in _SPACED),
        placed=any(key in found for key in _PLACED),
    )


def _nrrd(path: Path, start: bytes, name: str) -> Header:
    found: dict[str, str] = {}
    end = 0
    for number, (line, end) in enumerate(_lines(start, NRRD_LINE), 1):  # noqa: B007  # the last one counts
        if not line:
            break
        if (number == 1 and re.fullmatch(r"NRRD000[1-6]", line)) or line.startswith("#"):
            continue
        key, sign, value = (part.strip() for part in line.partition(":"))
        key = "".join(key.lower().split())
        if not sign or not key:
            raise _unknown(name, number, "NRRD")
        if value.startswith("=") and key != "datafile":
            continue  # a note of whoever wrote it, and no field
        if key in found:
            raise _unknown(name, number, "NRRD")
        found[key] = value
    else:
        if len(start) == MAX_HEADER:
            raise MedsaliencyError(f"{name}: expected a header of less than {MAX_HEADER:,} bytes, got more; shorten it")
    dimensions = _whole(found.get("dimension", ""), 1, name, "dimension")[0]
    sizes = _whole(found.get("sizes", ""), dimensions if 1 < dimensions < 6 else 0, name, "sizes")
    width = _NRRD.get(" ".join(found.get("type", "").lower().split()))
    encoding = found.get("encoding", "").lower()
    plain, text = encoding == "raw", encoding in ("ascii", "text", "txt", "hex")
    if width is None or not (plain or text or encoding in ("gzip", "gz")):
        raise MedsaliencyError(
            f"{name}: expected NRRD numbers, raw, by gzip or as text, got another "
            f"{'type' if width is None else 'encoding'}; convert the file"
        )
    if any(_whole(found.get(key, "0"), 1, name, key)[0] for key in ("lineskip", "byteskip") if not plain):
        raise MedsaliencyError(f"{name}: expected compressed NRRD numbers without a skip, got one; convert the file")
    data, begin = _data(path, found.get("datafile", ""), name, "", end)
    units = set(re.findall(r'"([^"]*)"', found.get("spaceunits", found.get("units", ""))))
    unit = _MILLIMETERS.get(next(iter(units), "").strip().lower()) if len(units) < 2 else None
    if unit is None:
        raise MedsaliencyError(f"{name}: expected one known unit of length for all axes, got others; convert it")
    return Header(
        sizes=sizes,
        size=math.prod(sizes) * (2 if text else width) - text,
        data=data,
        start=begin,
        length=max(0, data.stat().st_size - begin),
        packed=not (plain or text),
        spaced=bool({"spacings", "spacedirections"} & found.keys()),
        placed=found.get("space", "").strip('"').lower() in _PATIENT_SPACES and "spacedirections" in found,
        unit=unit,
    )


def _lines(start: bytes, longest: int) -> Iterator[tuple[str, int]]:
    """The lines of a header and where each ends; one that is no text, or too long, comes as what no field matches."""
    end = 0
    for raw in start.split(b"\n"):
        line, end = raw.removesuffix(b"\r"), end + len(raw) + 1
        if len(line) > longest or b"\r" in line or b"\0" in line:
            yield "\N{REPLACEMENT CHARACTER}", end
        else:
            yield line.decode("utf-8", "replace").strip(), end


def _whole(text: str, count: int, name: str, field: str) -> tuple[int, ...]:
    """``count`` whole numbers from a field."""
    parts = text.split()
    if len(parts) != count or not all(re.fullmatch(r"[0-9]{1,12}", part) for part in parts) or not count:
        wanted = f"{count} whole number{'s' * (count != 1)}" if count else "2 to 4 axes"
        raise MedsaliencyError(f"{name}: expected {field} with {wanted}, got something else; correct the header")
    return tuple(int(part) for part in parts)


def _flag(found: dict[str, str], key: str, other: str, name: str) -> bool:
    """Whether a field is true, or ``other`` where it is not given."""
    value = found.get(key, other).upper()
    if value not in ("TRUE", "FALSE", "T", "F", "1", "0"):
        raise MedsaliencyError(f"{name}: expected {key} as True or False, got something else; correct the header")
    return value[0] in "T1"


def _data(path: Path, value: str, name: str, own: str, end: int) -> tuple[Path, int]:
    """Where voxels are: in the file ``value`` from its start, or where it is ``own``, after the header's ``end``."""
    if value.upper() == own:
        return path, end
    if not value or not value.isprintable() or "%" in value or value.split()[0].upper() in _SEVERAL:
        raise MedsaliencyError(f"{name}: expected voxels in one file, got a list or a pattern of files; save it as one")
    folder = path.parent.resolve()
    outside = "/" in value or "\\" in value or PureWindowsPath(value).drive
    try:
        data = (folder / value).resolve()
        if outside or not data.is_relative_to(folder):
            raise MedsaliencyError(
                f"{name}: expected voxels in a file beside it, got one elsewhere; put the file there and name it so"
            )
        if not data.is_file():
            raise FileNotFoundError(data)
        return data, 0
    except (OSError, RuntimeError, ValueError) as error:
        raise MedsaliencyError(
            f"{name}: expected voxels in the file beside it that its header names, got none; put it there"
        ) from error


def _unknown(name: str, number: int, kind: str) -> MedsaliencyError:
    """Of a line by its number alone: a header made from DICOM holds names."""
    return MedsaliencyError(
        f"{name}: expected a {kind} header of one field a line and each once, got another line {number}; convert or "
        "replace the file"
    )
