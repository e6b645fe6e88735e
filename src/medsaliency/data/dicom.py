"""DICOM: being written."""

from __future__ import annotations

from pathlib import Path

from medsaliency.data.dataset import Raw, Record
from medsaliency.data.reading import Format, Reading, Stack
from medsaliency.types import BoolArray


def stack(path: Path, name: str, reading: Reading) -> Stack | None:
    raise NotImplementedError


def read(record: Record, reading: Reading) -> Raw:
    raise NotImplementedError


def lesion(record: Record, raw: Raw, reading: Reading) -> BoolArray:
    raise NotImplementedError


DICOM = Format((".dcm", ".dicom", ".ima"), stack, read, lesion)
