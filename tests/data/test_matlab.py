import h5py
import numpy as np
import pytest
from scipy.io import savemat

from medsaliency.data.matlab import figshare
from medsaliency.types import MedsaliencyError

IMAGE = np.arange(12, dtype=np.int16).reshape(3, 4) * 100 + 50


def write(path, label=1, patient="100360", image=IMAGE, **other):
    """A file as MATLAB's v7.3 writes it: arrays column-major, text as character codes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("cjdata")
        data["label"] = np.array([[float(label)]])
        data["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        data["image"] = image.T
        data["tumorMask"] = (image > 650).astype(np.uint8).T
        for name, value in other.items():
            data[name][...] = value
    return path


def test_label_patient_pixels_and_mask_are_as_drawn(tmp_path):
    write(tmp_path / "2.mat", label=3, patient="MR017260F")
    write(tmp_path / "1.mat")
    dataset = figshare(tmp_path)
    assert dataset.classes == ("meningioma", "glioma", "pituitary")
    first, second = dataset.records
    assert (first.id, first.label, first.patient, first.split) == ("1.mat", 0, "100360", None)
    assert (second.label, second.patient) == (2, "MR017260F")
    raw = dataset.read(first)
    np.testing.assert_allclose(raw.pixels, np.arange(12).reshape(1, 3, 4) / 11, rtol=1e-6)
    np.testing.assert_array_equal(raw.lesion, IMAGE > 650)


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("b/10.mat", "a/9.mat", "a/100.mat", "a/.hidden.mat"):
        write(tmp_path / name)
    assert [r.id for r in figshare(tmp_path).records] == ["a/9.mat", "b/10.mat", "a/100.mat"]


@pytest.mark.parametrize("modern", [True, False])
def test_a_fold_is_the_evaluation_split_by_file_number(tmp_path, modern):
    for number in (1, 2, 4, 5):  # 3 is missing, and must not shift the folds of 4 and 5
        write(tmp_path / "in" / f"{number}.mat")
    folds = np.array([[1], [2], [1], [2], [5]], float)
    if modern:
        with h5py.File(tmp_path / "cvind.mat", "w") as file:
            file["cvind"] = folds.T
    else:
        savemat(tmp_path / "cvind.mat", {"cvind": folds})
    splits = {r.id: r.split for r in figshare(tmp_path, fold=2).records}
    assert splits == {
        "in/1.mat": "training",
        "in/2.mat": "evaluation",
        "in/4.mat": "evaluation",
        "in/5.mat": "training",
    }
    with pytest.raises(MedsaliencyError, match=r"fold to be one of 1, 2, 5, got 3"):
        figshare(tmp_path, fold=3)
    write(tmp_path / "6.mat")
    with pytest.raises(MedsaliencyError, match=r"6.mat: expected a file numbered 1 to 5"):
        figshare(tmp_path)


def test_faults_name_the_file_in_one_line(tmp_path):
    with pytest.raises(MedsaliencyError, match=r"expected figshare's .mat files, got none"):
        figshare(tmp_path)
    write(tmp_path / "1.mat", label=4)
    with pytest.raises(MedsaliencyError, match=r"^1.mat: expected a label 1, 2 or 3, got \[4.0\]"):
        figshare(tmp_path)
    (tmp_path / "1.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(MedsaliencyError, match=r"^1.mat: expected a MATLAB v7.3 file") as caught:
        figshare(tmp_path)
    assert "\n" not in str(caught.value)
    with h5py.File(tmp_path / "1.mat", "w") as file:
        file["cjdata"] = np.zeros(3)
    with pytest.raises(MedsaliencyError, match=r"cjdata to be a structure"):
        figshare(tmp_path)
    (tmp_path / "cvind.mat").write_bytes(b"")
    with pytest.raises(MedsaliencyError, match=r"^cvind.mat: expected a MATLAB file with cvind"):
        figshare(tmp_path)


def test_faults_of_pixels_show_on_reading(tmp_path):
    write(tmp_path / "1.mat", image=np.full((2, 2), np.nan))
    write(tmp_path / "2.mat", image=np.zeros((2, 3, 4)))
    write(tmp_path / "3.mat")
    dataset = figshare(tmp_path)
    for record, message in zip(dataset.records, ("NaN", "expected image as a plane"), strict=False):
        with pytest.raises(MedsaliencyError, match=message):
            dataset.read(record)
    (tmp_path / "3.mat").unlink()
    with pytest.raises(MedsaliencyError, match=r"^3.mat: "):
        dataset.read(dataset.records[2])
