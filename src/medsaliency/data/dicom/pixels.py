"""From the stored pixels of a DICOM frame to what is shown of them, in [0, 1].

The order is the standard's (PS3.3 C.7.6.3, C.11; PS3.4 N.2): stored values, modality LUT or rescale, VOI LUT or window,
inversion; color is taken to RGB. pydicom and its plug-ins decode, and convert color.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dicom.codestream import checked
from medsaliency.data.dicom.file import DicomFile
from medsaliency.data.dicom.header import DicomFault, group, numbers, syntax_name, text, whole
from medsaliency.data.dicom.tables import Table, blocks, palette_colors, table_of
from medsaliency.data.reading import Window
from medsaliency.data.volumes import EXPANSION, PLAIN_BYTES
from medsaliency.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from pydicom import Dataset

OF_GDCM = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes of lossless JPEG and of JPEG-LS."""
PLUGINS = {
    **dict.fromkeys(("JPEGBaseline8Bit", "JPEGExtended12Bit", "JPEG2000Lossless", "JPEG2000"), "pillow"),
    **dict.fromkeys(("JPEGLossless", "JPEGLosslessSV1", "JPEGLSLossless", "JPEGLSNearLossless"), "gdcm"),
    **dict.fromkeys(("HTJ2KLossless", "HTJ2KLosslessRPCL", "HTJ2K"), "pylibjpeg"),
    "RLELossless": "pydicom",
}
"""pydicom's plug-in for a compressed transfer syntax: one for each, and no other where it fails, so that pixels do not
depend on what is installed. Of those that can, the one that survives damaged frames: gdcm ends the process over some of
JPEG and JPEG 2000, pyjpegls takes half a minute over some of JPEG-LS."""
WORKING_BYTES = 4
"""What decoders hold of a sample, of however few bits."""
GRAY, COLOR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class FileWindow:
    """A window of the file (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    center: float
    width: float
    function: str


@dataclass(frozen=True)
class Frame:
    """A decoded frame, held in the few bytes it was stored in.

    Args:
        stored: (H, W) gray, or (H, W, 3) color.
        units: Turns stored numbers into those after the modality LUT, or color into [0, 1]; each by itself.
        padding: (H, W), True where there is nothing (pixel padding); None where everything is image.
        voi: How the file wants gray shown; None where it does not say.
        inverted: Whether the lowest value is white.
        ends: Lowest and highest of gray that is no padding; None where all is, and for color.
    """

    stored: NDArray[Any]
    units: Callable[[NDArray[Any]], NDArray[Any]]
    padding: BoolArray | None = None
    voi: FileWindow | Table | None = None
    inverted: bool = False
    ends: tuple[float, float] | None = None

    @property
    def color(self) -> bool:
        """Whether it has three channels."""
        return self.stored.ndim == 3

    def values(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Rows, and their numbers as ``units`` makes them, a part at a time; 0 where there is padding."""
        for rows in blocks(self.stored):
            values = self.units(self.stored[rows])
            if self.padding is not None:
                values = np.where(self.padding[rows], 0.0, values)  # of any value, NaN too
            yield rows, values

    def marked(self) -> BoolArray:
        """(H, W), True where it is above zero in any channel."""
        found = np.zeros(self.stored.shape[:2], np.bool_)
        for rows, values in self.values():
            found[rows] = (values > 0).any(axis=-1) if self.color else values > 0
        return found


def frames(file: DicomFile, indices: Sequence[int], count: int) -> Iterator[Frame]:
    """Decode frames one after another, and no others.

    Overlays (groups 60xx) are not drawn, and those in unused bits of the pixels are masked off. Supplemental colors of
    gray images are left out: the gray is what was measured.

    Args:
        file: Checked by :func:`~medsaliency.data.dicom.file.frame_count`.
        indices: From 0, ascending.
        count: Frames of the file.

    Raises:
        DicomFault: If the pixels are of a kind, or compressed in a way, that cannot be read, or damaged, or if a few
            bytes of them would become many.
    """
    photometric = text(file.header, "PhotometricInterpretation")
    if photometric not in (*GRAY, *COLOR, "PALETTE COLOR"):
        raise DicomFault(
            "expected gray, RGB, YBR or palette pixels, got another photometric interpretation; convert it"
        )
    samples = whole(file.header, "SamplesPerPixel", 1)
    if samples != (3 if photometric in COLOR else 1):
        raise DicomFault(f"expected pixels of {photometric} with their samples, got {samples} a pixel; export it again")
    for index, stored in zip(indices, _decoded(file, indices, count), strict=True):
        if photometric == "PALETTE COLOR":
            yield Frame(palette_colors(stored, file.header, file.syntax), np.asarray)
        elif photometric in COLOR:
            yield _color(stored, file.header)
        else:
            yield _gray(stored, file, index, photometric)


