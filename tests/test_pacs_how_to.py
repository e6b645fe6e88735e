"""The how-to from PACS and back, followed as it is written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest

from .orthanc import free_port, require_orthanc

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/how-to/pacs.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "8142"
PATIENCE = 900.0
"""Seconds for the whole page, which takes about ninety on one core."""


@pytest.mark.slow
def test_the_page_can_be_followed_as_written(tmp_path: Path) -> None:
    orthanc = Path(require_orthanc()).parent
    if shutil.which("curl") is None:
        reason = "no curl here, which the page uses; install the Debian package curl"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    assert PORT in PAGE
    blocks = [code for language, code in BLOCK.findall(PAGE) if language == "bash"]
    script = "\n".join(["set -euo pipefail", *blocks]).replace(PORT, str(free_port()))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{orthanc}"
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):  # all have ended, as they should
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[-4000:]

    assert "Fetched: 3 images" in said
    assert said.count("Stored: ") == 2
    for series in ("MR  -  1", "SR  Explanation", "SEG  Grad-CAM, segmentation", "OT  Gradient, parametric map"):
        assert series in said
    assert "left out: picture made by medsaliency (6)" in said
    assert "phantom-" not in said
    beside = [file for folder in ("explained", "runs") for file in (tmp_path / folder).rglob("*") if file.is_file()]
    assert (tmp_path / "runs/archive/report.html") in beside
    assert not [file for file in beside if file.suffix != ".dcm" and b"phantom-" in file.read_bytes()]
    shared = list((tmp_path / "shareable").rglob("*.dcm"))
    assert len(shared) == 4 * 3  # the phantoms do not say that nobody is named in their pixels: no captures
    assert (tmp_path / "shareable/captures-left-out.txt").is_file()
    for file in shared:
        assert b"phantom" not in file.read_bytes()
        assert pydicom.dcmread(file).PatientIdentityRemoved == "YES"


def test_all_that_the_page_does_not_run_is_the_installation() -> None:
    others = [code for language, code in BLOCK.findall(PAGE) if language != "bash"]
    assert len(others) == 1
    assert others[0].startswith("apt-get install ")


def test_the_page_quotes_messages_as_they_are() -> None:
    study = ROOT / "src/medsaliency/study"
    sources = [*sorted(study.glob("dicomweb*.py")), study / "explanations.py"]
    code = re.sub(r'"\s*f?"|\{[^}]*\}', "", "".join(source.read_text(encoding="utf-8") for source in sources))
    quoted = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert len(quoted) >= 5
    for message in quoted:
        for part in message.split("..."):
            assert part.strip(" ,") in code, message
