import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.tuned_overlap import COLUMNS, tuned_overlap
from medsaliency.types import MedsaliencyError

X = [0.25, 0.5, 0.75]


def curves(rows: list[tuple[str, str, list[float]]], metric: str = "lesion_iou", method: str = "a") -> pd.DataFrame:
    table = [(sample, patient, method, metric, X, y) for sample, patient, y in rows]
    return pd.DataFrame(table, columns=["sample", "patient", "method", "metric", "x", "y"])


def values(found: pd.DataFrame) -> dict[str, float]:
    return dict(zip(found["sample"], found["value"], strict=True))


# One image a patient: with as many folds as patients each is tuned on all others.
FOUR = [
    ("s0", "p0", [0.9, 0.5, 0.1]),
    ("s1", "p1", [0.8, 0.4, 0.0]),
    ("s2", "p2", [0.1, 0.3, 0.7]),
    ("s3", "p3", [0.2, 0.6, 0.5]),
]


def test_each_image_is_cut_where_the_others_of_its_class_are_best() -> None:
    found = tuned_overlap(curves(FOUR), {"s0": 0, "s1": 0, "s2": 1, "s3": 1}, folds=4, seed=0)
    # s2 is cut at the middle, which is best for s3 alone, and s3 at the top, which is best for s2 alone.
    assert values(found) == {"s0": 0.9, "s1": 0.8, "s2": 0.3, "s3": 0.5}
    assert found["metric"].unique().tolist() == ["lesion_iou_tuned"]
    assert found["reason"].tolist() == [""] * 4
    assert found["label"].tolist() == [0, 0, 1, 1]
    assert list(found) == COLUMNS


def test_a_class_without_another_patient_is_tuned_on_all_classes() -> None:
    labels = {"s0": 0, "s1": 0, "s2": 0, "s3": 1}
    found = values(tuned_overlap(curves(FOUR), labels, folds=4, seed=0))
    # Over s0, s1 and s2 the means are 0.6, 0.4 and 0.27: the lowest threshold.
    assert found["s3"] == 0.2
    # Of its own class s2 has s0 and s1; s3's y would not change that.
    assert found["s2"] == 0.1


def test_images_of_unknown_class_are_no_class() -> None:
    rows = [("s0", "p0", [0.9, 0.0, 0.0]), ("s1", "p1", [0.8, 0.0, 0.1]), ("s2", "p2", [0.1, 0.0, 0.7])]
    rows.append(("s3", "p3", [0.3, 0.0, 0.5]))
    found = values(tuned_overlap(curves(rows), {"s0": 0, "s1": 0, "s2": None, "s3": None}, folds=4, seed=0))
    # As a class s2 would be cut where s3 is best, at 0.7; over all others the means are 0.67, 0 and 0.2.
    assert found["s2"] == 0.1


def test_images_of_one_patient_never_tune_each_other() -> None:
    rows = [("s0", "p", [0.0, 0.0, 1.0]), ("s1", "p", [0.0, 0.0, 1.0]), ("s2", "q", [0.5, 0.0, 0.0])]
    found = values(tuned_overlap(curves(rows), {"s0": 0, "s1": 0, "s2": 0}, folds=5, seed=0))
    assert found == {"s0": 0.0, "s1": 0.0, "s2": 0.0}


def test_a_single_patient_has_no_threshold_and_a_reason() -> None:
    rows = [("s0", "p", [0.0, 0.0, 1.0]), ("s1", "p", [0.0, 0.0, 1.0])]
    found = tuned_overlap(curves(rows), {"s0": 0, "s1": 1}, seed=0)
    assert found["value"].isna().all()
    assert found["reason"].tolist() == ["no other patient to tune the threshold on"] * 2


def test_one_threshold_best_for_all_scores_each_by_its_own_best() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"s{i:02}", f"p{i // 2}", [0.1, 0.5 + 0.4 * rng.random(), 0.3]) for i in range(20)]
    found = values(tuned_overlap(curves(rows), {sample: i % 3 for i, (sample, _, _) in enumerate(rows)}, seed=7))
    assert found == {sample: y[1] for sample, _, y in rows}


