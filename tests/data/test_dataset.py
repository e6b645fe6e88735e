import numpy as np
import pytest

from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.types import MedsaliencyError

RECORDS = (Record("a", 0, "p", "training"), Record("b", 1, "q", "evaluation"), Record("c", 0, "r"))


def dataset(raw):
    return Dataset("made", ("x", "y"), RECORDS, lambda record: raw)


def test_a_sample_carries_its_record_and_geometry():
    lesion = np.zeros((4, 6), bool)
    lesion[:, 3:] = True
    made = dataset(Raw(np.ones((1, 4, 6), np.float32), lesion, (0.5, 0.25)))
    sample = made.sample(RECORDS[1], size=6, channels=3)
    assert (sample.id, sample.label, sample.patient) == ("b", 1, "q")
    assert sample.image.shape == (3, 6, 6)
    assert sample.lesion is not None
    assert sample.lesion.sum() == 12
    assert sample.geometry.native_size == (4, 6)
    assert sample.geometry.spacing == (0.5, 0.25)
    assert sample.geometry.source == "b"


def test_a_sample_keeps_its_mask_on_native_pixels():
    lesion = np.zeros((40, 60), bool)
    lesion[20, 30] = True
    sample = dataset(Raw(np.ones((1, 40, 60), np.float32), lesion)).sample(RECORDS[0], size=6)
    assert sample.lesion is not None
    assert not sample.lesion.any()  # lost on the model's grid
    assert sample.native_lesion is not None
    assert sample.native_lesion.shape == sample.geometry.native_size
    np.testing.assert_array_equal(sample.native_lesion, lesion)
    assert dataset(Raw(np.ones((1, 40, 60), np.float32))).sample(RECORDS[0], size=6).native_lesion is None


def test_a_mask_of_another_size_and_nan_are_refused_by_name():
    with pytest.raises(MedsaliencyError, match=r"^b: expected a lesion mask of the image's size \(4, 6\).*\(6, 4\)"):
        dataset(Raw(np.ones((1, 4, 6), np.float32), np.ones((6, 4), bool))).sample(RECORDS[1], 6)
    with pytest.raises(MedsaliencyError, match=r"^b: expected finite"):
        dataset(Raw(np.full((1, 4, 6), np.nan, np.float32))).sample(RECORDS[1], 6)


def test_samples_come_in_the_order_asked_and_are_tracked():
    seen = []

    def track(items, description, total=None):
        seen.append((description, total))
        return items

    made = dataset(Raw(np.ones((1, 4, 4), np.float32)))
    samples = made.samples([RECORDS[2], RECORDS[0]], 4, track=track, description="reading all")
    assert [sample.id for sample in samples] == ["c", "a"]
    assert seen == [("reading all", 2)]


def test_records_are_chosen_by_split_and_replaced():
    made = dataset(Raw(np.ones((1, 4, 4), np.float32)))
    assert made.of("evaluation") == (RECORDS[1],)
    assert made.of("validation") == ()
    assert made.with_records(RECORDS[:1]).records == RECORDS[:1]
    assert made.with_records([]).classes == ("x", "y")
