"""Fixtures of tests of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    """Writes made DICOM images: ``write_dicom(path, pixels, Modality="CT", ...)``, attributes by keyword."""
    return _write


def _write(path: Path, pixels: np.ndarray | None, syntax: str = "1.2.840.10008.1.2.1", **attributes: Any) -> Path:
    """A file of gray (H, W) or (F, H, W) pixels, or (H, W, 3) where ``SamplesPerPixel=3`` is given."""
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import generate_uid

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = attributes.pop("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    header.SOPInstanceUID = attributes.pop("SOPInstanceUID", generate_uid())
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    if pixels is not None:
        header.SamplesPerPixel = attributes.pop("SamplesPerPixel", 1)
        color = header.SamplesPerPixel == 3
        header.Rows, header.Columns = pixels.shape[-3:-1] if color else pixels.shape[-2:]
        header.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
        if color:
            header.PlanarConfiguration = 0
        if pixels.ndim > (3 if color else 2):
            header.NumberOfFrames = len(pixels)
        bits = 8 * pixels.dtype.itemsize
        header.BitsAllocated = bits
        if pixels.dtype.kind == "f":
            setattr(header, "FloatPixelData" if bits == 32 else "DoubleFloatPixelData", pixels.tobytes())
        else:
            header.BitsStored, header.HighBit = bits, bits - 1
            header.PixelRepresentation = int(pixels.dtype.kind == "i")
            data = pixels.tobytes()
            header.PixelData = data + b"\0" * (len(data) % 2)
            header["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in attributes.items():
        if isinstance(value, DataElement):  # of a representation that pydicom would not choose
            header.add(value)
        else:
            setattr(header, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path
