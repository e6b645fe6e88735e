"""Lookup tables of DICOM: modality and VOI LUTs, and palettes.

They are looked up here, since pydicom's lookups wrap around where a table has more entries than the type of its values
can count, and take 16-bit palettes of big endian files for little endian. Segmented palettes are expanded by pydicom,
once it is clear that they do not fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dicom.header import DicomFault, numbers
from medsaliency.types import FloatArray

if TYPE_CHECKING:
    from pydicom import Dataset

MOST = 65_536
"""Entries that a table can have."""
BLOCK = 2**20
"""Pixels that are turned into other numbers at a time, so that a whole image is never held as 64-bit numbers."""


@dataclass(frozen=True)
class Table:
    """A lookup table (PS3.3 C.11.1.1, C.11.2.1.1).

    Args:
        first: The value that the first entry is for; smaller ones take it, too, and larger ones than it has, the last.
        entries: Little endian unsigned 16-bit integers.
        bits: Of its output.
    """

    first: int
    entries: bytes
    bits: int

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Look values up; those that are no integers (after a rescale) take the nearest entry."""
        entries = np.frombuffer(self.entries, "<u2").astype(np.float64)
        index = np.clip(np.rint(values.astype(np.float64)) - self.first, 0, len(entries) - 1)
        return np.asarray(entries[index.astype(np.int64)])


def table_of(item: Dataset, syntax: str) -> Table:
    """The table of an item of a modality or VOI LUT sequence.

    Raises:
        DicomFault: If it has fewer entries than it says.
    """
    entries, first, bits = _descriptor(item, "LUTDescriptor")
    data: Any = item.LUTData
    found: NDArray[Any] = _entries(data, entries, syntax) if isinstance(data, bytes) else np.atleast_1d(data)
    if len(found) < entries or not 1 <= bits <= 16:
        raise DicomFault(f"expected a lookup table of {entries} entries, got {len(found)} of {bits} bits")
    return Table(first, found[:entries].astype("<u2").tobytes(), bits)


def _descriptor(item: Dataset, keyword: str) -> tuple[int, int, int]:
    found = numbers(item, keyword, 3)
    if found is None:
        raise DicomFault(f"expected {keyword}, got none; export it again")
    return int(found[0]) or 65_536, int(found[1]), int(found[2])


def _entries(data: bytes, count: int, syntax: str) -> NDArray[np.uint16]:
    """Entries of a table as they are written: in two bytes, or in one."""
    from pydicom.uid import UID

    if len(data) < 2 * count:
        return np.frombuffer(data, np.uint8).astype(np.uint16)
    order = "<" if UID(syntax).is_little_endian else ">"
    return np.frombuffer(data[: 2 * count], f"{order}u2").astype(np.uint16)


def blocks(image: NDArray[Any]) -> Iterator[slice]:
    """Rows of an image that are of ``BLOCK`` pixels together, or a single one."""
    step = max(1, BLOCK // image.shape[1])
    for start in range(0, len(image), step):
        yield slice(start, start + step)


def palette_colors(stored: NDArray[Any], header: Dataset, syntax: str) -> FloatArray:
    """Colors (H, W, 3) in [0, 1] of palette indices (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6; C.7.9 where it is segmented).

    Args:
        stored: (H, W).
        header: With the palette.
        syntax: Transfer syntax of the file.

    Raises:
        DicomFault: If the palette is not as it says, or expands to more than it may.
    """
    from pydicom.pixels.processing import apply_color_lut

    count, first, bits = _descriptor(header, "RedPaletteColorLookupTableDescriptor")
    names = [f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")]
    if names[0] in header:
        tables = [_entries(bytes(header[name].value), count, syntax) for name in names]
        if min(map(len, tables)) < count:
            raise DicomFault(f"expected palettes of {count} entries, got fewer; export it again")

        def look_up(part: NDArray[Any]) -> NDArray[np.uint16]:
            index = np.clip(part.astype(np.int64) - first, 0, count - 1)
            return np.stack([table[index] for table in tables], axis=-1)
    else:
        if bits != 16:
            raise DicomFault(f"expected a segmented palette of 16 bits, got {bits}; convert it")
        for name in names:
            data = bytes(header[f"Segmented{name}"].value)
            if _expanded(_entries(data, len(data) // 2, syntax).tolist()) > MOST:
                raise DicomFault(f"expected a segmented palette that expands to at most {MOST:,} entries; convert it")

        def look_up(part: NDArray[Any]) -> NDArray[np.uint16]:
            return np.asarray(apply_color_lut(part, header)[..., :3], np.uint16)

    colors = np.empty((*stored.shape, 3), np.uint16)
    for rows in blocks(stored):
        colors[rows] = look_up(stored[rows])
    most = 255 if bits == 8 and int(colors.max()) <= 255 else 65_535
    found = np.empty(colors.shape, np.float32)
    for rows in blocks(stored):
        found[rows] = colors[rows] / np.float64(most)
    return found


def _expanded(data: Sequence[int], place: int = 0, segments: int | None = None) -> int:
    """How many entries a segmented palette expands to (PS3.3 C.7.9.2); more than ``MOST`` ends the count.

    Segments: 0 discrete (length, values), 1 linear (length, one value), 2 indirect (number of segments, where they
    begin), which no indirect one may repeat.

    Args:
        data: 8- or 16-bit entries, as they are written.
        place: Where to begin.
        segments: How many to count; None for all.
    """
    total = seen = 0
    while place + 3 <= len(data) and total <= MOST and seen != segments:
        kind, length = data[place], data[place + 1]
        if length == 0:  # no entries take time, too, and no segments mean all to pydicom
            return MOST + 1
        if kind == 2:
            if segments is not None or place + 4 > len(data):
                return MOST + 1
            total += _expanded(data, data[place + 3] << 16 | data[place + 2], length)
        else:
            total += length
        seen += 1
        place += 4 if kind == 2 else 3 if kind == 1 else 2 + length
    return total
