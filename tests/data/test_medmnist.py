import importlib
import pickle
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from medsaliency.data.medmnist import medmnist
from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError

module = importlib.import_module("medsaliency.data.medmnist")  # its function of that name is in the package
RNG = np.random.default_rng(0)
SIZES = {"train": 12, "val": 5, "test": 7}


def arrays(item=(8, 9), classes=3, dtype=np.uint8, **changes):
    found = {}
    for split, count in SIZES.items():
        found[f"{split}_images"] = RNG.integers(0, 256, (count, *item)).astype(dtype)
        found[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % classes
    return found | changes


def save(path, found, compress=True):
    (np.savez_compressed if compress else np.savez)(path, **found)
    return path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("item", [(8, 9), (8, 9, 3), (8, 9, 10)])
def test_images_labels_and_splits_are_the_files(tmp_path, item, compress):
    found = arrays(item)
    dataset = medmnist(save(tmp_path / "organmnist.npz", found, compress))
    assert (dataset.name, dataset.classes) == ("organmnist", ("0", "1", "2"))
    assert dataset.reading == Reading(volume=item == (8, 9, 10))
    assert [len(dataset.of(split)) for split in ("training", "validation", "evaluation")] == [12, 5, 7]
    assert len({record.id for record in dataset.records}) == 24
    for split, name in (("training", "train"), ("validation", "val"), ("evaluation", "test")):
        for number, record in enumerate(dataset.of(split)):
            image = found[f"{name}_images"][number] / 255
            expected = image.transpose(2, 0, 1) if item[-1] == 3 else image[None]
            raw = dataset.read(record)
            np.testing.assert_allclose(raw.pixels, expected, atol=1e-7)
            assert raw.pixels.dtype == np.float32
            assert record.label == found[f"{name}_labels"][number]
            assert record.patient == record.id == f"{name}/{number:05}"
    sample = dataset.sample(dataset.records[0], 8)
    assert sample.image.shape == ((1, 8, 8, 8) if item == (8, 9, 10) else (1, 8, 8))


@pytest.mark.parametrize("compress", [True, False])
def test_arrays_by_columns_and_of_other_types_are_read(tmp_path, compress):
    found = arrays(dtype=np.uint16)
    found["train_images"] = np.asfortranarray(found["train_images"])
    dataset = medmnist(save(tmp_path / "a.npz", found, compress))
    image = found["train_images"][4].astype(float)
    expected = (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(dataset.read(dataset.records[4]).pixels[0], expected, atol=1e-6)


def test_a_split_may_be_missing_and_labels_may_be_flat(tmp_path):
    found = {name: array for name, array in arrays().items() if not name.startswith("val")}
    found["train_labels"] = found["train_labels"].ravel()
    dataset = medmnist(save(tmp_path / "a.npz", found))
    assert {record.split for record in dataset.records} == {"training", "evaluation"}


def test_classes_are_named_in_the_order_of_their_numbers(tmp_path):
    path = save(tmp_path / "a.npz", arrays())
    assert medmnist(path, classes=("x", "y", "z")).classes == ("x", "y", "z")
    for classes in (("x", "y"), ("x", "y", "x")):
        with pytest.raises(MedsaliencyError, match=r"a.npz: expected 3 different names in classes"):
            medmnist(path, classes=classes)


def test_a_compressed_array_is_held_once_and_a_plain_one_not_at_all(tmp_path):
    large = arrays((256, 256), train_images=RNG.integers(0, 256, (12, 700, 700), dtype=np.uint8))
    size = large["train_images"].nbytes
    for compress, most in ((True, 1.5 * size), (False, 0.6 * size)):
        dataset = medmnist(save(tmp_path / "a.npz", large, compress))
        tracemalloc.start()
        try:
            for record in dataset.of("training"):
                dataset.read(record)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < most + 12 * 700 * 700  # one image as 32-bit numbers, and what is made on the way to them


def test_opening_reads_no_image(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npz", arrays())
    monkeypatch.setattr(module.Archive, "_images", lambda *_: pytest.fail("read"))
    medmnist(path)


def test_a_dataset_travels_to_another_process(tmp_path):
    dataset = medmnist(save(tmp_path / "a.npz", arrays()))
    expected = dataset.read(dataset.records[3]).pixels
    other = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    np.testing.assert_array_equal(other.read(other.records[3]).pixels, expected)


def fault(path, message):
    with pytest.raises(MedsaliencyError, match=message) as caught:
        medmnist(path)
    assert "\n" not in str(caught.value)


def test_files_with_several_labels_an_image_are_refused_with_the_reason(tmp_path):
    found = arrays(train_labels=np.zeros((12, 14), np.uint8))
    fault(save(tmp_path / "a.npz", found), r"a.npz: expected one label an image, got 14 \(images of several findings")


def test_what_is_no_medmnist_file_is_refused(tmp_path):
    fault(tmp_path / "a.npz", r"no such MedMNIST file")
    (tmp_path / "a.npz").write_bytes(b"no archive")
    fault(tmp_path / "a.npz", r"cannot be read as an .npz of arrays \(File is not a zip file\)")
    fault(save(tmp_path / "a.npz", {"x": np.zeros(3)}), r"expected MedMNIST's arrays \(train_images")
    for changes, message in (
        ({"val_labels": np.zeros((4, 1), np.uint8)}, r"expected as many val_images as val_labels, got 5 and 4"),
        ({"val_labels": np.zeros((5, 1))}, r"expected val_labels as an array of numbers, got float64"),
        ({"val_labels": np.full((5, 1), -1)}, r"expected labels from 0 to 999, got -1 to -1"),
        ({"val_labels": np.full((5, 1), 5000)}, r"expected labels from 0 to 999"),
        ({"val_images": np.zeros((5, 2, 2, 2, 2))}, r"expected val_images as an array of numbers"),
        ({"val_images": np.zeros((5, 4, 4), complex)}, r"expected val_images as an array of numbers"),
        ({"val_images": np.zeros((0, 4, 4))}, r"expected val_images of"),
    ):
        fault(save(tmp_path / "a.npz", arrays(**changes)), message)
    found = {name: array for name, array in arrays().items() if name != "test_labels"}
    fault(save(tmp_path / "a.npz", found), r"expected as many test_images as test_labels, got 7 and None")


def test_pickled_objects_are_refused_unread(tmp_path):
    trap = np.array([Trap()] * 5, object)
    fault(save(tmp_path / "a.npz", arrays(val_images=trap)), r"expected val_images as an array of numbers, got object")


class Trap:
    """Would be told of when it were unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_a_damaged_archive_is_told_when_its_images_are_read(tmp_path):
    path = save(tmp_path / "a.npz", arrays((64, 64)))
    dataset = medmnist(path)
    data = bytearray(path.read_bytes())
    data[20000] ^= 255
    path.write_bytes(data)
    with pytest.raises(MedsaliencyError, match=r"^train/00003: .*a.npz: cannot be read as an .npz of arrays"):
        dataset.read(dataset.records[3])
    path.write_bytes(data[: len(data) // 2])
    fault(path, r"cannot be read as an .npz")


def header(shape):
    return (
        np.lib.format.magic(1, 0)
        + (118).to_bytes(2, "little")
        + repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode().ljust(117)
        + b"\n"
    )


def test_bombs_and_false_sizes_are_refused_by_what_is_declared(tmp_path):
    path = tmp_path / "a.npz"
    started = time.monotonic()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("train_images.npy", "w", force_zip64=True) as stream:
            stream.write(header((300, 1000, 1000)))
            for _ in range(300):
                stream.write(bytes(10**6))
        archive.writestr("train_labels.npy", b"")
    written = time.monotonic()
    fault(path, r"expected train_images to grow at most 100-fold")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", header((10**6, 1000, 1000)))
    fault(path, r"expected train_images of 128 bytes as the archive says, got an array of shape")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", header((1, 30000, 30000)))
    fault(path, r"expected train_images of 128 bytes")
    assert time.monotonic() - written < 1 + (written - started)


def test_an_array_that_occurs_twice_is_refused(tmp_path):
    path = save(tmp_path / "a.npz", arrays())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("train_images.npy", header((1, 2, 2)) + bytes(4))
    fault(path, r"expected train_images once")


def test_too_much_to_hold_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD", 100)
    dataset = medmnist(save(tmp_path / "a.npz", arrays()))
    with pytest.raises(MedsaliencyError, match=r"save the arrays uncompressed"):
        dataset.read(dataset.records[0])
    dataset = medmnist(save(tmp_path / "a.npz", arrays(), compress=False))
    assert dataset.read(dataset.records[0]).pixels.shape == (1, 8, 9)
