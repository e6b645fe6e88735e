"""What a compressed frame says of its own size, looked at before a decoder reserves memory for it.

Decoders take the size from the compressed data and not from the DICOM header; a few bytes of them can ask for any
amount of memory. And a frame of another size than the header says is no right frame anyway.
"""

from __future__ import annotations

import struct

from medsaliency.data.dicom.header import DicomFault

SCAN = 0xDA
TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)})
"""Segments before a scan: tables, restart interval, JPEG-LS parameters, comment, application data."""
FRAMES = {
    "1.2.840.10008.1.2.4.50": frozenset({0xC0}),
    "1.2.840.10008.1.2.4.51": frozenset({0xC0, 0xC1}),
    "1.2.840.10008.1.2.4.57": frozenset({0xC3}),
    "1.2.840.10008.1.2.4.70": frozenset({0xC3}),
    "1.2.840.10008.1.2.4.80": frozenset({0xF7}),
    "1.2.840.10008.1.2.4.81": frozenset({0xF7}),
}
"""The markers of frames that a transfer syntax has: baseline, extended, lossless (two), JPEG-LS (two)."""
WHOLE = (0xC3, 0xF7)
"""Frames of which no component has fewer samples than the image has pixels."""
MAX_TILES = 16_384
"""Most tiles of a JPEG 2000 frame: decoders keep some kilobytes for each."""


def checked(encoded: bytes, syntax: str, rows: int, columns: int, samples: int, bits: int) -> bytes:
    """A frame that is as large as the header says, without the boxes that some writers put around JPEG 2000.

    Args:
        encoded: The compressed frame.
        syntax: Its transfer syntax. Others than those of JPEG, JPEG-LS and JPEG 2000 carry no size of their own.
        rows: Of the header, as the next two.
        columns: Likewise.
        samples: Likewise, of a pixel.
        bits: Likewise, allocated for a sample.

    Raises:
        DicomFault: If it is not as large, or does not say.
    """
    from pydicom.uid import JPEG2000TransferSyntaxes

    try:
        if syntax in JPEG2000TransferSyntaxes:
            encoded = encoded[_without_boxes(encoded) :]
            found = _jpeg_2000(encoded)
        elif syntax in FRAMES:
            if encoded[:2] != b"\xff\xd8":
                raise DicomFault("expected a JPEG frame, got something else; export it again")
            found = _jpeg(encoded, FRAMES[syntax], bits)
        else:
            return encoded
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise DicomFault("expected a compressed frame, got a damaged one; export it again") from error
    if found != (rows, columns, samples):
        raise DicomFault(
            f"expected a compressed frame of {columns} x {rows} pixels of {samples} samples as the header says, got "
            f"{found[1]} x {found[0]} of {found[2]}; export it again"
        )
    return encoded


def _jpeg(encoded: bytes, frames: frozenset[int], bits: int) -> tuple[int, int, int]:
    """Rows, columns and components of the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2).

    Every segment up to the first scan is looked at: gdcm ends the whole process where one of them makes it doubt.
    """
    found = None
    place = 2
    while encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        length = struct.unpack_from(">H", encoded, place + 2)[0]
        segment = encoded[place + 4 : place + 2 + length]
        if len(segment) != length - 2 or (marker in frames and found) or not _sound(marker, segment):
            break
        if marker in frames:
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
            if not 2 <= precision <= min(bits, 16) or len(segment) != 6 + 3 * components:
                break
            if marker in WHOLE and any(sampling != 0x11 for sampling in segment[7::3]):
                break
            found = rows, columns, components
        elif marker == SCAN:
            if not found or not 1 <= segment[0] <= found[2] or len(segment) != 4 + 2 * segment[0]:
                break
            return found
        elif marker not in TABLES:
            break
        place += 2 + length
    raise DicomFault("expected a JPEG frame of its transfer syntax, got another or a damaged one; export it again")


def _sound(marker: int, segment: bytes) -> bool:
    """Whether what an application segment says of versions and color is known."""
    if marker == 0xE0 and segment[:5] == b"JFIF\0":
        return len(segment) < 14 or segment[5] == 1  # decoders take a short one for nothing
    if marker == 0xEE and segment[:5] == b"Adobe":
        return len(segment) < 12 or segment[11] <= 2
    return True


def _without_boxes(encoded: bytes) -> int:
    """Where the codestream begins in a frame that DICOM does not allow: one with the boxes of a file around it."""
    if encoded[4:8] != b"jP  ":
        return 0
    place = 0
    while encoded[place + 4 : place + 8] != b"jp2c":
        length = struct.unpack_from(">I", encoded, place)[0]
        if length < 8:
            raise DicomFault("expected a JPEG 2000 frame, got a damaged one; export it again")
        place += length
    return place + 8


def _jpeg_2000(encoded: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of the image and tile size segment (ISO/IEC 15444-1 A.5.1)."""
    if encoded[:4] != b"\xff\x4f\xff\x51":
        raise DicomFault("expected a JPEG 2000 frame, got something else; export it again")
    x, y, left, top, tile_x, tile_y = struct.unpack_from(">6I", encoded, 8)
    components = struct.unpack_from(">H", encoded, 40)[0]
    if not (x > left and y > top) or -(-x // tile_x) * -(-y // tile_y) > MAX_TILES:
        raise DicomFault(
            f"expected a JPEG 2000 frame of at most {MAX_TILES:,} tiles, got a damaged one; export it again"
        )
    return y - top, x - left, components
