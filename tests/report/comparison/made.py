"""Three runs side by side, made by hand."""

from __future__ import annotations

import math

import pandas as pd

from medsaliency.report.comparison import ACCURACY, COLUMNS, Comparison
from medsaliency.report.comparison.findings import findings
from medsaliency.types import Measure

METHODS = ("gradient", "grad_cam", "rise", "random")
METRICS = ("evidence", "lesion_auprc", "pointing_game", "gini", "infidelity")
MEANS = {"A": (0.10, 0.40, 0.60, 0.02), "B": (0.20, 0.50, 0.62, 0.01), "C": (0.50, 0.30, 0.45, 0.03)}
NAN = math.nan


def table(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS[name].split())


def row_of(run: str, other: str, metric: str, method: str, verdict: str = "", reason: str = "") -> tuple[object, ...]:
    """A row of differences whose interval, p and detectable fit its verdict."""
    gap = {"higher": 0.1, "lower": -0.1, "not shown": 0.01, "": 0.03}[verdict]
    paired = verdict != ""
    p, least = {"not shown": (0.61, 0.05), "": (NAN, NAN)}.get(verdict, (0.0004, NAN))
    patients, images = (20, 40) if paired else (0, 0)
    return (
        run,
        other,
        metric,
        method,
        paired,
        patients,
        images,
        gap,
        gap - 0.04,
        gap + 0.04,
        p,
        p,
        verdict,
        least,
        reason,
    )


def differences(verdicts: dict[tuple[str, str], str] | None = None, accuracy: str = "higher") -> pd.DataFrame:
    """A and B are of the same images, C of others; ``verdicts`` of B against A by (metric, method)."""
    rows = []
    for run, other in (("A", "B"), ("A", "C"), ("B", "C")):
        cells = [(ACCURACY, ""), *((metric, method) for metric in METRICS for method in METHODS)]
        for cell in cells:
            if other == "C":
                rows.append(row_of(run, other, *cell, reason="other classes"))
            else:
                default = accuracy if cell[0] == ACCURACY else "not shown"
                rows.append(row_of(run, other, *cell, verdict=(verdicts or {}).get(cell, default)))
    return table("differences", rows)


def trust(**cells: dict[tuple[str, str], str]) -> pd.DataFrame:
    """By default everything passes but ``stable``, of which nothing is shown; ``cells`` of a run replace that."""
    rows = []
    for run in "ABC":
        for method in METHODS[:3]:
            for criterion in ("beats_random", "localizes", "stable"):
                verdict = "not shown" if criterion == "stable" else "pass"
                rows.append((run, method, criterion, cells.get(run, {}).get((method, criterion), verdict)))
    return table("trust", rows)


def performance(value: float, *classes: str) -> dict[str, object]:
    found = {"value": value, "low": value - 0.05, "high": value + 0.05}
    error = {"value": 0.04, "low": 0.02, "high": None}
    return {
        "images": 60, "accuracy": found, "macro_f1": found, "expected_calibration_error": error,
        "auroc": dict.fromkeys(classes, found),
    }  # fmt: skip


def build() -> Comparison:
    names = {"A": "brain-small", "B": "brain-resnet", "C": "chest"}
    facts = [
        ("Data", run, value) for run, value in zip(names, ("brain-mri", "brain-mri", "chest-xray"), strict=True)
    ] + [("Image size", run, "128 pixels a side") for run in names]
    means = [
        (run, method, metric, 40, mean, mean - 0.05, mean + 0.05)
        for run, own in MEANS.items()
        for metric in METRICS
        for method, mean in zip(METHODS, own, strict=True)
    ]
    return Comparison(
        runs=names,
        facts=table("facts", facts),
        left_out=table("left_out", [("method", "lime", "A, B"), ("measure", "road", "C")]),
        settings=table("settings", [("method", "smoothgrad", "samples", *own) for own in (("A", "5"), ("B", "8"))]),
        pairs=table(
            "pairs",
            [("A", "B", "", 40, 20, 3), ("A", "C", "other classes", 0, 0, 0), ("B", "C", "other classes", 0, 0, 0)],
        ),
        performance={
            "A": performance(0.8, "glioma", "none"),
            "B": performance(0.9, "glioma", "none"),
            "C": performance(0.7, "pneumonia"),
        },
        means=table("means", means),
        differences=differences({("evidence", "grad_cam"): "higher", ("evidence", "gradient"): "lower"}),
        rankings=table(
            "rankings",
            [
                (run, other, metric, 3, tau, tau - 0.3, min(1.0, tau + 0.3), "")
                for (run, other), tau in {("A", "B"): 0.9, ("A", "C"): 0.1, ("B", "C"): -0.8}.items()
                for metric in METRICS
            ],
        ),
        trust=trust(A={("rise", "localizes"): "fail"}, B={("gradient", "beats_random"): "not shown"}),
        measures={
            name: Measure(name, name != "infidelity", (0.0, 1.0), f"What {name} measures", "faithfulness")
            for name in METRICS
        },
        headlines=METRICS[:4],
        controls=frozenset({"random"}),
        primary=dict.fromkeys(names, "evidence"),
        statistics={"level": 0.95, "alpha": 0.05, "draws": 2000, "permutations": 10_000},
    )  # fmt: skip


def said(comparison: Comparison, topic: str) -> list[str]:
    return [finding.text for finding in findings(comparison) if finding.topic == topic]
