from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss as peer_log_loss

from medsaliency.statistics.calibration import BOUNDS, calibrate, calibration, log_loss, temperature
from medsaliency.statistics.performance import performance

CLASSES = ["a", "b", "c"]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sure(seed: int, n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``factor`` times those that the labels are drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    return factor * logits, labels


def predictions(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(probabilities).rename(columns="p_{}".format)
    patients = [f"p{i // 2}" for i in range(len(labels))]
    return table.assign(label=labels, predicted=probabilities.argmax(axis=1), patient=patients)


class Logits(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose features are its logits."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Logits:
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[X.argmax(axis=1)]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_scikit_learn(factor: float) -> None:
    logits, labels = sure(0, 300, factor)
    peer = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, labels)), method="temperature")
    peer.fit(logits, labels)
    found, reason = temperature(predictions(softmax(logits).astype(np.float32), labels))
    assert reason == ""
    np.testing.assert_allclose(calibrate(softmax(logits), found), peer.predict_proba(logits), atol=2e-4)
    assert found == pytest.approx(factor, rel=0.25)


def test_no_other_temperature_has_a_lower_loss_than_the_one_found() -> None:
    logits, labels = sure(1, 100, 2.0)
    probabilities = softmax(logits)
    found, _ = temperature(predictions(probabilities, labels))
    losses = [log_loss(calibrate(probabilities, t), labels) for t in np.geomspace(*BOUNDS, 400)]
    assert log_loss(calibrate(probabilities, found), labels) <= min(losses)


logits = st.lists(st.lists(st.floats(-40, 40, width=32), min_size=3, max_size=3), min_size=1, max_size=5)


@given(logits, st.floats(0.1, 10))
def test_scaled_probabilities_are_the_softmax_of_scaled_logits_in_the_same_order(
    values: list[list[float]], heat: float
) -> None:
    array = np.array(values, dtype=float)
    found = calibrate(softmax(array), heat)
    np.testing.assert_allclose(found, softmax(array / heat), atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    before = softmax(array)
    rows = np.arange(len(array))
    assert (found[rows, before.argmax(axis=1)] == found.max(axis=1)).all()
    np.testing.assert_allclose(calibrate(before, 1.0), before, atol=1e-12)


def test_a_probability_rounded_to_nothing_stays_the_smallest() -> None:
    found = calibrate([[1.0, 0.0, 1e-30]], 20.0)
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 2] > found[0, 1] > 0
    assert np.isfinite(log_loss([[1.0, 0.0]], [1]))


def test_the_log_loss_is_that_of_scikit_learn() -> None:
    values, labels = sure(2, 50, 1.0)
    assert log_loss(softmax(values), labels) == pytest.approx(peer_log_loss(labels, softmax(values)))
    assert np.isnan(log_loss(np.zeros((0, 3)), []))


def test_where_no_temperature_can_be_had_it_is_one_with_a_reason() -> None:
    values, labels = sure(3, 40, 1.0)
    table = predictions(softmax(values), labels)
    assert temperature(table[:19]) == (1.0, "validation images: 19, at least 20 needed")
    half = table.assign(label=table["label"].where(np.arange(40) < 10))
    assert temperature(half) == (1.0, "validation images: 10, at least 20 needed")
    # All right: the surer the better, without end. All wrong: the less sure the better.
    for right in (softmax(values).argmax(axis=1), softmax(values).argmin(axis=1)):
        one, reason = temperature(predictions(softmax(values), right))
        assert (one, reason) == (1.0, "validation images do not fix a temperature between 0.05 and 20")
    independent = table.assign(p_0=0.9, p_1=0.9)
    assert temperature(independent)[1].endswith("they are no softmax")


def test_a_model_that_is_too_sure_is_mended_on_other_images() -> None:
    validation, evaluation = (
        predictions(softmax(values), labels) for values, labels in (sure(4, 300, 3), sure(5, 200, 3))
    )
    found = calibration(validation, evaluation, CLASSES, seed=0)
    assert found["temperature"] == pytest.approx(3, rel=0.25)
    assert (found["reason"], found["validation_images"], found["images"]) == ("", 300, 200)
    assert found["log_loss_after"] < found["log_loss_before"]
    before, after = found["error_before"], found["error_after"]
    assert after["high"] < before["low"]
    assert before == performance(evaluation, CLASSES, seed=0)["expected_calibration_error"]
    json.dumps(found)


def test_without_a_temperature_nothing_changes() -> None:
    values, labels = sure(6, 60, 2)
    table = predictions(softmax(values), labels)
    found = calibration(table[:5], table, CLASSES, seed=0)
    assert found["temperature"] == 1.0
    assert found["reason"]
    assert found["log_loss_before"] == found["log_loss_after"]
    assert found["error_before"] == found["error_after"]


def test_a_temperature_is_above_zero() -> None:
    with pytest.raises(ValueError, match="temperature above 0, got 0"):
        calibrate([[0.5, 0.5]], 0.0)
