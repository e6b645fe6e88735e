from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.data import open_source
from medsaliency.data.dataset import SPLITS, Dataset, Raw, Record
from medsaliency.data.splits import split, split_table
from medsaliency.types import MedsaliencyError


def made(records, classes=("x", "y")):
    return Dataset("made", classes, tuple(records), lambda record: Raw(np.zeros((1, 2, 2), np.float32)))


def patients(label, sizes, split=None, prefix="p"):
    """Records of one class: a patient for each size, with that many images."""
    return [
        Record(f"{prefix}{label}-{n}/{i}", label, f"{prefix}{label}-{n}", split)
        for n, size in enumerate(sizes)
        for i in range(size)
    ]


sizes = st.lists(st.integers(1, 6), min_size=3, max_size=40)
seeds = st.integers(0, 2**31)


@settings(deadline=None)
@given(sizes, sizes, seeds)
def test_all_are_assigned_by_patient_with_every_class_in_each_split(first, second, seed):
    result = split(made(patients(0, first) + patients(1, second)), seed=seed)
    splits = defaultdict(set)
    for record in result.records:
        splits[record.patient].add(record.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {(r.label, r.split) for r in result.records} == {(label, name) for label in (0, 1) for name in SPLITS}


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=20, max_size=60), seeds, st.floats(0.1, 0.3), st.floats(0.1, 0.3))
def test_shares_are_met_to_half_a_patient(counts, seed, validation, evaluation):
    records = patients(0, counts) + patients(1, counts)
    result = split(made(records), seed=seed, validation=validation, evaluation=evaluation)
    found = Counter((r.label, r.split) for r in result.records)
    for label in (0, 1):
        assert abs(found[label, "evaluation"] - evaluation * sum(counts)) <= max(counts) / 2 + 1e-6
        assert abs(found[label, "validation"] - validation * sum(counts)) <= max(counts) / 2 + 1e-6


@settings(deadline=None)
@given(sizes, seeds, st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(counts, seed, random):
    records = patients(0, counts) + patients(1, counts)
    expected = {r.id: r.split for r in split(made(records), seed=seed).records}
    random.shuffle(records)
    result = split(made(records), seed=seed)
    assert {r.id: r.split for r in result.records} == expected
    assert [r.id for r in result.records] == [r.id for r in records]


def test_another_seed_draws_other_patients():
    dataset = made(patients(0, [1] * 50) + patients(1, [1] * 50))
    assert split(dataset, seed=0).records == split(dataset, seed=0).records
    assert split(dataset, seed=0).records != split(dataset, seed=1).records


def test_a_class_that_is_added_leaves_the_others_as_they_were():
    two = split(made(patients(0, [1] * 30) + patients(1, [1] * 30)), seed=3)
    three = split(made(patients(0, [1] * 30) + patients(1, [1] * 30) + patients(2, [1] * 30), ("x", "y", "z")), seed=3)
    assert three.records[:60] == two.records


def test_splits_of_the_source_are_kept_and_validation_carved_from_training():
    records = [r for label in (0, 1) for r in patients(label, [2] * 50, "training", "t")]
    records += [r for label in (0, 1) for r in patients(label, [1] * 10, "evaluation", "e")]
    result = split(made(records), seed=0, validation=0.2)
    found = Counter((r.label, r.split) for r in result.records)
    assert {r.id for r in result.of("evaluation")} == {r.id for r in records if r.split == "evaluation"}
    assert [found[label, "validation"] for label in (0, 1)] == [20, 20]
    assert [found[label, "training"] for label in (0, 1)] == [80, 80]


def test_evaluation_is_carved_from_training_where_only_validation_is_named():
    records = [r for label in (0, 1) for r in patients(label, [1] * 50, "training", "t")]
    records += [r for label in (0, 1) for r in patients(label, [1] * 10, "validation", "v")]
    result = split(made(records), seed=0)
    assert {r.id for r in result.of("validation")} == {r.id for r in records if r.split == "validation"}
    assert {r.id[0] for r in result.of("evaluation")} == {"t"}
    assert len(result.of("evaluation")) == 20


def test_records_without_a_split_follow_their_patient_or_train():
    records = [r for label in (0, 1) for r in patients(label, [4] * 3, "evaluation", "e")]
    records += [r for label in (0, 1) for r in patients(label, [4] * 3, "validation", "v")]
    records += [r for label in (0, 1) for r in patients(label, [4] * 3, None, "n")]
    records[0] = replace(records[0], split=None)
    result = split(made(records), seed=0)
    assert result.records[0].split == "evaluation"
    assert {r.split for r in result.records if r.id.startswith("n")} == {"training"}


def test_a_share_of_zero_makes_no_split():
    result = split(made(patients(0, [1] * 10) + patients(1, [1] * 10)), seed=0, validation=0)
    assert Counter(r.split for r in result.records) == {"training": 16, "evaluation": 4}


def test_a_large_patient_does_not_starve_a_split():
    result = split(made(patients(0, [1, 1, 100]) + patients(1, [100, 100, 100])), seed=0)
    assert {(r.label, r.split) for r in result.records} == {(label, name) for label in (0, 1) for name in SPLITS}


def test_a_patient_of_two_classes_stays_whole():
    records = [*patients(0, [1] * 20), *patients(1, [1] * 20), Record("both/0", 1, "p0-0"), Record("both/1", 1, "p0-0")]
    result = split(made(records), seed=0)
    assert len({r.split for r in result.records if r.patient == "p0-0"}) == 1


def test_a_class_too_small_is_named():
    with pytest.raises(MedsaliencyError, match=r"evaluation split, got no image of 'y' there \(2 patients in all\)"):
        split(made(patients(0, [1] * 10) + patients(1, [5, 5])), seed=0)


def test_a_patient_in_two_splits_of_the_source_is_refused_without_naming_it():
    records = [Record("a", 0, "Jane", "training"), Record("b", 0, "Jane", "evaluation")]
    with pytest.raises(MedsaliencyError, match=r"got 'a' in training and 'b' of the same patient") as caught:
        split(made(records, ("x",)), seed=0)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.2)])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(MedsaliencyError, match=r"sum below 1"):
        split(made(patients(0, [1] * 10)), seed=0, validation=shares[0], evaluation=shares[1])


def test_the_table_names_classes():
    table = split_table(made([Record("a", 1, "p", "training"), Record("b", 0, "q")]))
    assert list(table.columns) == ["sample", "patient", "label", "split"]
    assert table[["sample", "patient", "label"]].values.tolist() == [["a", "p", "y"], ["b", "q", "x"]]
    assert table["split"].isna().tolist() == [False, True]


def test_real_chest_films_are_split_by_patient(real_data):
    table = split_table(split(open_source(real_data / "chest-xray"), seed=0))
    assert table.groupby("patient")["split"].nunique().max() == 1
    shares = table.groupby("label")["split"].value_counts(normalize=True).unstack()
    np.testing.assert_allclose(shares["evaluation"], 0.2, atol=0.02)
    np.testing.assert_allclose(shares["validation"], 0.15, atol=0.02)
