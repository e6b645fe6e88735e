"""What a planted shortcut does to a model and its maps: accuracy with and without the marker, attribution on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.types import generator


def shortcut(
    table: pd.DataFrame, label: int, name: str, area: float, *, seed: int, draws: int = 2000, level: float = 0.95
) -> dict[str, Any]:
    """How far the model relies on the marker.

    Args:
        table: One row an evaluation image: patient, label, marked (carries the marker), with_marker (predicted class of
            the image as it is), without (of the image without marker), planted (of the image with the marker, put on
            if it was not there).
        label: The class that the marker goes with.
        name: What it is called.
        area: The marker's share of an image's pixels.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        ``class``, ``area``, ``images``, ``marked`` (images), and with value, low and high each: ``accuracy_with``,
        ``accuracy_without`` and ``drop`` over all images, ``class_accuracy_with`` and ``class_accuracy_without`` over
        the marked ones, ``called_with`` and ``called_without`` (share of the images of other classes that the model
        calls the marker's class when the marker is put on them, and when not).
    """
    right = table["with_marker"] == table["label"]
    still = table["without"] == table["label"]
    other = table["label"] != label
    marked = table["marked"].astype(bool)
    every = np.ones(len(table), dtype=bool)
    parts: dict[str, tuple[pd.Series[Any], Any]] = {
        "accuracy_with": (right, every),
        "accuracy_without": (still, every),
        "drop": (right.astype(float) - still.astype(float), every),
        "class_accuracy_with": (right, marked),
        "class_accuracy_without": (still, marked),
        "called_with": (table["planted"] == label, other),
        "called_without": (table["without"] == label, other),
    }

    def interval(key: str) -> dict[str, float]:
        values, rows = parts[key]
        rng = generator(seed, "shortcut", key)
        found = mean_interval(values[rows].astype(float), table["patient"][rows], rng, draws=draws, level=level)
        return asdict(found)

    counts = {"class": name, "area": area, "images": len(table), "marked": int(marked.sum())}
    return {**counts, **{key: interval(key) for key in parts}}


def shortcut_shares(shares: pd.DataFrame, *, seed: int, draws: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """The mean share of each method's attribution that lies on the marker.

    Args:
        shares: Columns patient, method, value (in [0, 1], NaN where undefined), area.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, images, share, low, high, area (the marker's mean share of the pixels: what a map that knows
        nothing puts on it).
    """
    rows = []
    for method, group in shares.groupby("method", sort=False):
        rng = generator(seed, "shortcut share", str(method))
        found = mean_interval(group["value"], group["patient"], rng, draws=draws, level=level)
        rows.append(
            (method, int(group["value"].notna().sum()), found.value, found.low, found.high, group["area"].mean())
        )
    return pd.DataFrame(rows, columns=["method", "images", "share", "low", "high", "area"])
