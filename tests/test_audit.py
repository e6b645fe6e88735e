"""The audit asks a service that speaks as OSV does: what is vulnerable fails, and silence never passes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
EXAMPLE = ("jinja2", "2.4.1")  # the release that every OSV knows


def record(identifier: str, name: str, *aliases: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.1"}]}]
    affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
    return {"id": identifier, "aliases": list(aliases), "summary": "a hole", "affected": affected}


class Osv(ThreadingHTTPServer):
    """A service of vulnerabilities on this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.holes: dict[str, dict[str, Any]] = {}
        self.knows_example = True
        self.fails_on = ""
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/query"


class Answer(BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = question["package"]["name"]
        self.server.asked.append(name)
        found = [self.server.holes[name]] if name in self.server.holes else []
        if (name, question["version"]) == EXAMPLE:
            found = [record("GHSA-example", name)] if self.server.knows_example else []
        content = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(503 if name == self.server.fails_on else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv() -> Iterator[Osv]:
    with Osv() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def audit(url: str, *options: str, accepted: Path | None = None) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPT), "--service", url, *options]
    done = subprocess.run(
        command + (["--accepted", str(accepted)] if accepted else []), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_no_vulnerability_passes_and_every_package_was_asked_for(osv: Osv) -> None:
    code, said = audit(osv.url)
    assert (code, "NOT AUDITED" in said) == (0, False), said
    assert f"{len(set(osv.asked) - {'medsaliency'})} packages audited: 0 vulnerabilities" in said
    assert {"torch", "pillow", "pydicom", "urllib3", "pytest", "ray"} <= set(osv.asked)


def test_a_known_vulnerability_fails(osv: Osv) -> None:
    osv.holes["pillow"] = record("GHSA-aaaa", "pillow", "CVE-2026-1")
    code, said = audit(osv.url, "--allow-unreachable")
    assert code == 1
    assert "VULNERABLE: pillow " in said
    assert "CVE-2026-1, GHSA-aaaa; mended in 999.1" in said


def test_a_written_exception_lets_it_pass_and_is_told(osv: Osv, tmp_path: Path) -> None:
    osv.holes["pillow"] = record("GHSA-aaaa", "pillow", "CVE-2026-1")
    accepted = tmp_path / "accepted.txt"
    accepted.write_text("# why\nCVE-2026-1  # only for a format that is not read\nCVE-2026-2 # of another time\n")
    code, said = audit(osv.url, accepted=accepted)
    assert code == 0, said
    assert "CVE-2026-1, GHSA-aaaa: only for a format that is not read" in said
    assert "no longer found, so its exception can go: CVE-2026-2" in said


def test_an_exception_hides_no_other_vulnerability(osv: Osv, tmp_path: Path) -> None:
    osv.holes = {name: record(f"GHSA-{name}", name) for name in ("pillow", "torch")}
    accepted = tmp_path / "accepted.txt"
    accepted.write_text("GHSA-pillow  # a reason\n")
    code, said = audit(osv.url, accepted=accepted)
    assert code == 1
    assert "VULNERABLE: torch " in said
    assert "VULNERABLE: pillow" not in said


def test_an_exception_without_a_reason_is_refused(osv: Osv, tmp_path: Path) -> None:
    accepted = tmp_path / "accepted.txt"
    accepted.write_text("CVE-2026-1\n")
    code, said = audit(osv.url, accepted=accepted)
    assert code == 1
    assert "line 1: expected 'ID  # reason', got 'CVE-2026-1'; write why it is accepted" in said


@pytest.mark.parametrize(("options", "expected"), [((), 3), (("--allow-unreachable",), 0)])
def test_no_service_is_said(options: tuple[str, ...], expected: int) -> None:
    with Osv() as closed:
        url = closed.url
    code, said = audit(url, *options)
    assert code == expected
    assert f"NOT AUDITED for known vulnerabilities: {url} cannot be asked (ConnectionError)" in said
    assert "packages audited" not in said


def test_a_service_that_breaks_off_is_said(osv: Osv) -> None:
    osv.fails_on = "torch"
    code, said = audit(osv.url)
    assert code == 3
    assert "NOT AUDITED for known vulnerabilities: pip-audit broke off" in said


def test_a_service_that_knows_nothing_is_said(osv: Osv) -> None:
    osv.knows_example = False
    code, said = audit(osv.url)
    assert code == 3
    assert "NOT AUDITED for known vulnerabilities" in said
    assert "knows nothing of jinja2 2.4.1, which is vulnerable" in said