@pytest.mark.parametrize("folds", [2, 5])
def test_as_one_image_at_a_time_with_a_loop(folds: int) -> None:
    """Cross-fitting again, from the folds that can be seen in who changes with whom."""
    rng = np.random.default_rng(1)
    rows = [(f"s{i:02}", f"p{i // 2}", rng.random(3).tolist()) for i in range(16)]
    labels = {sample: i % 2 for i, (sample, _, _) in enumerate(rows)}
    before = values(tuned_overlap(curves(rows), labels, folds=folds, seed=3))
    fold = _folds_seen(rows, labels, folds, seed=3)
    assert len({tuple(sorted(group)) for group in fold.values()}) == folds
    for sample, patient, y in rows:
        others = [r for r in rows if r[1] not in fold[patient] and labels[r[0]] == labels[sample]]
        best = np.mean([r[2] for r in others], axis=0).argmax()
        assert before[sample] == y[best]


def _folds_seen(
    rows: list[tuple[str, str, list[float]]], labels: dict[str, int], folds: int, seed: int
) -> dict[str, set[str]]:
    """For each patient those in its fold: the patients whose images do not follow a curve of its that beats all."""
    found: dict[str, set[str]] = {}
    for name in {patient for _, patient, _ in rows}:
        # All are best at the lowest threshold, but for this patient's far higher peak at the top one.
        made = [(s, p, [0.1, 0.0, 99.0] if p == name else [0.2, 0.0, 0.1]) for s, p, _ in rows]
        tuned = values(tuned_overlap(curves(made), labels, folds=folds, seed=seed))
        found[name] = {name} | {p for s, p, _ in made if p != name and tuned[s] == 0.2}
    return found


def test_folds_are_patients_dealt_evenly_by_seed() -> None:
    rows = [(f"s{i}", f"p{i}", [0.0, 0.0, 0.0]) for i in range(11)]
    labels = {sample: 0 for sample, _, _ in rows}
    sizes = [len(group) for group in _folds_seen(rows, labels, 4, seed=0).values()]
    assert sorted(sizes) == [2, 2] + [3] * 9
    assert _folds_seen(rows, labels, 4, seed=0) != _folds_seen(rows, labels, 4, seed=1)


def test_neither_the_order_of_rows_nor_other_methods_and_metrics_change_a_number() -> None:
    rng = np.random.default_rng(2)
    rows = [(f"s{i:02}", f"p{i % 7}", rng.random(3).tolist()) for i in range(30)]
    labels = {sample: i % 2 for i, (sample, _, _) in enumerate(rows)}
    alone = tuned_overlap(curves(rows), labels, seed=0)
    other = [(sample, patient, y[::-1]) for sample, patient, y in rows]
    together = pd.concat(
        [curves(other, method="b"), curves(other, "lesion_dice"), curves(rows)[::-1], curves(other, "sic_webp")]
    )
    found = tuned_overlap(together, labels, seed=0)
    assert found["metric"].value_counts().to_dict() == {"lesion_iou_tuned": 60, "lesion_dice_tuned": 30}
    same = found[(found["method"] == "a") & (found["metric"] == "lesion_iou_tuned")].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone)


def test_without_such_curves_there_are_no_rows() -> None:
    found = tuned_overlap(curves(FOUR, "sic_webp"), {}, seed=0)
    assert found.empty
    assert list(found) == COLUMNS


def test_what_does_not_fit_is_refused() -> None:
    labels = {"s0": 0, "s1": 0, "s2": 1, "s3": 1}
    with pytest.raises(MedsaliencyError, match="expected folds >= 2, got 1"):
        tuned_overlap(curves(FOUR), labels, folds=1, seed=0)
    with pytest.raises(MedsaliencyError, match="expected a label for every sample, got none for 's3'"):
        tuned_overlap(curves(FOUR), {"s0": 0, "s1": 0, "s2": 1}, seed=0)
    mixed = pd.concat([curves(FOUR), curves(FOUR, method="b").assign(x=[[0.1, 0.2, 0.3]] * 4)])
    with pytest.raises(MedsaliencyError, match="expected the same thresholds in every curve"):
        tuned_overlap(mixed, labels, seed=0)
