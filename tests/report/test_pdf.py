"""The report on paper, printed by the browser that is installed."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from medsaliency.report import pdf as printing
from medsaliency.report.contents import Contents
from medsaliency.report.html import render
from medsaliency.report.pdf import VARIABLE, browser, print_pdf
from medsaliency.types import MedsaliencyError


@pytest.fixture(scope="module")
def printed(informed: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        browser()
    except MedsaliencyError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("pdf")
    few = replace(informed, cases=informed.cases[:1])
    (folder / "report.html").write_text(render(few), encoding="utf-8")
    print_pdf(folder / "report.html", folder / "report.pdf")
    return folder / "report.pdf"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text("<!doctype html><title>t</title><h1>one</h1>")
    return path


def fake(folder: Path, script: str) -> str:
    """A browser that does what ``script`` says; ``$OUT`` is the file that it should print to."""
    path = folder / "browser.sh"
    path.write_text(
        '#!/bin/sh\nfor word in "$@"; do case $word in --print-to-pdf=*) OUT=${word#--print-to-pdf=};; esac; done\n'
        f"{script}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_print_is_a_pdf_of_several_pages(printed: Path) -> None:
    content = printed.read_bytes()
    assert content.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", content))
    assert 5 < pages < 100
    assert len(content) > 50_000


def test_the_headings_of_the_report_are_its_bookmarks(printed: Path) -> None:
    # The text of a page is compressed and written in numbers of glyphs; bookmarks are plain.
    titles = re.findall(rb"/Title \(([^)]*)\)", printed.read_bytes())
    for heading in (b"Findings", b"Which methods may be relied on", b"Evidence", b"Record", b"Checklists"):
        assert heading in titles, titles


def test_nothing_is_left_beside_the_print(printed: Path) -> None:
    assert sorted(path.name for path in printed.parent.iterdir()) == ["report.html", "report.pdf"]
    assert stat.S_IMODE(printed.stat().st_mode) == 0o644


def test_without_a_browser_the_error_says_what_to_install(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(page.parent))
    with pytest.raises(MedsaliencyError, match=r"none was found \(chromium, .*apt install chromium"):
        print_pdf(page, page.with_suffix(".pdf"))


def test_the_environment_names_the_browser(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, fake(page.parent, "printf '%%PDF-1.4 whole %%%%EOF' > \"$OUT\""))
    print_pdf(page, page.with_suffix(".pdf"))
    assert page.with_suffix(".pdf").read_bytes() == b"%PDF-1.4 whole %%EOF"
    monkeypatch.setenv(VARIABLE, "no-such-browser")
    with pytest.raises(MedsaliencyError, match="found nothing at 'no-such-browser'"):
        browser()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "ended without a whole PDF"),
        ("printf '%%PDF-1.4 half' > \"$OUT\"", "ended without a whole PDF"),
        ("echo broken >&2; exit 3", r"exit code 3 \(broken\)"),
        ("exec sleep 5", "no PDF after 0.5 seconds"),
    ],
)
def test_a_browser_that_fails_leaves_the_old_print(
    page: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv(VARIABLE, fake(page.parent, script))
    page.with_suffix(".pdf").write_bytes(b"old")
    with pytest.raises(MedsaliencyError, match=message):
        print_pdf(page, page.with_suffix(".pdf"), timeout=0.5)
    assert page.with_suffix(".pdf").read_bytes() == b"old"
    assert sorted(path.name for path in page.parent.iterdir()) == ["browser.sh", "report.html", "report.pdf"]


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"report\.html: no such page"):
        print_pdf(tmp_path / "report.html", tmp_path / "report.pdf")


def test_the_sandbox_is_given_up_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--no-sandbox" not in printing.OPTIONS
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert printing._of_root() == []
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert printing._of_root() == ["--no-sandbox"]