def shown(found: Sequence[Frame], window: Window | None) -> FloatArray:
    """Frames as they are shown, all with one window.

    Several frames (a volume) keep their intensities comparable: the file's own window, or VOI LUT, is taken where it
    is the same for all, and else the range of all of them together.

    Args:
        found: Of one size and one kind.
        window: (center, width) in the units after the modality LUT that becomes [0, 1]; color has none.

    Returns:
        (C, H, W) for one frame, (C, D, H, W) for several.
    """
    channels = 3 if found[0].color else 1
    out = np.empty((channels, len(found), *found[0].stored.shape[:2]), np.float32)
    voi = found[0].voi if all(frame.voi == found[0].voi for frame in found) else None
    low, high = (0.0, 1.0) if found[0].color else _range(found)
    for i, frame in enumerate(found):
        for rows, values in frame.values():
            if frame.color:
                out[:, i, rows] = np.clip(values, 0, 1).transpose(2, 0, 1)
                continue
            if window is not None:
                gray = (values - (window[0] - window[1] / 2)) / window[1]
            elif isinstance(voi, Table):
                gray = voi(values) / (2**voi.bits - 1)
            elif isinstance(voi, FileWindow):
                gray = windowed(values, voi)
            else:
                gray = (values - low) / (high - low) if high > low else np.zeros_like(values)
            gray = np.clip(gray, 0, 1)
            gray = 1 - gray if frame.inverted else gray
            out[0, i, rows] = gray if frame.padding is None else np.where(frame.padding[rows], 0, gray)
    return out[:, 0] if len(found) == 1 else out


