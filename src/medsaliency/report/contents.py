"""What a report is made of: tables and maps, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from medsaliency.types import BoolArray, FloatArray, Measure


@dataclass(frozen=True)
class Case:
    """One explained image.

    Args:
        sample: What the image is called: its number in a report, its file's name where the user gave it.
        why: The rule by which it was chosen ("least confident error", ...).
        image: (C, H, W) float32 in [0, 1].
        lesion: (H, W) bool or None.
        label: Index of the true class, or None where unknown.
        target: Index of the explained class.
        probabilities: (K,) the model's output for each class.
        maps: (H, W) float32 for each method, in the order shown.
    """

    sample: str
    why: str
    image: FloatArray
    lesion: BoolArray | None
    label: int | None
    target: int
    probabilities: FloatArray
    maps: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Contents:
    """All that the report shows.

    Args:
        title: Name of the study.
        config: The study's resolved configuration, as plain data.
        provenance: Versions, machine kind, methods' and metrics' reprs, data counts, the model, seconds a stage.
        classes: Class names in the order of the model's outputs.
        measures: Meaning of each value of the column ``metric``.
        controls: Names of the methods that are controls (random, edge, ...), not explanations.
        performance: ``statistics/performance.json``.
        scores: One row per sample x method x metric: sample, patient, label, target, method, metric, value, reason.
        summary: One row per method x metric: method, metric, images (that all methods have in common),
            undefined (the method's own), mean, low, high.
        against_random: One row per method (without random) x metric: method, metric, images, difference, low, high,
            wins (share of images on which the method scores better), on the same images.
        exclusions: One row per metric x class x reason: metric, label, reason, images (excluded ones), of (all), and
            optionally methods (the most methods concerned on one image; without it, all).
        curves: One row per method x metric: method, metric, images, x, mean, median, low, high (lists of equal
            length on a common grid; low and high are the band of the mean), auc_mean, auc_median.
        seconds: One row per method, metric or check: kind, name, images, seconds, peak_bytes (NaN where unknown).
        cases: The gallery, in order.
        blur_control: As ``against_random``, of the control ``blurred`` against the method whose maps it blurs; empty
            where the study has not both.
    """

    title: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    classes: tuple[str, ...]
    measures: Mapping[str, Measure]
    controls: frozenset[str]
    performance: Mapping[str, Any]
    scores: pd.DataFrame
    summary: pd.DataFrame
    against_random: pd.DataFrame
    exclusions: pd.DataFrame
    curves: pd.DataFrame
    seconds: pd.DataFrame
    cases: Sequence[Case]
    blur_control: pd.DataFrame = field(default_factory=pd.DataFrame)
