from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from medsaliency.study.map_agreement import method_agreement
from medsaliency.study.store import Store

METHODS = ["grad_cam", "gradient", "random", "flat"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three images of 8 x 8 pixels; ``flat`` has no order on the first one."""
    store = Store(tmp_path)
    rng = np.random.default_rng(3)
    maps = {name: rng.normal(size=(3, 8, 8)).astype(np.float32) for name in METHODS}
    maps["gradient"] = -np.round(maps["grad_cam"], 1)  # another sign and ties
    maps["flat"][0] = 1.0
    group = store.maps("a").group
    group.attrs.update({"samples": ["a", "b", "c"], "batch": 3})
    for name, part in maps.items():
        group.require_array(f"maps/{name}", shape=part.shape, chunks=(1, 8, 8), dtype=part.dtype)[:] = part
    return store


def test_every_pair_has_the_mean_correlation_of_its_magnitudes(store: Store) -> None:
    patients = {"a": "p", "b": "q", "c": "q"}
    found = method_agreement(store, METHODS, patients, seed=0, draws=200, level=0.95).set_index(["method", "other"])
    assert len(found) == 6
    group = store.maps().group
    for (one, other), row in found.iterrows():
        first, second = (np.abs(np.asarray(group[f"maps/{name}"])).reshape(3, -1) for name in (one, other))
        images = range(1 if "flat" in (one, other) else 0, 3)
        expected = np.mean([spearmanr(first[i], second[i]).statistic for i in images])
        assert row["correlation"] == pytest.approx(expected, abs=1e-6)
        assert row["images"] == len(images)
    assert found.loc[("grad_cam", "gradient"), "correlation"] > 0.99, "the sign does not count"


def test_a_map_without_order_agrees_with_none(store: Store) -> None:
    group = store.maps("a").group
    group["maps/flat"][:] = 0
    found = method_agreement(store, ["random", "flat"], dict.fromkeys("abc", "p"), seed=0, draws=100, level=0.95)
    assert found["images"].tolist() == [0]
    assert np.isnan(found["correlation"].iloc[0])
