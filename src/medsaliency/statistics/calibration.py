"""Whether probabilities mean what they say, and temperature scaling: Guo et al. 2017, arXiv:1706.04599, section 4.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.performance import expected_calibration_error

IMAGES = 20
"""Fewest validation images that a temperature is fitted to."""
BOUNDS = (0.05, 20.0)
"""Temperatures looked at. A best one at an end means that the images do not fix it, as where no prediction is wrong."""
SUM = 1e-3
"""How far the probabilities of an image may be from a sum of 1, for rounding."""


def temperature(validation: pd.DataFrame) -> tuple[float, str]:
    """The temperature of the lowest log loss on validation images.

    Args:
        validation: Columns label (class index) and p_0 ... p_{K-1}, a softmax; rows without a label are left out.

    Returns:
        Temperature, above 1 where the model is too sure of itself, and an empty reason; or 1 and the reason why none
        could be fitted: fewer than ``IMAGES`` images, no softmax, or no best temperature within ``BOUNDS``.
    """
    from scipy.optimize import minimize_scalar

    table = validation[validation["label"].notna()]
    probabilities = _probabilities(table)
    labels = table["label"].to_numpy(dtype=np.intp)
    if len(table) < IMAGES:
        return 1.0, f"validation images: {len(table)}, at least {IMAGES} needed"
    if probabilities.shape[1] < 2 or (np.abs(probabilities.sum(axis=1) - 1) > SUM).any():
        return 1.0, "probabilities of an image do not sum to 1, so that they are no softmax"
    ends = np.log(BOUNDS)
    found = minimize_scalar(
        lambda log: log_loss(calibrate(probabilities, np.exp(log)), labels),
        bounds=tuple(ends),
        method="bounded",
        options={"xatol": 1e-6},
    )
    if np.abs(found.x - ends).min() < 1e-3:
        return 1.0, f"validation images do not fix a temperature between {BOUNDS[0]:g} and {BOUNDS[1]:g}"
    return float(np.exp(found.x)), ""


def calibrate(probabilities: ArrayLike, temperature: float) -> Floats:
    """Softmax probabilities (n, K) as they are when logits are divided by the temperature; no class changes places.

    Logits are log probabilities up to a constant an image, so that they need not be known. A probability that was
    rounded to 0 counts as the smallest normal float32.

    Raises:
        ValueError: If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    logits = _logs(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_loss(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of -log of the probability (n, K) of the true class (n,), in nats; NaN without images."""
    logs = _logs(probabilities)
    return float(-logs[np.arange(len(logs)), np.asarray(labels, dtype=np.intp)].mean()) if len(logs) else float("nan")


def calibration(
    validation: pd.DataFrame,
    evaluation: pd.DataFrame,
    classes: Sequence[str],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    stratified: bool = False,
) -> dict[str, Any]:
    """What temperature scaling, fitted on validation images, does to the probabilities of evaluation images.

    Args:
        validation: As for :func:`temperature`.
        evaluation: Columns patient, label, predicted and p_0 ... p_{K-1}.
        classes: K names.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at.
        stratified: Whether patients are drawn within true classes.

    Returns:
        ``temperature``, ``reason`` (why it is 1 without being fitted; empty where fitted), ``validation_images``,
        ``images`` (of the evaluation), ``log_loss_before`` and ``log_loss_after``, ``error_before`` and ``error_after``
        (expected calibration error, each value, low, high; the first is that of
        :func:`medsaliency.statistics.performance.performance` with the same arguments).
    """
    found, reason = temperature(validation)
    probabilities, labels = _probabilities(evaluation), evaluation["label"].to_numpy()
    after = probabilities if reason else calibrate(probabilities, found)
    scaled = evaluation.assign(**{f"p_{k}": after[:, k] for k in range(len(classes))})
    how: dict[str, Any] = {"seed": seed, "draws": draws, "level": level, "stratified": stratified}
    return {
        "temperature": found,
        "reason": reason,
        "validation_images": int(validation["label"].notna().sum()),
        "images": len(evaluation),
        "log_loss_before": log_loss(probabilities, labels),
        "log_loss_after": log_loss(after, labels),
        "error_before": expected_calibration_error(evaluation, **how),
        "error_after": expected_calibration_error(scaled, **how),
    }


def _probabilities(table: pd.DataFrame) -> Floats:
    """The columns p_0 ... p_{K-1} as (n, K)."""
    count = sum(str(name).startswith("p_") for name in table.columns)
    return table[[f"p_{k}" for k in range(count)]].to_numpy(dtype=np.float64)


def _logs(probabilities: ArrayLike) -> Floats:
    return np.asarray(np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), np.finfo(np.float32).tiny)))
