"""What holds for all findings, whatever the numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.report.contents import COLUMNS, Contents
from medsaliency.report.findings import SUMMARY, findings

from .made import made


def numbers_of(contents: Contents) -> set[float]:
    """Every number of the tables from which findings are made, and the counts and shares of the scores."""
    inference = contents.inference
    frames = [getattr(inference, name) for name in COLUMNS] + [contents.summary]
    found: set[float] = {0.001, 95, 1}
    for frame in frames:
        for column in frame.select_dtypes("number"):
            found.update(frame[column].dropna().astype(float))

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for part in value.values():
                walk(part)
        elif isinstance(value, (int, float)):
            found.add(float(value))

    shares = inference.shortcut_shares
    found.update(shares["share"] / shares["area"])
    for told in (contents.performance, inference.calibration, inference.shortcut):
        walk(told)
    missing = contents.scores["value"].isna().groupby([contents.scores["metric"], contents.scores["sample"]]).any()
    counts = missing.groupby("metric").agg(["sum", "size"])
    found.update(counts["sum"].astype(float), counts["size"].astype(float), counts["sum"] / counts["size"])
    found.update([contents.scores["sample"].nunique(), contents.scores["patient"].nunique()])
    return found


def unfounded(contents: Contents) -> list[str]:
    """Numbers of the text that are no number of the tables, rounded as they are written."""
    known = np.array(sorted(numbers_of(contents)))
    counts = len(contents.summary["method"].unique()) ** 2  # methods, pairs and measures are counted
    wrong = []
    for finding in findings(contents):
        text = re.sub(r"Grad-CAM\+\+", "", finding.text).replace("−", "-")
        for sign, digits, decimals, unit in re.findall(r"(?<![\w.])(-?)(\d[\d,]*)(\.\d+)?(%?)", text):
            value = float(f"{sign}{digits.replace(',', '')}{decimals}")
            half = 0.5 * 10 ** -(len(decimals) - 1 if decimals else 0) + 1e-9
            scales = (100,) if unit == "%" else (1, 100) if decimals else (1,)
            ok = any((abs(known * scale - value) <= half).any() for scale in scales)
            if not ok and not (not decimals and unit != "%" and value <= counts):
                wrong.append(f"{finding.topic}: {sign}{digits}{decimals}{unit}")
    return wrong


def test_every_number_of_a_sentence_is_a_number_of_the_tables(contents: Contents) -> None:
    assert unfounded(contents) == []


def test_a_number_that_no_table_has_would_be_found(contents: Contents) -> None:
    hidden = replace(contents, performance={**contents.performance, "accuracy": {}})
    accuracy = [finding for finding in findings(contents) if finding.topic == "Model"]
    known = np.array(sorted(numbers_of(hidden)))
    assert "90.6%" in accuracy[0].text
    assert not (abs(100 * known - 90.6) <= 0.05).any()


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_numbers_follow_the_tables_whatever_they_are(contents: Contents, seed: int) -> None:
    study = shaken(contents, seed)
    assert unfounded(study) == []


def shaken(contents: Contents, seed: int, missing: float = 0.0) -> Contents:
    """The study with every number of its inference multiplied at random, and a share of them missing."""
    rng = np.random.default_rng(seed)
    tables = {}
    for name in COLUMNS:
        frame = getattr(contents.inference, name).copy()
        for column in frame.select_dtypes("floating"):
            values = frame[column] * rng.uniform(0.2, 1.5, len(frame))
            frame[column] = values.where(rng.random(len(frame)) >= missing)
        tables[name] = frame
    some = contents.scores["sample"].isin(contents.scores["sample"].unique()[:12])
    return replace(contents, scores=contents.scores[some], inference=replace(contents.inference, **tables))


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]))
def test_nothing_undefined_is_written_as_a_number(contents: Contents, seed: int, missing: float) -> None:
    for finding in findings(shaken(contents, seed, missing)):
        assert not re.search(r"\b(nan|none|inf)\b", finding.text, re.IGNORECASE), finding


@settings(deadline=None, max_examples=8)
@given(st.permutations(["gradient", "smoothgrad", "grad_cam", "score_cam"]))
def test_permuting_methods_permutes_names(contents: Contents, order: list[str]) -> None:
    names = ["gradient", "smoothgrad", "grad_cam", "score_cam"]
    labels = {"gradient": "Gradient", "smoothgrad": "SmoothGrad", "grad_cam": "Grad-CAM", "score_cam": "Score-CAM"}
    turned = dict(zip(names, order, strict=True))

    def rename(frame: pd.DataFrame) -> pd.DataFrame:
        columns = [name for name in ("method", "other") if name in frame]
        if "metric" in frame and "correlation" in frame:
            columns = []  # measures, not methods
        return frame.assign(**{name: frame[name].replace(turned) for name in columns})

    some = contents.scores["sample"].isin(contents.scores["sample"].unique()[:8])
    small = replace(contents, scores=contents.scores[some])
    other = replace(
        small,
        scores=rename(small.scores),
        summary=rename(small.summary),
        inference=replace(small.inference, **{name: rename(getattr(small.inference, name)) for name in COLUMNS}),
    )
    pattern = re.compile(r"(?<!Integrated )\b(" + "|".join(labels.values()) + r")\b(?!\+)")
    back = {labels[a]: labels[b] for a, b in turned.items()}
    expected = [replace(f, text=pattern.sub(lambda m: back[m[1]], f.text)) for f in findings(small)]
    assert findings(other) == expected


def nothing_shown(base: Contents) -> Contents:
    """The study with the same means, but no test that shows anything."""
    inference = base.inference
    card = inference.trust[inference.trust["criterion"] != "affordable"]
    return replace(
        base,
        inference=replace(
            inference,
            friedman=inference.friedman.assign(p=1.0, p_corrected=1.0),
            pairwise=inference.pairwise.assign(p=1.0, p_corrected=1.0, verdict="not shown"),
            against_controls=inference.against_controls.assign(p=1.0, p_corrected=1.0, verdict="not shown"),
            mixed_terms=inference.mixed_terms.assign(p=1.0, p_corrected=1.0),
            concordance=inference.concordance.assign(p=1.0),
            trust=card.assign(verdict="not shown"),
            shortcut={},
            shortcut_shares=inference.shortcut_shares[:0],
        ),
    )


def test_where_nothing_is_shown_nothing_supports_a_method(contents: Contents) -> None:
    told = findings(nothing_shown(contents))
    assert [finding for finding in told if finding.tone == "support"] == []
    text = " ".join(finding.text for finding in told).replace("No method is shown to be better", "")
    for claim in ("better than all", "is shown to be better", "Methods differ", "depends on", "more than by chance:"):
        assert claim not in text
    assert "No method is called reliable here." in text


def test_an_empty_study_says_little_and_claims_nothing() -> None:
    empty = made([], performance={}, scores=pd.DataFrame(), summary=pd.DataFrame())
    assert all(finding.tone != "support" for finding in findings(empty))


def test_the_summary_is_short_and_comes_first(contents: Contents) -> None:
    told = findings(contents)
    groups = [finding.group for finding in told]
    assert 3 <= groups.count(SUMMARY) <= 5
    assert groups[: groups.count(SUMMARY)] == [SUMMARY] * groups.count(SUMMARY)
    assert len([a for a, b in itertools.pairwise(groups) if a != b]) == len(set(groups)) - 1
