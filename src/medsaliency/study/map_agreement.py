"""How alike the maps of different methods are, of the same images and network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.study.store import Store
from medsaliency.types import generator


def method_agreement(
    store: Store, methods: Sequence[str], patients: dict[str, str], *, seed: int, draws: int, level: float
) -> pd.DataFrame:
    """Spearman correlation of the magnitudes of every two methods' maps, averaged over images.

    Costs one ranking a map and one product of the methods' ranks an image.

    Args:
        store: A run; its maps are read shard by shard.
        methods: k names.
        patients: Of each explained image.
        seed: Of the bootstrap over patients.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Columns method, other, correlation, low, high, images (on which both maps vary and are finite).
    """
    kept = store.maps()
    names = kept.samples
    found = np.full((len(names), len(methods), len(methods)), np.nan)
    for start, stop in kept.shards():
        every = [kept.maps(name, start, stop) for name in methods]
        for place in range(start, stop):
            maps = np.stack([own[place - start].ravel() for own in every])
            ranks = rankdata(np.abs(maps), axis=1)
            ranks -= ranks.mean(axis=1, keepdims=True)
            length = np.linalg.norm(ranks, axis=1)
            known = np.isfinite(maps).all(axis=1) & (length > 0)
            units = ranks[known] / length[known, None]
            found[place][np.ix_(known, known)] = units @ units.T
    owners = [patients[name] for name in names]
    rows = []
    for (i, one), (j, other) in combinations(enumerate(methods), 2):
        values = found[:, i, j]
        rng = generator(seed, "method agreement", one, other)
        mean = mean_interval(values, owners, rng, draws=draws, level=level)
        rows.append((one, other, mean.value, mean.low, mean.high, int(np.isfinite(values).sum())))
    return pd.DataFrame(rows, columns=["method", "other", "correlation", "low", "high", "images"])
