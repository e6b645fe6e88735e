"""A run's report in its formats, made from what the folder holds, without the model or the images' source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from medsaliency.study.results import report_contents
from medsaliency.study.store import Store, write_bytes, write_text
from medsaliency.types import MedsaliencyError, nearest

Format = Literal["html", "pdf", "md"]


def formats_of(text: str) -> tuple[Format, ...]:
    """Read names of formats, separated by commas.

    Raises:
        MedsaliencyError: If one is unknown or there is none.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in get_args(Format):
            raise MedsaliencyError(
                f"--format {text}: expected html, pdf or md, got {name!r}{nearest(name, get_args(Format))}"
            )
    if not names:
        raise MedsaliencyError("--format: expected html, pdf or md, separated by commas, got none")
    return tuple(name for name in get_args(Format) if name in names)


def write_report(
    store: Store, formats: Sequence[Format] = ("html",), *, cases: int | None = None, figures: bool = False
) -> list[Path]:
    """Write ``report.html``, ``report.pdf`` and ``report.md``, and the folders ``figures/`` and ``tables/``.

    Args:
        store: A run with its statistics.
        formats: Which reports. A PDF is printed from the HTML, which is then written as well.
        cases: How many images are shown one by one; None for as many as the study asks.
        figures: Whether figures and tables for papers are written. The Markdown report links to them.

    Returns:
        What was written, the reports first.

    Raises:
        MedsaliencyError: If a PDF is asked for and no browser is found that prints.
    """
    from medsaliency.report.html import render

    contents = report_contents(store, cases)
    written: list[Path] = []
    drawn: list[Path] = []
    if figures:
        from medsaliency.report.exports import write_figures

        drawn = write_figures(contents, store.path, write_bytes)
    if "html" in formats or "pdf" in formats:
        page = store.path / "report.html"
        write_text(page, render(contents))
        written.append(page)
    if "pdf" in formats:
        from medsaliency.report.pdf import print_pdf

        print_pdf(store.path / "report.html", store.path / "report.pdf")
        written.append(store.path / "report.pdf")
    if "md" in formats:
        from medsaliency.report.markdown import render_markdown

        links = {path.stem: path.relative_to(store.path).as_posix() for path in drawn if path.suffix == ".svg"}
        write_text(store.path / "report.md", render_markdown(contents, links))
        written.append(store.path / "report.md")
    return written + drawn
