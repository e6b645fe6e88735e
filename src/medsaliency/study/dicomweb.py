"""To and from an archive by DICOMweb: objects stored there (STOW-RS), images found and fetched (QIDO-RS, WADO-RS)."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataelem import RawDataElement

from medsaliency.study.dicomweb_search import Found, kind_of, nothing, parse_query, search
from medsaliency.study.dicomweb_session import TIMEOUT, UNREADABLE, connect, quiet
from medsaliency.study.store import write_bytes
from medsaliency.types import MedsaliencyError, Track, silent

BATCH = 32 * 2**20
"""Bytes of files sent in one request; a file that is larger goes alone."""
MAX_SENT = 2 * 2**30
"""Most bytes of a file that is sent, a map of 2000 slices of 512 x 512 pixels; it takes three times as much memory."""
UNDEFINED = 0xFFFFFFFF
"""Length of an element that says where it ends by a delimiter."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")
REASONS = (
    (0xA700, 0xFF00, "the service is out of resources; try again later"),
    (0xA900, 0xFF00, "the data set does not match its SOP class"),
    (0xC122, 0xFFFF, "the service does not take its transfer syntax"),
    (0xC000, 0xF000, "the service cannot understand the data set"),
    (0x0110, 0xFFFF, "the service failed at processing it; see its log"),
    (0x0111, 0xFFFF, "the service has such an object already"),
    (0x0117, 0xFFFF, "the service finds the object invalid"),
    (0x0122, 0xFFFF, "the service does not take its SOP class"),
    (0x0124, 0xFFFF, "the service does not let you store it"),
    (0xB000, 0xFFFF, "the service changed data elements"),
    (0xB006, 0xFFFF, "the service left out data elements"),
    (0xB007, 0xFFFF, "the data set does not match its SOP class"),
)
"""Codes, masks and meanings of DICOM PS3.18 annex I.2 (failures and warnings of a store) and PS3.7 annex C."""


@dataclass(frozen=True)
class Pushed:
    """What an archive took.

    Args:
        stored: Number of files.
        warnings: What the archive did to some of them, by file.
    """

    stored: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """What an archive gave.

    Args:
        paths: Of the images.
        left_out: How many objects that match the query are no image, by what they are.
    """

    paths: tuple[Path, ...]
    left_out: Mapping[str, int]


def push(files: Sequence[Path], url: str, *, timeout: float = TIMEOUT, track: Track = silent) -> Pushed:
    """Store DICOM files in an archive.

    Every file is looked at before the first is sent. What the archive says of each is read: a file that it refuses, or
    says nothing of, is an error, after all others were sent.

    Args:
        files: DICOM files, each another object.
        url: Of the DICOMweb service, http or https. Certificates are verified. What the service asks for is taken from
            the environment (:data:`~medsaliency.study.dicomweb_session.NAMES`).
        timeout: Seconds of silence after which to give up.
        track: Shows progress.

    Raises:
        MedsaliencyError: If a file cannot be read, the service cannot be reached, or it has not stored every file.
    """
    client, where = connect(url, timeout)
    if not files:
        raise MedsaliencyError(f"{where}: expected files to store, got none")
    with quiet():
        paths: dict[str, Path] = {}
        for path in files:
            uid = _uid_of(path)
            if uid in paths:
                raise MedsaliencyError(f"{path}: holds the same object as {paths[uid]}; give each object once")
            paths[uid] = path
        stored = 0
        failed: list[str] = []
        noted: list[str] = []
        batches = list(_batches(paths))
        for batch in track(batches, "storing", len(batches)):
            try:
                answer = _store(client, batch, where)
            except MedsaliencyError as error:
                if not stored and not failed:
                    raise
                raise MedsaliencyError(f"{error}; before that, {_outcome(stored, len(files), failed)}") from None
            bad, warned = _read_answer(answer, batch)
            stored += len(batch) - len(bad)
            failed += bad
            noted += warned
    if failed:
        raise MedsaliencyError(f"{where}: {_outcome(stored, len(files), failed)}")
    return Pushed(stored, tuple(noted))


