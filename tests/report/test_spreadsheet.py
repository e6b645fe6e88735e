"""CSV for people: what a spreadsheet would run, it shows."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.report.spreadsheet import csv_text, harmless, original

FORMULAS = (
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", "-", "+",
    "'=1", "''=1", "--1", "+A1", "-1e5x", "-1 ",
)  # fmt: skip
PLAIN = ("", "glioma", "a=b", "1-2", " =1", "'", "it's", "'plain", "-0.5", "+3", "-1e-05", "-.5", "1,5", "−0.5")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert harmless(text) == "'" + text.replace("\r", "\n")


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_and_numbers_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


signs = st.text(st.sampled_from("=+-@'\t\r\n0123.eE ab＝"), max_size=8)


@given(signs | st.text())
def test_what_is_written_can_be_read_back(text: str) -> None:
    assert original(harmless(text)) == feeds(text)


@given(st.lists(signs | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=1))
def test_no_cell_of_a_table_is_a_formula_and_every_cell_comes_back(texts: list[str]) -> None:
    written = csv_text(pd.DataFrame({"name": texts, "value": np.arange(len(texts)) - 0.5}))
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert [original(name) for name, _ in rows[1:]] == [feeds(text) for text in texts]
    assert all(not name.startswith(("=", "@", "\t", "\r", "\n")) for name, _ in rows[1:])
    assert [float(value) for _, value in rows[1:]] == (np.arange(len(texts)) - 0.5).tolist()


def test_heads_mixed_columns_and_categories_are_seen_and_numbers_stay_numbers() -> None:
    table = pd.DataFrame(
        {
            "=head": pd.Categorical(["@a", "b"]),
            "mixed": pd.Series(["=1", -1.5], dtype=object),
            "number": [-1.25, np.nan],
            "flag": [True, False],
            "string": pd.Series(["+x", None], dtype="string"),
        }
    )
    before = table.copy()
    assert csv_text(table).splitlines() == [
        "'=head,mixed,number,flag,string",
        "'@a,'=1,-1.25,True,'+x",
        "b,-1.5,,False,",
    ]
    pd.testing.assert_frame_equal(table, before)


def test_two_columns_of_one_name_and_an_empty_table_are_written() -> None:
    assert csv_text(pd.DataFrame([["=1", "=2"]], columns=["a", "a"])) == "a,a\n'=1,'=2\n"
    assert csv_text(pd.DataFrame(columns=["a", "=b"])) == "a,'=b\n"


def test_options_of_the_writer_are_taken() -> None:
    assert csv_text(pd.DataFrame({"x": [1 / 3]}), float_format="%.2f", lineterminator="\r\n") == "x\r\n0.33\r\n"
