import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medsaliency.statistics import performance as module
from medsaliency.statistics.bootstrap import (
    bca_interval,
    leave_one_out,
    mean_interval,
    patient_weights,
    widened_quantile,
)
from medsaliency.statistics.performance import auroc, calibration_error, macro_f1, performance
from medsaliency.types import generator


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
    # Without the first patient there is no image of x, so that nothing can be said about other patients.
    np.testing.assert_equal(found["auroc"]["x"], {"value": 1.0, "low": np.nan, "high": np.nan})
    np.testing.assert_equal(performance(table, ["x", "y"], seed=0), found)


@pytest.mark.parametrize("stratified", [False, True])
def test_intervals_are_bca_over_patients(data, stratified: bool) -> None:
    label, probability, _ = data
    predicted = probability.argmax(axis=1)
    columns = {f"p_{k}": probability[:, k] for k in range(3)}
    for patients in (np.arange(200), np.arange(200) // 3):
        table = pd.DataFrame({"patient": patients, "label": label, "predicted": predicted, **columns})
        found = performance(table, list("xyz"), seed=6, stratified=stratified)
        strata = label if stratified else None
        expected = mean_interval(label == predicted, patients, generator(6, "bootstrap"), strata=strata)
        shown = {"value": expected.value, "low": expected.low, "high": expected.high}
        assert found["accuracy"] == pytest.approx(shown, rel=1e-9)
    # One image a patient: the likeness of a patient's images does not matter, so that scikit-learn's AUROC suffices.
    patients = np.arange(200)
    found = performance(table.assign(patient=patients), list("xyz"), seed=6, draws=300, stratified=stratified)
    weights = patient_weights(patients, generator(6, "bootstrap"), 300, strata), leave_one_out(patients, strata)
    drawn, left = (
        [roc_auc_score(label == 1, probability[:, 1], sample_weight=row) for row in rows] for rows in weights
    )
    quantile = float(widened_quantile(patients, 0.95, strata=strata))
    expected = bca_interval(found["auroc"]["y"]["value"], drawn, left, 0.95, quantile=quantile)
    assert (found["auroc"]["y"]["low"], found["auroc"]["y"]["high"]) == pytest.approx((expected.low, expected.high))


def many(patients: int) -> pd.DataFrame:
    """One image a patient, three classes."""
    rng = np.random.default_rng(8)
    label = rng.integers(0, 3, patients)
    probability = rng.dirichlet([1, 1, 1], patients) + 0.5 * np.eye(3)[label]
    columns = {f"p_{k}": probability[:, k] / probability.sum(axis=1) for k in range(3)}
    return pd.DataFrame(
        {"patient": np.arange(patients), "label": label, "predicted": probability.argmax(axis=1), **columns}
    )


def limits(found: dict) -> np.ndarray:
    named = [found[name] for name in ("accuracy", "macro_f1", "expected_calibration_error")]
    return np.array([[part["low"], part["high"]] for part in (*named, *found["auroc"].values())])


@pytest.mark.parametrize("stratified", [False, True])
def test_few_patients_are_left_out_one_by_one(stratified: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table = many(module.GROUPS)
    found = performance(table, list("xyz"), seed=2, draws=200, stratified=stratified)
    monkeypatch.setattr(module, "GROUPS", None)
    assert performance(table, list("xyz"), seed=2, draws=200, stratified=stratified) == found


def test_groups_of_patients_move_the_limits_less_than_the_draws_do(monkeypatch: pytest.MonkeyPatch) -> None:
    table = many(1000)
    seeds = range(6)
    grouped = [limits(performance(table, list("xyz"), seed=seed)) for seed in seeds]
    monkeypatch.setattr(module, "GROUPS", None)
    single = [limits(performance(table, list("xyz"), seed=seed)) for seed in seeds]
    moved = np.abs(np.subtract(grouped, single))
    assert moved.max() > 0, "they are left out in groups"
    noise = np.std(single, axis=0, ddof=1)
    assert (moved.mean(axis=0) < noise).all()
    assert np.median(moved / noise) < 0.2


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = many(60)
    found = limits(performance(table, list("xyz"), seed=2, draws=101))
    monkeypatch.setattr(module, "CHUNK", 60 * 7)
    np.testing.assert_allclose(limits(performance(table, list("xyz"), seed=2, draws=101)), found, rtol=1e-12)