def _outcome(stored: int, count: int, failed: Sequence[str]) -> str:
    return f"{stored} of {count} files were stored" + (f", but not {'; '.join(failed)}" if failed else "")


def _uid_of(path: Path) -> str:
    """The SOP Instance UID of a DICOM file that can be sent."""
    if not path.is_file():
        raise MedsaliencyError(f"{path}: no such file; check the path")
    if path.stat().st_size > MAX_SENT:
        raise MedsaliencyError(f"{path}: expected a file of at most {MAX_SENT // 2**20} MiB, got a larger one")
    try:
        dataset = pydicom.dcmread(path)
        uid, syntax = str(dataset.get("SOPInstanceUID", "")), dataset.file_meta.get("TransferSyntaxUID")
        whole = _is_whole(dataset)
    except UNREADABLE:
        raise MedsaliencyError(f"{path}: expected a DICOM file, got another or a damaged one; replace it") from None
    if not whole:
        raise MedsaliencyError(f"{path}: expected a whole DICOM file, got one cut off; replace it")
    if not uid or not syntax:
        raise MedsaliencyError(f"{path}: expected a SOP Instance UID and a transfer syntax, got none; replace the file")
    return uid


def _is_whole(dataset: pydicom.Dataset) -> bool:
    """Whether no element is shorter than it says, and an image has pixels: pydicom takes files that are cut off."""
    elements: list[Any] = [dataset.get_item(tag) for tag in dataset.keys()]  # noqa: SIM118  # values would be decoded
    raw = [element for element in elements if isinstance(element, RawDataElement)]
    cut = any(e.length != UNDEFINED and e.value is not None and len(e.value) != e.length for e in raw)
    return not cut and ("BitsAllocated" not in dataset or any(keyword in dataset for keyword in PIXELS))


