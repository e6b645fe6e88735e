"""The rows of a CSV from outside, read one by one and within limits."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from medsaliency.types import MedsaliencyError

MOST_ROWS = 2_000_000
"""Five times the largest public set of radiographs."""
MOST_BYTES = 1 << 30
MOST_COLUMNS = 4_096
LONGEST_LINE = 1 << 20
"""Characters; of these a cell has at most 131,072, the limit of Python's own reader."""


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of the line on which each row ends, from 1, and its cells without spaces around them.

    Rows whose cells are all empty are left out, but for the first.

    Args:
        file: CSV in UTF-8, with or without a byte order mark.

    Raises:
        MedsaliencyError: If it is not UTF-8, no CSV, or larger than the limits of this module. How many bytes and
            lines it has is known before any row is given.
    """
    _require_size(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(_lines(stream, file))
            for place, cells in enumerate(reader):
                if len(cells) > MOST_COLUMNS:
                    raise MedsaliencyError(
                        f"{file}, row {reader.line_num}: expected at most {MOST_COLUMNS:,} cells, got {len(cells):,}; "
                        "save it again as CSV"
                    )
                stripped = [cell.strip() for cell in cells]
                if place == 0 or any(stripped):
                    yield reader.line_num, stripped
    except (UnicodeDecodeError, csv.Error) as error:
        raise MedsaliencyError(
            f"{file}: expected a CSV in UTF-8, got another file ({error}); save it again as UTF-8"
        ) from error


def _require_size(file: Path) -> None:
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise MedsaliencyError(f"{file}: expected at most {MOST_BYTES:,} bytes, got {size:,}; make several files of it")
    ends, returns = 0, 0
    with file.open("rb") as stream:
        while part := stream.read(1 << 20):
            ends, returns = ends + part.count(b"\n"), returns + part.count(b"\r")
    if max(ends, returns) > MOST_ROWS + 1:
        raise MedsaliencyError(
            f"{file}: expected at most {MOST_ROWS:,} rows, got {max(ends, returns):,} lines; make several files of it"
        )


def _lines(stream: TextIO, file: Path) -> Iterator[str]:
    """Lines one by one; a line without end would fill the memory."""
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise MedsaliencyError(
                f"{file}: expected lines of less than {LONGEST_LINE:,} characters, got a longer one; save it again as "
                "CSV"
            )
        yield line
