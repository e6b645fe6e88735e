"""What an archive has: images found by a query of DICOM attributes (QIDO-RS), page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom.datadict import keyword_dict, tag_for_keyword
from pydicom.uid import UID

from medsaliency.report.dicom.identity import MAKER
from medsaliency.study.dicomweb_session import UNREADABLE
from medsaliency.types import MedsaliencyError, nearest

PAGE = 100
"""Results asked for at a time."""
MOST_RESULTS = 100_000
"""Of a query, images or not, before it is given up."""
DIGITS = 12
"""Of a number of DICOM (VR IS)."""
FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Manufacturer")


def parse_query(given: Sequence[str]) -> dict[str, str]:
    """A query from its parts, each ``KEY=VALUE``, the key being the keyword of a DICOM attribute.

    Raises:
        MedsaliencyError: If a part is not so. Values are not named: they may say who a patient is.
    """
    query: dict[str, str] = {}
    for place, part in enumerate(given, 1):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise MedsaliencyError(f"query {place}: expected KEY=VALUE, as in Modality=DX, got something else")
        if tag_for_keyword(key) is None:
            raise MedsaliencyError(f"query {place}: {key!r} is no keyword of DICOM{nearest(key, keyword_dict)}")
        if key in query:
            raise MedsaliencyError(f"query {place}: expected each key once, got {key} twice; separate values by commas")
        query[key] = value
    if not query:
        raise MedsaliencyError("expected at least one query KEY=VALUE, got none: that would be the whole archive")
    return query


@dataclass(frozen=True, order=True)
class Found:
    """An instance of the archive, in the order of images of a study."""

    study: str
    series: str
    number: int
    instance: str


def search(
    client: DICOMwebClient, query: Mapping[str, str], limit: int, where: str
) -> tuple[list[Found], Counter[str]]:
    """The images that match, in order, and how many other objects do, by what they are."""
    seen: set[str] = set()
    found: list[Found] = []
    left_out: Counter[str] = Counter()
    offset = 0
    while True:
        page = {_text(item, "SOPInstanceUID", where): item for item in _page(client, query, offset, where)}
        fresh = {instance: item for instance, item in page.items() if instance not in seen}
        if not fresh and len(page) == PAGE:
            raise MedsaliencyError(
                f"{where}: expected the results after the first {offset}, got the same again; narrow the query to fewer"
            )
        if not fresh:  # all were had, or the service knows of no offset and gives everything at once
            break
        for instance, item in fresh.items():
            kind = kind_of(*(_text(item, key, where, needed=False) for key in ("SOPClassUID", "Manufacturer")))
            if kind is None:
                found.append(_found(item, instance, where))
            else:
                left_out[kind] += 1
        seen |= set(fresh)
        offset += len(page)
        if len(found) > limit or len(seen) > MOST_RESULTS:
            raise MedsaliencyError(
                f"{where}: expected at most {limit} images that match, got more; narrow the query or raise --limit"
            )
    if not found:
        raise MedsaliencyError(nothing(where, query, left_out))
    return sorted(found), left_out


def _found(item: Mapping[str, Any], instance: str, where: str) -> Found:
    study, series = (_text(item, key, where) for key in ("StudyInstanceUID", "SeriesInstanceUID"))
    number = _text(item, "InstanceNumber", where, needed=False)
    numbered = len(number) <= DIGITS and number.lstrip("-").isdecimal()
    return Found(study, series, int(number) if numbered else 0, instance)


def _page(client: DICOMwebClient, query: Mapping[str, str], offset: int, where: str) -> list[Mapping[str, Any]]:
    page: Any
    try:
        page = client.search_for_instances(search_filters=dict(query), fields=FIELDS, limit=PAGE, offset=offset)
    except UNREADABLE:
        page = None
    if not isinstance(page, list) or not all(isinstance(item, Mapping) for item in page):
        raise MedsaliencyError(f"{where}: expected results in DICOM JSON, got something else; check the URL")
    return page


def _text(item: Mapping[str, Any], key: str, where: str, *, needed: bool = True) -> str:
    """One value of a result as text; empty where there is none."""
    element = item.get(f"{tag_for_keyword(key):08X}")
    values = element.get("Value") if isinstance(element, Mapping) else None
    value = values[0] if isinstance(values, list) and values else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if needed and (not isinstance(value, str) or not value):
        raise MedsaliencyError(f"{where}: expected a {key} in every result, got one without; see the service's log")
    return str(value) if isinstance(value, str | int) else ""


def kind_of(sop_class: str, manufacturer: str) -> str | None:
    """What an object is that is no image to explain; None for an image, and where only the object itself can tell."""
    name = str(UID(sop_class).name)
    known = bool(sop_class) and name != sop_class
    if known and "Image Storage" not in name and name != "Enhanced US Volume Storage":
        return name.removesuffix(" Storage")
    return f"picture made by {MAKER}" if manufacturer == MAKER else None


def nothing(where: str, query: Mapping[str, str], left_out: Counter[str]) -> str:
    """Say that no image matches; the query's values are not named."""
    others = f", {left_out.total()} objects that are none ({', '.join(sorted(left_out))})" if left_out else ""
    return f"{where}: expected images that match {' and '.join(query)}, got none{others}; check the values of the query"