def _batches(paths: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """The files in groups of at most ``BATCH`` bytes, or of one."""
    batch: dict[str, Path] = {}
    size = 0
    for uid, path in paths.items():
        more = path.stat().st_size
        if batch and size + more > BATCH:
            yield batch
            batch, size = {}, 0
        batch[uid] = path
        size += more
    yield batch


def _store(client: DICOMwebClient, batch: Mapping[str, Path], where: str) -> pydicom.Dataset:
    """Send one batch; what the service says of it."""
    try:
        return client.store_instances([pydicom.dcmread(path) for path in batch.values()])
    except requests.HTTPError as error:  # the session lets those through that say which objects were refused
        response = error.response
        assert response is not None  # noqa: S101  # dicomweb-client raises for an answer
        try:
            answer = pydicom.Dataset.from_json(response.json())
        except UNREADABLE:
            answer = pydicom.Dataset()
        if "FailedSOPSequence" in answer or "OtherFailuresSequence" in answer:
            return answer
        raise MedsaliencyError(
            f"{where}: the service answered with status {response.status_code} and did not say why; see its log "
            f"({_names(batch)})"
        ) from None
    except UNREADABLE:
        raise MedsaliencyError(
            f"{where}: expected files that can be sent and an answer in DICOM JSON, one of both was not so "
            f"({_names(batch)}); check the files, and that the URL is a DICOMweb service's"
        ) from None


def _read_answer(answer: pydicom.Dataset, batch: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Of one batch, the files that were not stored and why, and those that were with a warning."""
    stored = {item.get("ReferencedSOPInstanceUID"): item for item in _items(answer, "ReferencedSOPSequence")}
    refused = {item.get("ReferencedSOPInstanceUID"): item for item in _items(answer, "FailedSOPSequence")}
    others = [item.get("FailureReason") for item in _items(answer, "OtherFailuresSequence")]
    others += [item.get("FailureReason") for uid, item in refused.items() if uid not in batch]
    failed, warned = [], []
    for uid, path in batch.items():
        if uid in refused:
            failed.append(f"{path}: {_meaning(refused[uid].get('FailureReason'))}")
        elif uid not in stored:
            silent_about = "the service does not say what became of it"
            why = f"{_meaning(others[0])} (of one of the files)" if others else silent_about
            failed.append(f"{path}: {why}")
        elif stored[uid].get("WarningReason") is not None:
            warned.append(f"{path}: {_meaning(stored[uid].WarningReason)}")
    if others and not failed:
        failed.append(f"one of {_names(batch)}: {_meaning(others[0])}")
    return failed, warned


def _items(answer: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """Of a sequence, what is an item; a service may send anything."""
    found = answer.get(keyword)
    return [item for item in found if isinstance(item, pydicom.Dataset)] if isinstance(found, Sequence) else []


def _meaning(code: Any) -> str:
    """What a reason for failure or warning means."""
    if not isinstance(code, int):
        return "the service gives no reason; see its log"
    known = next((words for value, mask, words in REASONS if code & mask == value), "see the service's log")
    return f"{known} (reason {code:04X})"


def _names(batch: Mapping[str, Path]) -> str:
    paths = [str(path) for path in batch.values()]
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def fetch(
    url: str,
    query: Mapping[str, str],
    folder: Path,
    *,
    limit: int = 100,
    timeout: float = TIMEOUT,
    track: Track = silent,
) -> Fetched:
    """Fetch the images that match a query, as ``image-0001.dcm`` and so on.

    They are numbered by study, series, instance number and instance, so that the same images have the same names.
    Objects that are no images (segmentations, parametric maps, reports, presentation states) and what this software
    made are left out. The folder is there with all images or not at all; only its owner can read it.

    Args:
        url: As for :func:`push`.
        query: Keywords of attributes and their values; all must match. See :func:`parse_query`.
        folder: New or empty.
        limit: Most images. More matches are an error, before any is fetched.
        timeout: Seconds of silence after which to give up.
        track: Shows progress.

    Raises:
        MedsaliencyError: If nothing matches, or too much, the service cannot be reached, or what it gives is not what
            was asked for.
    """
    client, where = connect(url, timeout)
    query = parse_query([f"{key}={value}" for key, value in query.items()])
    if limit < 1:
        raise MedsaliencyError(f"expected a limit of at least 1, got {limit}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MedsaliencyError(
            f"{folder}: expected a new folder for the images, it is in use; name another, or empty it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        found, left_out = search(client, query, limit, where)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            names: list[str] = []
            for instance in track(found, "fetching", len(found)):
                image = _retrieve(client, instance, where)
                if isinstance(image, str):
                    left_out[image] += 1
                    continue
                names.append(f"image-{len(names) + 1:04d}.dcm")
                write_bytes(beside / names[-1], image)
            if not names:
                raise MedsaliencyError(nothing(where, query, left_out))
            if folder.exists():
                folder.rmdir()
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return Fetched(tuple(folder / name for name in names), dict(left_out))


def _retrieve(client: DICOMwebClient, instance: Found, where: str) -> bytes | str:
    """The file of an image, in the transfer syntax it is kept in; for another object, what it is."""
    wanted = (instance.study, instance.series, instance.instance)
    try:
        dataset = client.retrieve_instance(*wanted, media_types=(("application/dicom", "*"),))
        if not _is_whole(dataset) or str(dataset.SOPInstanceUID) != instance.instance:
            raise ValueError
        kind = kind_of(str(dataset.get("SOPClassUID", "")), str(dataset.get("Manufacturer", "")))
        file = io.BytesIO()
        dataset.save_as(file)
    except (*UNREADABLE, requests.HTTPError):
        raise MedsaliencyError(
            f"{where}: expected the one DICOM object that was asked for, got something else; see the service's log"
        ) from None
    if kind is None and not any(keyword in dataset for keyword in PIXELS):
        kind = "object without pixels"
    return file.getvalue() if kind is None else kind
