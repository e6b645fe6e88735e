"""A real archive for tests: Debian's Orthanc with its DICOMweb plug-in, on loopback, with its own folder and port."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PATIENCE = 60.0
"""Seconds that it may take to start; a fraction of one is usual."""
TRIES = 3
"""Another program may take the free port before Orthanc does."""


@dataclass(frozen=True)
class Archive:
    """A running Orthanc.

    Args:
        root: Address of its own interface.
        folder: All that it writes, its log in it.
    """

    root: str
    folder: Path

    @property
    def url(self) -> str:
        """Address of its DICOMweb service."""
        return f"{self.root}/dicom-web"

    def find(self, level: str = "instances", **query: str) -> list[dict[str, object]]:
        """Search it with nothing of ours in between; each result by tag, its first value."""
        answer = requests.get(f"{self.url}/{level}", params=query, timeout=30)
        answer.raise_for_status()
        return [{tag: (element.get("Value") or [None])[0] for tag, element in item.items()} for item in answer.json()]

    def file(self, instance: str) -> bytes:
        """The file that it keeps of a SOP Instance UID, by its own interface and not by DICOMweb."""
        (own,) = requests.post(f"{self.root}/tools/lookup", data=instance, timeout=30).json()
        answer = requests.get(f"{self.root}{own['Path']}/file", timeout=30)
        answer.raise_for_status()
        return answer.content

    def clear(self) -> None:
        """Remove everything."""
        for patient in requests.get(f"{self.root}/patients", timeout=30).json():
            requests.delete(f"{self.root}/patients/{patient}", timeout=30).raise_for_status()


def require_orthanc() -> str:
    """The program; a test that needs it is skipped where it is missing, and fails in CI."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is not None and PLUGIN.is_file():
        return program
    reason = "no Orthanc with DICOMweb here; install the Debian packages orthanc and orthanc-dicomweb"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def archive(folder: Path) -> Iterator[Archive]:
    """Orthanc, empty, until the end of the block."""
    program = require_orthanc()
    for _ in range(TRIES):
        port = free_port()
        settings = {
            "Name": "tests",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(PLUGIN)],
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        configuration = folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        with (folder / "orthanc.log").open("wb") as log:
            process = subprocess.Popen([program, str(configuration)], cwd=folder, stdout=log, stderr=log)
        running = Archive(f"http://127.0.0.1:{port}", folder)
        try:
            if _has_started(process, running):
                yield running
                return
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    pytest.fail(f"Orthanc did not start: {(folder / 'orthanc.log').read_text()[-2000:]}")


def _has_started(process: subprocess.Popen[bytes], running: Archive) -> bool:
    """Whether this very process answers, and not another that has taken the port."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            answer = requests.get(f"{running.root}/system", timeout=5)
            if answer.ok and answer.json()["Name"] == "tests":
                return process.poll() is None and requests.get(f"{running.url}/studies", timeout=5).ok
        except requests.RequestException:
            pass  # it does not listen yet
        time.sleep(0.05)
    return False
