"""Reports of a run in their formats, made from its folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medsaliency.report import pdf
from medsaliency.report.contents import COLUMNS
from medsaliency.study.reporting import formats_of, write_report
from medsaliency.study.results import write_statistics
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError


@pytest.fixture
def store(small_path: Path, tmp_path: Path) -> Store:
    return Store(shutil.copytree(small_path, tmp_path / "run"))


@pytest.mark.parametrize(
    ("text", "formats"), [("html", ("html",)), ("md, PDF", ("pdf", "md")), ("html,html,md", ("html", "md"))]
)
def test_formats_are_read_in_one_order(text: str, formats: tuple[str, ...]) -> None:
    assert formats_of(text) == formats


@pytest.mark.parametrize(("text", "said"), [("htm", "did you mean 'html'"), ("", "got none"), ("docx", "got 'docx'")])
def test_other_formats_are_refused(text: str, said: str) -> None:
    with pytest.raises(MedsaliencyError, match=said):
        formats_of(text)


def test_markdown_links_to_figures_that_are_there(store: Store) -> None:
    written = write_report(store, ("html", "md"), figures=True)
    assert all(path.is_file() for path in written)
    text = (store.path / "report.md").read_text()
    links = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert links
    assert all((store.path / link).is_file() for link in links)
    kinds = {path.suffix for path in written}
    assert kinds >= {".html", ".md", ".svg", ".pdf", ".csv", ".tex"}


def test_the_number_of_cases_can_be_set(store: Store) -> None:
    write_report(store, cases=3)
    assert len(pd.read_csv(store.path / "cases.csv")) == 3
    assert "Case 4" not in (store.path / "report.html").read_text()


def test_without_a_browser_a_pdf_is_refused_in_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    monkeypatch.delenv("MEDSALIENCY_BROWSER", raising=False)
    with pytest.raises(MedsaliencyError, match="install"):
        write_report(store, ("pdf",))
    assert not (store.path / "report.pdf").exists()


def test_no_patient_and_no_file_name_leaves_the_folder(store: Store) -> None:
    written = write_report(store, ("html", "md"), figures=True)
    for path in written:
        if path.suffix in (".html", ".md", ".csv", ".tex", ".svg"):
            assert "patient-0" not in path.read_text(), path.name


def test_statistics_are_made_again_the_same_and_whole(store: Store) -> None:
    before = {name: store.read_table(f"statistics/{name}.parquet") for name in COLUMNS}
    shutil.rmtree(store.path / "statistics")
    write_statistics(store)
    for name, table in before.items():
        pd.testing.assert_frame_equal(store.read_table(f"statistics/{name}.parquet"), table)
        assert table.columns.tolist() == COLUMNS[name].split()
