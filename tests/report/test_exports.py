from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from medsaliency.report.contents import Contents, Inference
from medsaliency.report.exports import LONGEST, TABLES, csv_text, data_address, latex, table, tex_text, write_figures
from medsaliency.report.figures import FIGURES

PATIENT = "PATIENT-4711"


@pytest.fixture(scope="module")
def files(contents: Contents) -> dict[str, bytes]:
    return written(contents)


def written(contents: Contents) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    paths = write_figures(contents, Path("out"), lambda path, content: found.__setitem__(path.as_posix(), content))
    assert [path.as_posix() for path in paths] == list(found)
    return found


def test_every_figure_and_table_is_written(files: dict[str, bytes], contents: Contents) -> None:
    for name in FIGURES:
        # The study of these tests has made no randomization check.
        assert (f"out/figures/{name}.svg" in files) == (f"out/figures/{name}.pdf" in files) == (name != "sanity")
    for name in set(TABLES) - {"stages"}:
        assert f"out/tables/{name}.csv" in files
        assert (f"out/tables/{name}.tex" in files) == (len(table(name, contents)) <= LONGEST)


def test_figures_are_of_their_kind_and_carry_no_date(files: dict[str, bytes]) -> None:
    for path, content in files.items():
        if path.endswith(".svg"):
            assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
            assert b"<dc:date>" not in content
            assert b"<text" in content, "text stays text"
        if path.endswith(".pdf"):
            assert content.startswith(b"%PDF")
            assert b"CreationDate" not in content
            assert b"/Type3" not in content, "journals refuse Type 3 fonts"


def test_the_same_study_gives_the_same_bytes(
    files: dict[str, bytes], contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(FIGURES) - {"critical_difference", "cost"}:
        monkeypatch.delitem(FIGURES, name)
    again = written(contents)
    assert len(again) > 30
    assert again == {path: files[path] for path in again}


def test_no_patient_and_no_sample_is_named(files: dict[str, bytes]) -> None:
    for path, content in files.items():
        if not path.endswith(".pdf"):
            assert PATIENT.encode() not in content, path
            assert b"case-0" not in content, path


def test_csv_reads_back(files: dict[str, bytes], contents: Contents) -> None:
    read = pd.read_csv(io.BytesIO(files["out/tables/pairwise.csv"]))
    pd.testing.assert_frame_equal(read, contents.inference.pairwise, check_dtype=False, rtol=1e-5)


def test_an_address_holds_its_table(contents: Contents) -> None:
    text = csv_text(table("friedman", contents))
    head, _, body = data_address(text).partition("base64,")
    assert head == "data:text/csv;charset=utf-8;"
    assert base64.b64decode(body).decode() == text


def test_latex_escapes_what_means_something_to_it() -> None:
    assert latex("a & b_c 5% #1 $x$ {y} ~ ^") == (r"a \& b\_c 5\% \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{}")
    assert latex("\\") == r"\textbackslash{}"
    assert latex("two\nlines") == "two lines"


def test_a_latex_table_has_the_rules_of_booktabs_and_one_row_a_line() -> None:
    rows = pd.DataFrame({"method": ["grad_cam", "a&b_%#\\"], "value": [0.25, float("nan")], "p": [0.0002, 0.5]})
    lines = tex_text(rows, "50% & more").splitlines()
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"\caption{50\% \& more}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r"Grad-CAM & 0.250 & $<$0.001 \\" in lines
    assert r"a\&b\_\%\#\textbackslash{} & -- & 0.500 \\" in lines
    assert sum(line.endswith(r"\\") for line in lines) == 3


def test_tables_leave_folders_out(contents: Contents) -> None:
    told = contents.inference.reliability.assign(reason="no file /home/somebody/data/x.npy")
    changed = replace(contents, inference=replace(contents.inference, reliability=told))
    assert "somebody" not in csv_text(table("reliability", changed))


def test_an_empty_study_writes_nothing(contents: Contents) -> None:
    none = pd.DataFrame(columns=["method", "metric"])
    empty = replace(
        contents, performance={}, scores=pd.DataFrame(), summary=none, exclusions=pd.DataFrame(), curves=none,
        seconds=pd.DataFrame(), cases=[], inference=Inference(),
    )  # fmt: skip
    assert written(empty) == {}
