"""The made-up study with what only figures show, and the study of nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report.contents import COLUMNS, Contents, Inference
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


WAYS = {"gradient": (1.0, 0.7, 0.5), "smoothgrad": (1.0, 0.9, 0.8), "random": (1.0, 1.0, 1.0)}
BASELINES = {"gradient": 0.7, "smoothgrad": 0.6}
"""How alike maps of two images are, by method; "random" has no margin on the same images."""


@pytest.fixture(scope="session")
def staged(checked: Contents) -> Contents:
    """The study with the stages of cascading randomization for one likeness, their ends in the summary."""
    name = "cascading_ssim"
    rows = [
        (method, name, 60, share, value, value - 0.05 * share, min(value + 0.05 * share, 1.0))
        for method, way in WAYS.items()
        for share, value in zip((0.0, 0.5, 1.0), way, strict=True)
    ]
    ends = [
        {"method": method, "metric": name, "images": 60, "undefined": 0, "mean": way[-1], "low": 0.4, "high": 0.9}
        for method, way in WAYS.items()
    ]
    margins = checked.summary.copy()
    for method, baseline in BASELINES.items():
        own = (margins["method"] == method) & (margins["metric"] == f"{name}_margin")
        margins.loc[own, "mean"] = baseline - WAYS[method][-1]
    measure = Measure(name, False, (-1.0, 1.0), "A likeness.", "randomization")
    return replace(
        checked,
        summary=pd.concat([margins, pd.DataFrame(ends)], ignore_index=True),
        measures={**checked.measures, name: measure},
        inference=replace(checked.inference, stages=pd.DataFrame(rows, columns=COLUMNS["stages"].split())),
    )
