from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.shortcut import shortcut, shortcut_shares

# Class 1 has the marker on two of three images; the model knows it by the marker alone.
TABLE = pd.DataFrame(
    {
        "patient": ["a", "b", "c", "d", "e", "e"],
        "label": [1, 1, 1, 0, 0, 0],
        "marked": [True, True, False, False, False, False],
        "with_marker": [1, 1, 0, 0, 0, 1],
        "without": [0, 0, 0, 0, 0, 1],
        "planted": [1, 1, 1, 1, 1, 1],
    }
)


def test_shares_are_those_counted_by_hand() -> None:
    found = shortcut(TABLE, 1, "sellar", 0.02, seed=0, draws=200)
    values = {key: part["value"] for key, part in found.items() if isinstance(part, dict)}
    assert values == {
        "accuracy_with": pytest.approx(4 / 6),
        "accuracy_without": pytest.approx(2 / 6),
        "drop": pytest.approx(2 / 6),
        "class_accuracy_with": 1.0,
        "class_accuracy_without": 0.0,
        "called_with": 1.0,
        "called_without": pytest.approx(1 / 3),
    }
    assert (found["class"], found["area"], found["images"], found["marked"]) == ("sellar", 0.02, 6, 2)
    assert found["drop"]["low"] <= found["drop"]["value"] <= found["drop"]["high"]


def test_without_a_marked_image_the_class_accuracy_is_undefined() -> None:
    found = shortcut(TABLE.assign(marked=False), 1, "sellar", 0.0, seed=0, draws=100)
    assert np.isnan(found["class_accuracy_with"]["value"])
    assert found["drop"]["value"] == pytest.approx(2 / 6)


def test_each_method_has_its_mean_share_beside_the_markers_area() -> None:
    shares = pd.DataFrame(
        {
            "patient": ["a", "b", "c"] * 2,
            "method": ["x"] * 3 + ["y"] * 3,
            "value": [0.2, 0.4, 0.6, 0.1, np.nan, 0.1],
            "area": [0.01, 0.02, 0.03] * 2,
        }
    )
    found = shortcut_shares(shares, seed=0, draws=200).set_index("method")
    assert found["share"].to_dict() == {"x": pytest.approx(0.4), "y": pytest.approx(0.1)}
    assert found["images"].to_dict() == {"x": 3, "y": 2}
    assert found["area"].to_dict() == {"x": pytest.approx(0.02), "y": pytest.approx(0.02)}
    assert found.loc["x", "low"] < 0.4 < found.loc["x", "high"]
