"""The made-up study with what only figures show, and the study of nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report.contents import Contents, Inference
from medsaliency.types import Measure

MARGINS = {"gradient": (0.2, 0.1, 0.3), "smoothgrad": (-0.2, -0.3, -0.1), "grad_cam": (0.05, -0.1, 0.2)}


@pytest.fixture(scope="session")
def checked(contents: Contents) -> Contents:
    """The study with one randomization check: passed, failed, not shown, and undefined."""
    name = "cascading_ssim_margin"
    rows = [
        {"method": method, "metric": name, "images": 60, "undefined": 0, "mean": mean, "low": low, "high": high}
        for method, (mean, low, high) in MARGINS.items()
    ]
    lost = {"method": "score_cam", "metric": name, "images": 0, "undefined": 60}
    rows.append({**lost, "mean": math.nan, "low": math.nan, "high": math.nan})
    measure = Measure(name, True, (-2.0, 2.0), "A margin.", "randomization")
    summary = pd.concat([contents.summary, pd.DataFrame(rows)], ignore_index=True)
    return replace(contents, summary=summary, measures={**contents.measures, name: measure})


@pytest.fixture(scope="session")
def nothing(contents: Contents) -> Contents:
    none = pd.DataFrame(columns=["method", "metric"])
    return replace(
        contents, performance={}, scores=pd.DataFrame(), summary=none, exclusions=pd.DataFrame(), curves=none,
        seconds=pd.DataFrame(), cases=[], inference=Inference(),
    )  # fmt: skip
