"""What a DICOM header says, taken so that nothing of a patient gets out and a wrong value is a fault with a name.

Text and numbers written as text are taken from the bytes of the file: pydicom validates what it converts, and warns
with the value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset


class DicomFault(Exception):  # noqa: N818  # a fault is told, an error is raised to the user
    """What is wrong with a file, in words; :func:`~medsaliency.data.dicom.file.named` puts its name in front."""


def class_name(header: Dataset) -> str:
    """What a file is: the name of its SOP class."""
    uid = text(header, "SOPClassUID") or text(header.file_meta, "MediaStorageSOPClassUID")
    return name_of(uid) or "an unknown kind of object"


def syntax_name(uid: str) -> str:
    """The name of a transfer syntax."""
    return name_of(uid) or "an unknown one"


def name_of(uid: str) -> str:
    """What the standard calls it; ``""`` where it has no such UID."""
    from pydicom.uid import UID

    known = UID(uid)
    return str(known.name) if known.type else ""  # pydicom gives the UID itself for a name that it does not know


def raw_text(dataset: Dataset, keyword: str) -> str:
    """A value as its bytes are written, without the padding; ``""`` where there is none. Nothing is validated."""
    from pydicom.tag import Tag

    if keyword not in dataset:
        return ""
    value = dataset.get_item(Tag(keyword)).value
    written = value.decode("latin-1") if isinstance(value, bytes) else "" if value is None else str(value)
    return written.strip(" \0\r\n\t")


text = raw_text
"""The same for what names no patient: codes, and UIDs of the standard."""


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number of the header.

    Raises:
        DicomFault: If it is missing or empty (without a default), or none.
    """
    try:
        found = _values(dataset, keyword) if keyword in dataset else []
        return default if not found and default is not None else int(found[0])
    except Exception as error:
        raise DicomFault(f"expected a whole number in {keyword}, got none; export it again") from error


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """Finite numbers of the header; None where the element is missing or empty.

    Raises:
        DicomFault: If they are others, or not ``count``.
    """
    if keyword not in dataset:
        return None
    try:
        found = tuple(float(value) for value in _values(dataset, keyword))
    except Exception as error:
        raise DicomFault(f"expected numbers in {keyword}, got something else; export it again") from error
    if not found:
        return None
    if not all(map(math.isfinite, found)) or (count is not None and len(found) != count):
        raise DicomFault(f"expected {count or 'finite'} numbers in {keyword}, got others; export it again")
    return found


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """The values of an element, those written as text still text; none where it is empty."""
    from pydicom.datadict import dictionary_VR
    from pydicom.multival import MultiValue
    from pydicom.tag import Tag

    item = dataset.get_item(Tag(keyword))
    if isinstance(item.value, bytes) and dictionary_VR(item.tag) in ("DS", "IS"):
        written = raw_text(dataset, keyword)
        return written.split("\\") if written else []
    value = dataset[keyword].value
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def group(header: Dataset, macro: str, index: int) -> Dataset | None:
    """The item of a functional group for a frame: its own, else the shared one; None without (PS3.3 C.7.6.16).

    Args:
        header: Of the file.
        macro: Keyword of the macro's sequence, such as ``PixelMeasuresSequence``.
        index: Of the frame, from 0.
    """
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for items, place in ((own, index), (shared, 0)):
        if items and place < len(items) and items[place].get(macro):
            item: Dataset = items[place][macro].value[0]
            return item
    return None
