"""A DICOMweb service of a few lines on loopback, which answers as a test tells it to."""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

JSON = "application/dicom+json"
MARK = "MARKED"
"""In every value of a header that says who the patient is, so that it can be looked for."""


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the service says; ``length`` other than that of the body cuts it off."""

    status: int = 200
    body: bytes = b""
    kind: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


Script = Callable[[Asked], Answer | Callable[[BaseHTTPRequestHandler], None]]


@dataclass(frozen=True)
class Service:
    """The running service and what it was asked."""

    url: str
    asked: list[Asked]


@contextmanager
def service(script: Script, certificate: Path | None = None) -> Iterator[Service]:
    """Answer by ``script`` until the end of the block; with a certificate (and key, in one PEM file) by TLS."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
            answer = script(asked[-1])
            if not isinstance(answer, Answer):
                answer(self)
                self.close_connection = True
                return
            self.send_response(answer.status)
            if answer.kind is not None:
                self.send_header("Content-Type", answer.kind)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        do_GET = do_POST = _answer  # noqa: N815  # the names are the base class's

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: addresses hold the query."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that go away, as they should."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Service(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/dicom-web", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def always(answer: Answer) -> Script:
    """The same answer to everything."""
    return lambda _: answer


def results(datasets: Sequence[Dataset]) -> Answer:
    """What a search finds."""
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber")
    found = [Dataset() for _ in datasets]
    for result, dataset in zip(found, datasets, strict=True):
        for key in keys:
            if key in dataset:
                result[key] = dataset[key]
    return Answer(body=json.dumps([result.to_json_dict() for result in found]).encode())


def parts(*bodies: bytes, closed: bool = True) -> Answer:
    """A multipart answer of DICOM objects."""
    body = b"".join(b"\r\n--edge\r\nContent-Type: application/dicom\r\n\r\n" + part for part in bodies)
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    return Answer(body=body + (b"\r\n--edge--\r\n" if closed else b""), kind=kind)


def encoded(dataset: Dataset) -> bytes:
    """The file of a dataset."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def save(folder: Path, *datasets: Dataset) -> list[Path]:
    """Each as a file, named by its place."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{place}.dcm" for place in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        path.write_bytes(encoded(dataset))
    return paths


def bundled(name: str) -> Path:
    """A file of pydicom's wheel."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(str(path))


def radiograph(
    number: int = 1, *, study: str = "1.2.826.0.1.3680043.8.498.1", patient: str = "1", size: tuple[int, int] = (80, 96)
) -> Dataset:
    """A DX image of known pixels, whose patient is marked."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    uid = generate_uid(entropy_srcs=[study, str(number)])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.PatientName, dataset.PatientID = f"{MARK}^NAME", f"{MARK}-{patient}"
    dataset.PatientBirthDate, dataset.PatientSex = "19010203", "O"
    dataset.AccessionNumber, dataset.StudyID = f"{MARK}-ACC", f"{MARK}-S"
    dataset.StudyDate, dataset.StudyTime, dataset.ReferringPhysicianName = "20200101", "120000", f"{MARK}^DOCTOR"
    dataset.Modality, dataset.Manufacturer, dataset.SeriesNumber, dataset.InstanceNumber = "DX", "none", 1, number
    dataset.BodyPartExamined, dataset.PatientOrientation, dataset.ImageLaterality = "CHEST", ["L", "F"], "U"
    dataset.ImageType, dataset.PresentationIntentType = ["ORIGINAL", "PRIMARY"], "FOR PRESENTATION"
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = [0.5, 0.5]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PresentationLUTShape = (
        1,
        "MONOCHROME2",
        "IDENTITY",
    )
    dataset.Rows, dataset.Columns = size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", 1
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = (rows * 37 + columns * 11 + number * 101) % 4096
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset
