"""What went wrong for a single image, method, metric or check, while the rest of a study went on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from medsaliency.types import MedsaliencyError

LONGEST = 300
"""Characters of a reason that are kept."""
NEVER_MADE = "the map was not made: "
NOT_FINITE = "the map is not finite: "


@dataclass(frozen=True)
class Failure:
    """One thing that could not be done.

    Args:
        stage: Of the study: "training", "predicting", "calibrating" or "explaining and evaluating".
        sample: The image.
        kind: What failed: "image", "method", "metric", "check" or "worker".
        name: Of the method, metric or check; empty for an image or a worker.
        method: Whose map was scored or checked; empty for an image or a worker.
        reason: One line.
    """

    stage: str
    sample: str
    kind: str
    name: str
    method: str
    reason: str

    def __str__(self) -> str:
        what = " ".join(part for part in (self.kind, self.name) if part)
        of = f" of {self.method}" if self.method not in ("", self.name) else ""
        return f"{self.sample}: {what}{of}: {self.reason}"


def reason_of(error: BaseException) -> str:
    """One line that says what an exception was; its class is named where it is not one of ours."""
    text = " ".join(str(error).split())
    if not isinstance(error, MedsaliencyError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def failure_table(failures: Sequence[Failure]) -> pd.DataFrame:
    """One row a failure, a column a field, each failure once."""
    columns = [field.name for field in fields(Failure)]
    return pd.DataFrame([asdict(failure) for failure in dict.fromkeys(failures)], columns=columns, dtype="str")


def as_rows(table: pd.DataFrame) -> list[Failure]:
    """The failures of a table, which may have further columns."""
    names = [field.name for field in fields(Failure)]
    return [Failure(*row) for row in table[names].itertuples(index=False, name=None)]
