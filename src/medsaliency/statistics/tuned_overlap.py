"""Overlap with the lesion at a threshold tuned on other patients, by cross-fitting.

Saporta et al. 2022 (CheXlocalize), doi:10.1038/s42256-022-00536-x, tune one threshold a class on validation images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats
from medsaliency.types import MedsaliencyError, generator

Integers = NDArray[np.int64]
OVERLAPS = ("lesion_iou", "lesion_dice")
"""Metrics whose curves give the overlap (y) at each threshold (x)."""
COLUMNS = ["sample", "patient", "label", "method", "metric", "value", "reason"]


def tuned_overlap(curves: pd.DataFrame, labels: Mapping[str, int | None], *, folds: int = 5, seed: int) -> pd.DataFrame:
    """Score each image at the threshold that is best for other patients.

    Patients are dealt into folds. For each method and metric by itself, an image is cut at the threshold of the highest
    mean overlap over the images of its class in the other folds; over those of all classes where its own has none
    there, or is unknown. Of equally good thresholds the lowest is taken.

    Args:
        curves: Columns sample, patient, method, metric, x (thresholds, the same in every row), y (the overlap at
            each). Rows of metrics other than ``OVERLAPS`` are ignored. An image whose overlap is undefined has no
            curve, and no row here.
        labels: Class of each sample, None where unknown.
        folds: Parts that patients are dealt into, at least 2; with fewer patients each is a part of its own.
        seed: Of the folds, which depend on it and on the patients' names only.

    Returns:
        Columns sample, patient, label, method, metric (``lesion_iou_tuned``, ``lesion_dice_tuned``), value (NaN where
        there is no other patient), reason; ordered by method, metric and sample.

    Raises:
        MedsaliencyError: If ``folds`` is below 2, a sample is not in ``labels``, or thresholds differ.
    """
    if folds < 2:
        raise MedsaliencyError(f"tuned_overlap: expected folds >= 2, got {folds}; one leaves no other patient")
    # In one order, so that sums, and with them the best threshold, do not depend on the order of the images.
    overlaps = curves[curves["metric"].isin(OVERLAPS)].sort_values("sample", kind="stable", ignore_index=True)
    missing = [sample for sample in overlaps["sample"].unique() if sample not in labels]
    if missing:
        raise MedsaliencyError(
            f"tuned_overlap: expected a label for every sample, got none for {missing[0]!r}; give None where unknown"
        )
    if len({tuple(x) for x in overlaps["x"]}) > 1:
        raise MedsaliencyError(
            "tuned_overlap: expected the same thresholds in every curve, got several; tune each by itself"
        )
    fold = _folds(overlaps["patient"].unique().tolist(), folds, seed)
    parts = []
    for (_, metric), group in overlaps.groupby(["method", "metric"]):
        label = pd.Series([labels[sample] for sample in group["sample"]], index=group.index)
        codes = pd.factorize(label)[0].astype(np.int64)
        places = np.array([fold[patient] for patient in group["patient"]], dtype=np.int64)
        values = _cross_fitted(np.array(group["y"].tolist(), dtype=np.float64), codes, places)
        reasons = np.where(np.isnan(values), "no other patient to tune the threshold on", "")
        tuned = group.assign(label=label, metric=f"{metric}_tuned", value=values, reason=reasons)
        parts.append(tuned[COLUMNS])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _folds(patients: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """The fold of each patient, dealt in a seeded order: sizes differ by one patient at most."""
    order = sorted(patients, key=lambda patient: generator(seed, "tuned_overlap", str(patient)).random())
    return {patient: place % folds for place, patient in enumerate(order)}


def _cross_fitted(overlap: Floats, labels: Integers, folds: Integers) -> Floats:
    """Overlap of each image at the threshold that is best in the other folds.

    Args:
        overlap: (n, T) of n images at T thresholds.
        labels: (n,) class of each, below 0 where unknown.
        folds: (n,) fold of each.

    Returns:
        (n,) values, NaN where no other fold has an image.
    """
    values = np.full(len(overlap), np.nan)
    for fold, label in set(zip(folds.tolist(), labels.tolist(), strict=True)):
        others = folds != fold
        same = others & (labels == label) & (label >= 0)
        tuning = overlap[same if same.any() else others]
        if len(tuning):
            best = tuning.mean(axis=0).argmax()
            own = (folds == fold) & (labels == label)
            values[own] = overlap[own, best]
    return values
