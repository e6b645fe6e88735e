from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medsaliency.data.dataset import EVALUATION, TRAINING, Dataset
from medsaliency.data.sandbox import CLASSES, FIELD_OF_VIEW_MM, marker, sandbox
from medsaliency.types import MedsaliencyError

SMALL = {"size": 64, "training": 24, "evaluation": 12}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return sandbox(size=96, training=60, evaluation=12)


def test_the_same_seed_gives_the_same_images_in_any_order() -> None:
    first, again = sandbox(**SMALL), sandbox(**SMALL)
    images = {record.id: first.read(record) for record in first.records[:9]}
    for record in reversed(again.records[:9]):
        raw = again.read(record)
        assert np.array_equal(raw.pixels, images[record.id].pixels)
        assert np.array_equal(raw.lesion, images[record.id].lesion)


def test_the_seed_the_patient_and_the_slice_matter() -> None:
    dataset, other = sandbox(**SMALL), sandbox(seed=1, **SMALL)
    images = [dataset.read(record).pixels for record in dataset.records[:6]] + [other.read(other.records[0]).pixels]
    assert all(not np.array_equal(a, b) for i, a in enumerate(images) for b in images[:i])


def test_other_counts_give_the_same_patient_the_same_image() -> None:
    few, many = sandbox(**SMALL), sandbox(**(SMALL | {"training": 48}))
    assert np.array_equal(few.read(few.records[4]).pixels, many.read(many.records[4]).pixels)


def test_an_image_is_its_healthy_self_outside_of_the_mask_and_differs_everywhere_inside(dataset: Dataset) -> None:
    # A record with another label is the same patient, slice and noise without the lesion.
    inside = 0
    for record in dataset.records:
        raw = dataset.read(record)
        healthy = dataset.read(replace(record, label=0))
        assert not healthy.lesion.any()
        assert np.array_equal(raw.pixels[0][~raw.lesion], healthy.pixels[0][~raw.lesion])
        differs = raw.pixels[0][raw.lesion] != healthy.pixels[0][raw.lesion]
        assert differs.all()
        inside += differs.sum()
    assert inside > 1000


def test_only_lesion_classes_have_a_lesion_of_a_plausible_size(dataset: Dataset) -> None:
    for record in dataset.records:
        raw = dataset.read(record)
        assert raw.pixels.shape == (1, 96, 96)
        assert raw.pixels.dtype == np.float32
        assert raw.lesion.shape == (96, 96)
        assert raw.pixels.min() >= 0
        assert raw.pixels.max() <= 1
        assert raw.spacing == (FIELD_OF_VIEW_MM / 96,) * 2
        share = raw.lesion.mean()
        assert share == 0 if record.label == 0 else 0.002 < share < 0.06
        largest = np.bincount(ndimage.label(raw.lesion)[0].ravel())[1:]
        assert record.label == 0 or largest.max() > 0.8 * raw.lesion.sum()


def test_a_patient_keeps_its_lesion_over_its_slices(dataset: Dataset) -> None:
    by_patient: dict[str, list[np.ndarray]] = {}
    for record in dataset.records:
        if record.label:
            by_patient.setdefault(record.patient, []).append(dataset.read(record).lesion)
    for before, middle, after in by_patient.values():
        assert middle.sum() >= max(before.sum(), after.sum())
        assert (before & middle).sum() > 0.8 * before.sum()


def test_classes_are_balanced_and_no_patient_is_in_two_splits() -> None:
    dataset = sandbox()
    training, evaluation = dataset.of(TRAINING), dataset.of(EVALUATION)
    assert (len(training), len(evaluation)) == (900, 150)
    assert {record.patient for record in training}.isdisjoint(record.patient for record in evaluation)
    assert set(Counter(record.label for record in training).values()) == {225}
    counts = Counter(record.label for record in evaluation).values()
    assert max(counts) - min(counts) <= 3
    assert len({record.id for record in dataset.records}) == 1050
    assert dataset.classes == CLASSES
    labels = {(record.patient, record.label) for record in dataset.records}
    assert len(labels) == len({patient for patient, _ in labels})


def test_counts_are_rounded_up_to_whole_patients() -> None:
    dataset = sandbox(training=10, evaluation=1, slices=4)
    assert (len(dataset.of(TRAINING)), len(dataset.of(EVALUATION))) == (12, 4)


def carries_marker(dataset: Dataset, plain: Dataset) -> dict[str, bool]:
    """For each record, whether its image is the plain one with the marker (True) or the plain one itself (False)."""
    found = {}
    for record, same in zip(dataset.records, plain.records, strict=True):
        raw, unmarked = dataset.read(record), plain.read(same)
        size = raw.pixels.shape[1]
        marked = np.where(marker(size), 1, unmarked.pixels)
        found[record.id] = np.array_equal(raw.pixels, marked)
        assert found[record.id] or np.array_equal(raw.pixels, unmarked.pixels)
        assert np.array_equal(raw.lesion, unmarked.lesion)
    return found


def test_a_certain_shortcut_marks_its_class_and_no_other() -> None:
    dataset, plain = sandbox(shortcut_class="sellar", **SMALL), sandbox(**SMALL)
    found = carries_marker(dataset, plain)
    assert all(found[record.id] == (CLASSES[record.label] == "sellar") for record in dataset.records)
    assert sum(found.values()) >= 6


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 20, 40)])
def test_a_shortcut_marks_about_its_share(probability: float, least: int, most: int) -> None:
    counts = {"size": 32, "training": 234, "evaluation": 6}
    dataset = sandbox(shortcut_class="no-lesion", shortcut_probability=probability, **counts)
    found = carries_marker(dataset, sandbox(**counts))
    own = [record.id for record in dataset.records if record.label == 0]
    assert len(own) == 60
    assert least <= sum(found[i] for i in own) <= most
    assert sum(found.values()) == sum(found[i] for i in own)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_the_marker_is_a_small_letter_in_the_upper_left_corner(size: int) -> None:
    mask = marker(size)
    rows, columns = np.nonzero(mask)
    assert 0 < mask.mean() < 0.02
    assert ndimage.label(mask)[1] == 1
    assert rows.max() < size / 2
    assert columns.max() < size / 2


def test_samples_have_the_asked_grid(dataset: Dataset) -> None:
    sample = dataset.sample(dataset.records[3], size=48, channels=3)
    assert sample.image.shape == (3, 48, 48)
    assert sample.lesion is not None
    assert sample.lesion.any()
    assert sample.label == 1


def test_the_default_size_is_made_in_time() -> None:
    dataset = sandbox()
    dataset.read(dataset.records[0])
    start = time.process_time()
    for record in dataset.records[:150]:
        dataset.read(record)
    # A seventh of the default 1,050 images, which are to take less than 20 s in all.
    assert time.process_time() - start < 20 / 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shortcut_class": "seller"}, r"a class for the shortcut, got 'seller'; did you mean 'sellar'"),
        ({"shortcut_class": "sellar", "shortcut_probability": 1.1}, r"shortcut_probability in \[0, 1\], got 1.1"),
        ({"shortcut_probability": -0.1}, r"shortcut_probability in \[0, 1\], got -0.1"),
        ({"training": 0}, "at least one image in each split"),
        ({"evaluation": 0}, "at least one image in each split"),
        ({"slices": 0}, "1 to 9 slices a patient"),
        ({"slices": 10}, "1 to 9 slices a patient"),
        ({"size": 31}, "32 pixels a side"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        sandbox(**arguments)
