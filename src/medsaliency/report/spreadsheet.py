"""CSV for people: no cell that a spreadsheet would take for a formula."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

_FORMULA = re.compile(
    r"""'*(?: [=@\t\n＝＋－＠]
            | [+-] (?! (?:\d+\.?\d* | \.\d+) (?:[eE][+-]?\d+)? $ ) )""",
    re.VERBOSE,
)
"""Signs by which a spreadsheet takes a cell for a formula or an order; ``-0.5`` is a number and does no harm.

After OWASP, CSV Injection. Apostrophes before such a sign count, so that what is written can be read back.
"""


def harmless(text: str) -> str:
    """Return text with an apostrophe before it where a spreadsheet would run it: the sign of plain text there.

    Carriage returns become line feeds: the writer does not quote a cell for one alone, so that it would begin a row.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text) else text


def original(text: str) -> str:
    """Return what :func:`harmless` was given, but for carriage returns."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def csv_text(rows: pd.DataFrame, **options: Any) -> str:
    """Return a table as CSV whose texts, heads among them, are :func:`harmless`; numbers stay numbers.

    Args:
        rows: Without its index.
        options: Of :meth:`pandas.DataFrame.to_csv`.
    """
    safe = rows.copy()
    for place in range(rows.shape[1]):
        own = rows.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(own):
            safe.isetitem(place, [harmless(cell) if isinstance(cell, str) else cell for cell in own])
    safe.columns = pd.Index([harmless(str(column)) for column in rows.columns])
    text: str = safe.to_csv(index=False, **options)
    return text
