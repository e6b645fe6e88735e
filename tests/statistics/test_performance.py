import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medsaliency.statistics.performance import auroc, calibration_error, macro_f1, performance


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities with ties, and whole-number weights."""
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, 200)
    probability = np.round(rng.dirichlet([1, 1, 1], 200) + 0.4 * np.eye(3)[label], 1)
    return label, probability / probability.sum(axis=1, keepdims=True), rng.integers(0, 4, 200)


def test_auroc_and_f1_agree_with_scikit_learn_weighted_and_with_ties(data) -> None:
    label, probability, weight = data
    weights = np.stack([np.ones(200), weight])
    predicted = probability.argmax(axis=1)
    for k in range(3):
        found = auroc(label == k, probability[:, k], weights)
        for row in (0, 1):
            expected = roc_auc_score(label == k, probability[:, k], sample_weight=weights[row])
            assert found[row] == pytest.approx(expected, abs=1e-12)
    for row in (0, 1):
        expected = f1_score(label, predicted, average="macro", sample_weight=weights[row])
        assert macro_f1(label, predicted, weights, 3)[row] == pytest.approx(expected, abs=1e-12)


def test_auroc_without_a_positive_is_undefined() -> None:
    found = auroc(np.array([True, False]), np.array([0.9, 0.1]), np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.95 falls into the last, 0.55 into the ninth. Gaps: |1 - 0.95| and |0.5 - 0.55|, two images each.
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False])
    assert calibration_error(confidence, correct, np.ones((1, 4)))[0] == pytest.approx(0.05)


def test_one_patient_has_a_performance_and_no_interval() -> None:
    table = pd.DataFrame({"patient": ["1"] * 3, "label": [0, 1, 1], "predicted": [0, 1, 0], "p_0": [0.9, 0.2, 0.6]})
    found = performance(table.assign(p_1=1 - table["p_0"]), ["x", "y"], seed=0)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert np.isnan([found[name]["low"] for name in ("accuracy", "macro_f1", "expected_calibration_error")]).all()


def test_performance_of_a_hand_made_table() -> None:
    table = pd.DataFrame(
        {
            "sample": list("abcd"),
            "patient": ["1", "1", "2", "3"],
            "label": [0, 0, 1, 1],
            "predicted": [0, 1, 1, 1],
            "p_0": [0.9, 0.4, 0.2, 0.1],
            "p_1": [0.1, 0.6, 0.8, 0.9],
        }
    )
    found = performance(table, ["x", "y"], seed=0)
    assert (found["images"], found["patients"]) == (4, 3)
    assert found["accuracy"]["value"] == 0.75
    assert found["accuracy"]["low"] <= 0.75 <= found["accuracy"]["high"]
    assert found["confusion"] == [[1, 1], [0, 2]]
    assert found["macro_f1"]["value"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert found["auroc"]["x"]["value"] == 1.0
    assert performance(table, ["x", "y"], seed=0) == found
