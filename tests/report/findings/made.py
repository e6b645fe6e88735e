"""Studies made by hand, and what is said of them: change the numbers, and the words follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from medsaliency.report.contents import COLUMNS, Contents, Inference
from medsaliency.report.findings import SUMMARY, Finding, findings
from medsaliency.types import Family, Measure

NAN = math.nan
METHODS = ("alpha", "beta", "gamma", "delta")
CONTROLS = ("random", "edge")
VERDICTS = ("better", "worse", "not shown")
FAMILIES: dict[str, Family] = {
    "evidence": "faithfulness",
    "road": "faithfulness",
    "sic_webp": "information",
    "lesion_auprc": "localization",
    "pointing_game": "localization",
}


def table(name: str, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS[name].split())


def controlled(metric: str, verdicts: Mapping[tuple[str, str], str], detectable: float = 0.07) -> pd.DataFrame:
    """Against controls: of each (method, control) a verdict, or "undefined"."""
    return table(
        "against_controls",
        [
            (metric, m, c, 5, 30, 60, NAN if v == "undefined" else 0.1, 0.05, 0.15, 0.01, 0.02,
             v if v in VERDICTS else "", 0.86, detectable)
            for (m, c), v in verdicts.items()
        ],
    )  # fmt: skip


def trusted(verdicts: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    rows = [
        (m, criterion, verdict, "evidence - random", 0.1, 0.05, 0.15, 0.0, 0.01, "source", "")
        for m, own in verdicts.items()
        for criterion, verdict in own.items()
    ]
    return table("trust", rows)


def pairs(metric: str, verdicts: Mapping[tuple[str, str], str], detectable: float = 0.03) -> pd.DataFrame:
    rows = [(metric, a, b, 30, 60, *[0.1] * 11, v, detectable) for (a, b), v in verdicts.items()]
    return table("pairwise", [(*row[:16], 0.5, *row[16:]) for row in rows])


def made(
    metrics: Iterable[str] = ("evidence",),
    methods: Sequence[str] = METHODS,
    *,
    means: Mapping[str, float] | None = None,
    lost: int = 0,
    images: int = 40,
    **parts: Any,
) -> Contents:
    """A study whose tables hold what is given and no more."""
    names = (*methods, *CONTROLS)
    summary = [
        {"metric": metric, "method": m, "images": images - lost, "undefined": lost, "mean": mean, "low": mean - 0.05,
         "high": mean + 0.05}
        for metric in metrics
        for place, m in enumerate(names)
        for mean in [(means or {}).get(m, 0.5 - 0.07 * place)]
    ]  # fmt: skip
    scores = [
        {"sample": f"s{i}", "patient": f"p{i}", "label": 0, "target": 0, "method": m, "metric": metric,
         "value": NAN if i < lost else 0.5, "reason": "why" if i < lost else ""}
        for metric in metrics for m in names for i in range(images)
    ]  # fmt: skip
    inference = {f.name: parts.pop(f.name) for f in fields(Inference) if f.name in parts}
    given: dict[str, Any] = {
        "title": "made",
        "config": {},
        "provenance": {},
        "classes": ("a", "b"),
        "measures": {m: Measure(m, True, (0, 1), "", FAMILIES.get(m, "other")) for m in metrics},
        "controls": frozenset(CONTROLS),
        "performance": {},
        "scores": pd.DataFrame(scores),
        "summary": pd.DataFrame(summary),
        "exclusions": pd.DataFrame(),
        "curves": pd.DataFrame(),
        "seconds": pd.DataFrame(),
        "cases": (),
    }
    return Contents(**{**given, **parts}, inference=Inference(**inference))


def of(contents: Contents, topic: str) -> list[Finding]:
    return [finding for finding in findings(contents) if finding.topic == topic and finding.group != SUMMARY]


def said(contents: Contents, topic: str) -> str:
    return " ".join(finding.text for finding in of(contents, topic))


def in_short(contents: Contents, topic: str) -> str:
    return " ".join(f.text for f in findings(contents) if f.group == SUMMARY and f.topic == topic)


def friedman(p: float, metric: str = "evidence", reason: str = "") -> pd.DataFrame:
    return table("friedman", [(metric, 6, 30, 60.0, p, p, 0.41, 1.9, reason)])