def windowed(values: NDArray[np.float64], window: FileWindow) -> NDArray[np.float64]:
    """Values through a window of the file, to [0, 1] (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1, C.11.2.1.3.2)."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):  # far below the center, 1 / (1 + infinity) is 0 as it should be
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _range(found: Sequence[Frame]) -> tuple[float, float]:
    """Lowest and highest value that is no padding; (0, 0) where everything is."""
    ends = [end for frame in found for end in frame.ends or ()]
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def _decoded(file: DicomFile, indices: Sequence[int], count: int) -> Iterator[NDArray[Any]]:
    """Stored values (H, W), or RGB (H, W, 3)."""
    from pydicom.encaps import encapsulate, generate_frames, get_frame
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import as_pixel_options

    header, pixels = file.header, file.pixels
    assert pixels is not None  # noqa: S101  # checked with the number of frames
    try:
        decoder = get_decoder(file.syntax)
    except NotImplementedError as error:
        raise DicomFault(f"expected pixels that pydicom decodes, got {syntax_name(file.syntax)}; convert it") from error
    options = as_pixel_options(header, pixel_keyword=pixels.keyword, pixel_vr=pixels.vr, number_of_frames=count)
    rows, columns, samples = options["rows"], options["columns"], options["samples_per_pixel"]
    file.stream.seek(pixels.start)
    if decoder.is_native:
        for index in indices:
            file.stream.seek(pixels.start)
            yield _decode(decoder, file, options, file.stream, index)
        return
    size = rows * columns * samples
    _refuse_bomb(size * len(indices), options["bits_allocated"], pixels.there)
    offsets = options.pop("extended_offsets", None)
    options["number_of_frames"] = 1
    if len(indices) == 1:
        encoded = get_frame(file.stream, indices[0], number_of_frames=count, extended_offsets=offsets)
        encodings = iter([encoded])
    else:
        every = generate_frames(file.stream, number_of_frames=count, extended_offsets=offsets)
        wanted = set(indices)
        encodings = (encoded for index, encoded in enumerate(every) if index in wanted)
    for _, encoded in zip(indices, encodings, strict=False):
        _refuse_bomb(size, options["bits_allocated"], len(encoded))
        frame = checked(encoded, file.syntax, rows, columns, samples, _most_bits(file.syntax, options))
        yield _decode(decoder, file, options, encapsulate([frame]), 0)


def _most_bits(syntax: str, options: dict[str, Any]) -> int:
    """Most bits that a compressed sample may have: gdcm ends the process over one of 8 where fewer are stored."""
    allocated = int(options["bits_allocated"])
    return min(allocated, int(options["bits_stored"])) if syntax in OF_GDCM and allocated == 8 else allocated


def _refuse_bomb(values: int, bits: int, length: int) -> None:
    """Refuse compressed pixels that become far more than scans do, unless decoders can well hold them."""
    if values * WORKING_BYTES > PLAIN_BYTES and values * bits > 8 * EXPANSION * length:
        raise DicomFault(
            f"expected compressed pixels that grow at most {EXPANSION}-fold, got {length:,} bytes for {values:,} "
            "values; if you trust the file, decompress it"
        )


def _decode(decoder: Any, file: DicomFile, options: dict[str, Any], source: Any, index: int) -> NDArray[Any]:
    try:
        plugin = PLUGINS.get(decoder.UID.keyword, "")
        if plugin == "pillow" and options["samples_per_pixel"] > 1 and options["bits_stored"] > 8:
            plugin = "pylibjpeg"  # Pillow would make it 8 bits
        found: NDArray[Any] = decoder.as_array(source, index=index, decoding_plugin=plugin, **options)[0]
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise DicomFault(
            f"expected pixels that can be decoded, got {syntax_name(file.syntax)} that cannot "
            f"({_plain(error)}); export it again, or convert it"
        ) from error
    return found


def _plain(error: Exception) -> str:
    """What decoders say, in one line. They know nothing of the patient."""
    lines = [line.strip() for line in str(error).splitlines() if not line.startswith("Unable to decode as")]
    return "; ".join(line for line in lines if line) or type(error).__name__


def _gray(stored: NDArray[Any], file: DicomFile, index: int, photometric: str) -> Frame:
    header = file.header
    padding = _padding(stored, header)
    units = _modality(file, index)
    ends: list[float] = []
    for rows in blocks(stored):
        values = units(stored[rows])
        values = values if padding is None else values[~padding[rows]]
        if values.size:
            ends += [float(values.min()), float(values.max())]  # NaN, if there is one
    if not np.isfinite(ends).all():
        raise DicomFault("expected finite pixel values, got NaN or infinity; repair or remove the image")
    inverted = photometric == "MONOCHROME1" or text(header, "PresentationLUTShape") == "INVERSE"
    if whole(header, "BitsStored", 0) == 1:  # black is black, though there be nothing else
        ends = [0.0, 1.0]
    return Frame(stored, units, padding, _voi(file, index), inverted, (min(ends), max(ends)) if ends else None)


def _padding(stored: NDArray[Any], header: Dataset) -> BoolArray | None:
    """Where stored values are padding (PS3.3 C.7.5.1.1.2)."""
    kind = {"f4": "Float", "f8": "DoubleFloat"}.get(stored.dtype.str[1:], "")
    keyword = f"{kind}PixelPaddingValue"
    limit_keyword = f"{kind}PixelPaddingRangeLimit"
    if header.get(keyword) is None:
        return None
    ends = [header[k].value for k in (keyword, limit_keyword) if header.get(k) is not None]
    if kind:
        ends = [float(end) for end in ends]
        return np.asarray(np.isnan(stored) if np.isnan(ends).any() else (stored >= min(ends)) & (stored <= max(ends)))
    bits = 8 * stored.dtype.itemsize
    signed = stored.dtype.kind == "i"
    # Written as unsigned beside signed pixels, or the other way round, it means the same bits.
    ends = [(int(end) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) if signed else int(end) % 2**bits for end in ends]
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def _modality(file: DicomFile, index: int) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """What turns stored values to the units of the modality (PS3.3 C.11.1; for a dose, C.8.8.3)."""
    header = file.header
    if header.get("ModalityLUTSequence"):
        return table_of(header.ModalityLUTSequence[0], file.syntax)
    own = group(header, "PixelValueTransformationSequence", index) or header
    slope = numbers(own, "RescaleSlope", 1) or numbers(header, "DoseGridScaling", 1) or (1.0,)
    intercept = numbers(own, "RescaleIntercept", 1) or (0.0,)
    return lambda stored: stored.astype(np.float64) * slope[0] + intercept[0]


def _voi(file: DicomFile, index: int) -> FileWindow | Table | None:
    """The VOI LUT or first window of a frame; a window of no width (less than 1, if linear) counts as none."""
    header = file.header
    if header.get("VOILUTSequence") and "LUTData" in header.VOILUTSequence[0]:
        return table_of(header.VOILUTSequence[0], file.syntax)
    own = group(header, "FrameVOILUTSequence", index) or header
    centers, widths = numbers(own, "WindowCenter"), numbers(own, "WindowWidth")
    function = text(own, "VOILUTFunction").upper() or "LINEAR"
    if not centers or not widths or widths[0] <= 0 or (function == "LINEAR" and widths[0] < 1):
        return None
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DicomFault("expected VOILUTFunction LINEAR, LINEAR_EXACT or SIGMOID, got another; give a window")
    return FileWindow(centers[0], widths[0], function)


def _color(stored: NDArray[Any], header: Dataset) -> Frame:
    """RGB in [0, 1]; pydicom has converted YBR already, which it knows for 8 bits only."""
    bits = whole(header, "BitsStored")
    if stored.dtype.kind != "u" or (bits != 8 and text(header, "PhotometricInterpretation").startswith("YBR_FULL")):
        raise DicomFault(f"expected unsigned color (YBR of 8 bits), got another of {bits} bits; convert it to RGB")
    return Frame(stored, lambda part: part.astype(np.float64) / (2**bits - 1))
