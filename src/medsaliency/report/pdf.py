"""The report as PDF, printed by a browser that is installed: the page's own style for paper is all there is to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from medsaliency.types import MedsaliencyError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "microsoft-edge-stable"),
)
"""Commands that print a page, in the order in which they are looked for."""
VARIABLE = "MEDSALIENCY_BROWSER"
"""The environment variable that names the browser, as a command or a path."""
OPTIONS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-pdf-header-footer", "--generate-pdf-document-outline"),
)
"""No header of the browser's own, headings as bookmarks, and nothing that a browser does beside printing."""
TIMEOUT = 180.0
"""Seconds that a print may take; one of 60 cases takes a small part of it."""


def print_pdf(html: Path, pdf: Path, timeout: float = TIMEOUT) -> None:
    """Print a page that is complete in itself, with a fresh profile of the browser; whole or not at all.

    Args:
        html: The page.
        pdf: Written beside its place and renamed.
        timeout: Seconds after which the browser is given up.

    Raises:
        MedsaliencyError: If there is no page or no browser, or the browser does not print.
    """
    if not html.is_file():
        raise MedsaliencyError(f"{html}: no such page to print; make the HTML report first")
    command = browser()
    # The print lies beside its place, so that renaming it cannot fail half-way between two disks. What processes of the
    # browser still write into the profile when it has ended is no reason to fail.
    with (
        tempfile.TemporaryDirectory(prefix=f".{pdf.name}-", dir=pdf.parent) as beside,
        tempfile.TemporaryDirectory(prefix="medsaliency-browser-", ignore_cleanup_errors=True) as profile,
    ):
        printed = Path(beside) / "print.pdf"
        options = [*OPTIONS, *_of_root(), f"--user-data-dir={profile}", f"--print-to-pdf={printed.resolve()}"]
        _run([command, *options, html.resolve().as_uri()], timeout)
        content = printed.read_bytes() if printed.is_file() else b""
        if not (content.startswith(b"%PDF-") and b"%%EOF" in content[-1024:]):
            raise MedsaliencyError(f"{pdf}: {command} ended without a whole PDF; name another browser in {VARIABLE}")
        printed.chmod(0o644)
        printed.replace(pdf)


def browser() -> str:
    """Return the path of a browser that prints.

    Raises:
        MedsaliencyError: If none is found, or the one named by the environment is not there.
    """
    if named := os.environ.get(VARIABLE):
        found = shutil.which(named)
        if found is None:
            raise MedsaliencyError(f"{VARIABLE}: expected a browser's command or path, found nothing at {named!r}")
        return found
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise MedsaliencyError(
        f"a PDF is printed by Chromium, Chrome or Edge, and none was found ({', '.join(BROWSERS)}); install one "
        f"(Debian: apt install chromium), or name its path in {VARIABLE}"
    )


def _of_root() -> list[str]:
    """Chromium's sandbox refuses to run as root; the page is our own and loads nothing."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _run(command: list[str], timeout: float) -> None:
    try:
        # No shell. The command is a browser found by its name, or the one that the person named.
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)  # noqa: S603  # nosec B603
    except subprocess.TimeoutExpired as error:
        raise MedsaliencyError(f"{command[0]}: no PDF after {timeout:g} seconds; name another in {VARIABLE}") from error
    except OSError as error:
        raise MedsaliencyError(f"{command[0]}: cannot be run ({error}); name another in {VARIABLE}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MedsaliencyError(
            f"{command[0]}: printing failed with exit code {done.returncode} ({last}); name another in {VARIABLE}"
        )
