"""What a report is made of: tables and maps, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from medsaliency.types import BoolArray, FloatArray, Measure

COLUMNS = {
    "friedman": "metric methods patients statistic p p_corrected kendall_w critical_difference reason",
    "ranks": "metric method rank",
    "pairwise": "metric method other patients images difference low high p p_corrected rank_biserial rank_biserial_low "
    "rank_biserial_high cliffs_delta cliffs_delta_low cliffs_delta_high superiority verdict detectable",
    "against_controls": "metric method control draws patients images difference low high p p_corrected verdict "
    "superiority detectable",
    "mixed_terms": "metric term statistic df df_error p p_corrected images patients reason",
    "mixed_coefficients": "metric term level estimate low high p",
    "metric_agreement": "metric other correlation image_correlation low high methods images reason",
    "concordance": "family metrics methods kendall_w p reason",
    "method_agreement": "method other correlation low high images",
    "reliability": "metric source repeats images icc low high reason",
    "trust": "method criterion verdict measure value low high threshold p source reason",
    "networks": "method kind measure images value low high two_images",
    "shortcut_shares": "method images share low high area",
    "stages": "method metric images share value low high",
    "steps": "method metric images share value low high",
}
"""The columns of each table of :class:`Inference`, as they lie in ``statistics/``."""


def nothing(table: str) -> pd.DataFrame:
    """A table of :class:`Inference` without rows: what was not asked for, or could not be had."""
    return pd.DataFrame(columns=COLUMNS[table].split())


@dataclass(frozen=True)
class Inference:
    """What the study's numbers allow to be said; each table is empty where nothing was asked or could be had.

    A p is two-sided; ``p_corrected`` keeps the chance of any false statement of its family at its level. A ``verdict``
    is "better", "worse" or "not shown". ``detectable`` is the smallest difference that the sample would have shown.

    Args:
        friedman: One row a metric: do the methods differ at all; ``critical_difference`` is Nemenyi's, in ranks.
        ranks: One row a metric x method: the mean rank over patients, 1 the best.
        pairwise: One row a metric x pair of methods: ``difference`` is method less other.
        against_controls: One row a metric x method x control: ``difference`` is method less control.
        mixed_terms: One row a metric x term of the mixed model: does the score depend on it.
        mixed_coefficients: One row a metric x term x level.
        metric_agreement: One row a pair of metrics: do they rank methods alike.
        concordance: One row a family of metrics, and one for all: Kendall's W.
        method_agreement: One row a pair of methods: are their maps alike.
        reliability: One row a metric x source ("seed", "retrained"): the intraclass correlation of repeated scores.
        trust: One row a method x criterion of the trust card: verdict "pass", "fail" or "not shown".
        networks: One row a method x kind ("repeatability", "reproducibility") x likeness: networks trained anew.
        shortcut_shares: One row a method: the share of its attribution on a planted marker, and of the image's area.
        stages: One row a method x likeness x share of the model's layers drawn anew: how alike its maps still are.
        steps: One row a method x measure x share of the pixels shown or taken: what the model then says of the class.
        calibration: ``statistics/calibration.json``: the temperature, and the calibration error before and after.
        shortcut: ``statistics/shortcut.json``: accuracy with and without a planted marker.
    """

    friedman: pd.DataFrame = field(default_factory=partial(nothing, "friedman"))
    ranks: pd.DataFrame = field(default_factory=partial(nothing, "ranks"))
    pairwise: pd.DataFrame = field(default_factory=partial(nothing, "pairwise"))
    against_controls: pd.DataFrame = field(default_factory=partial(nothing, "against_controls"))
    mixed_terms: pd.DataFrame = field(default_factory=partial(nothing, "mixed_terms"))
    mixed_coefficients: pd.DataFrame = field(default_factory=partial(nothing, "mixed_coefficients"))
    metric_agreement: pd.DataFrame = field(default_factory=partial(nothing, "metric_agreement"))
    concordance: pd.DataFrame = field(default_factory=partial(nothing, "concordance"))
    method_agreement: pd.DataFrame = field(default_factory=partial(nothing, "method_agreement"))
    reliability: pd.DataFrame = field(default_factory=partial(nothing, "reliability"))
    trust: pd.DataFrame = field(default_factory=partial(nothing, "trust"))
    networks: pd.DataFrame = field(default_factory=partial(nothing, "networks"))
    shortcut_shares: pd.DataFrame = field(default_factory=partial(nothing, "shortcut_shares"))
    stages: pd.DataFrame = field(default_factory=partial(nothing, "stages"))
    steps: pd.DataFrame = field(default_factory=partial(nothing, "steps"))
    calibration: Mapping[str, Any] = field(default_factory=dict)
    shortcut: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contrast:
    """What is shown of a map's values: each a lowest value and the distance from it to full color.

    Args:
        plain: Of a map without negative values.
        signed: Of the magnitudes of one with.
    """

    plain: tuple[float, float]
    signed: tuple[float, float]


@dataclass(frozen=True)
class Strip:
    """What the model saw of one image when one method's map chose the pixels, and what it said of the class.

    Args:
        method: Whose map.
        why: The rule by which the method was chosen ("highest mean evidence", ...).
        shares: (T,) of the pixels shown.
        scores: (T,) probability (or logit) of the explained class at each step.
        pictures: (T, C, H, W) float32 in [0, 1]; of a volume (T, C, D, H, W).
    """

    method: str
    why: str
    shares: tuple[float, ...]
    scores: tuple[float, ...]
    pictures: FloatArray


@dataclass(frozen=True)
class Case:
    """One explained image, or one slice of an explained volume.

    What is drawn is an image. A case may also hold a whole volume, its arrays with an axis D before H and W;
    :func:`medsaliency.report.slices.cut` then takes the slice that is shown.

    Args:
        sample: What the image is called: its number in a report, its file's name where the user gave it.
        why: The rule by which it was chosen ("least confident error", ...).
        image: (C, H, W) float32 in [0, 1].
        lesion: (H, W) bool or None.
        label: Index of the true class, or None where unknown.
        target: Index of the explained class.
        probabilities: (K,) the model's output for each class.
        maps: (H, W) float32 for each method, in the order shown.
        calibrated: (K,) the output after temperature scaling, or None where it was not fitted.
        strips: Of a few methods, in the order shown.
        marker: (H, W) bool, a planted shortcut's pixels, or None.
        plane: Of a volume: which slice this is and why that one, in words; empty for an image.
        contrasts: Of a volume: what each of its maps is scaled by, so that a slice of little is shown as that.
    """

    sample: str
    why: str
    image: FloatArray
    lesion: BoolArray | None
    label: int | None
    target: int
    probabilities: FloatArray
    maps: Mapping[str, FloatArray]
    calibrated: FloatArray | None = None
    strips: Sequence[Strip] = ()
    marker: BoolArray | None = None
    plane: str = ""
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)


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
        exclusions: One row per metric x class x reason: metric, label, reason, images (excluded ones), of (all), and
            optionally methods (the most methods concerned on one image; without it, all).
        curves: One row per method x metric: method, metric, images, x, mean, median, low, high (lists of equal
            length on a common grid; low and high are the band of the mean), auc_mean, auc_median.
        seconds: One row per method, metric or check: kind, name, images, seconds, peak_bytes (NaN where unknown).
        cases: The gallery, in order.
        failures: What failed, a row per kind, name and method: stage, kind, name, method, images. It names no image.
        inference: What the numbers allow to be said.
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
    exclusions: pd.DataFrame
    curves: pd.DataFrame
    seconds: pd.DataFrame
    cases: Sequence[Case]
    failures: pd.DataFrame = field(default_factory=pd.DataFrame)
    inference: Inference = field(default_factory=Inference)
