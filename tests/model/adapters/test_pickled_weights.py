from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medsaliency.model.adapters.pickled_weights import read_pickled_weights
from medsaliency.model.small_cnn import SmallCNN
from medsaliency.types import MedsaliencyError

LAYOUTS = pytest.mark.parametrize("zipped", [True, False])


class Harmful(nn.Module):
    """Runs code where it is unpickled in the ordinary way."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.layer = nn.Linear(2, 2)

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


class Shared(nn.Module):
    """Two views of one storage, one of them transposed, a buffer of integers, and nothing under one name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.turned = nn.Parameter(self.weight.data.T[1:])
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("none", None)
        self.coarse = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.float16))
        self.names = np.array(["a", "b"])


def save(module: nn.Module, path: Path, zipped: bool) -> Path:
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    return path


@LAYOUTS
@pytest.mark.parametrize("module", [SmallCNN(3), Shared(), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())])
def test_weights_are_those_that_torch_itself_reads(tmp_path: Path, module: nn.Module, zipped: bool) -> None:
    path = save(module, tmp_path / "network.pt", zipped)
    expected = torch.load(path, weights_only=False).state_dict()
    found = read_pickled_weights(path)
    assert found
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


@LAYOUTS
def test_a_state_dict_will_do(tmp_path: Path, zipped: bool) -> None:
    state = SmallCNN(2).state_dict()
    torch.save(state, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    found = read_pickled_weights(tmp_path / "weights.pt")
    assert all(torch.equal(found[name], value) for name, value in state.items())


@LAYOUTS
def test_nothing_that_a_file_asks_for_is_run(tmp_path: Path, zipped: bool) -> None:
    harm, path = tmp_path / "harm", tmp_path / "network.pt"
    save(nn.Sequential(nn.Linear(2, 2), Harmful(harm)), path, zipped)
    torch.load(path, weights_only=False)
    assert harm.exists(), "the file does harm where it is read in the ordinary way"
    harm.rmdir()
    assert read_pickled_weights(path).keys() == {"0.weight", "0.bias"}
    assert not harm.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights",
        b"PK\x03\x04",
        pickle.dumps([1, 2], protocol=2),
        b"\x80\x02r\xff\xff\xff\xff.",  # a place in the memo for which there would have to be gigabytes
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "network.pt").write_bytes(content)
    with pytest.raises(MedsaliencyError, match=r"network\.pt: cannot be read as a network") as error:
        read_pickled_weights(tmp_path / "network.pt")
    assert "\n" not in str(error.value)


def test_a_file_without_weights_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="got no weights"):
        read_pickled_weights(save(nn.ReLU(), tmp_path / "network.pt", True))
    with pytest.raises(MedsaliencyError, match="expected a file of weights"):
        read_pickled_weights(tmp_path / "other.pt")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    module.weight = nn.Parameter(torch.zeros(1).expand(1000, 1000))  # a stride of 0
    with pytest.raises(MedsaliencyError, match="more numbers than the file has"):
        read_pickled_weights(save(module, tmp_path / "network.pt", True))


def test_modules_that_are_shared_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medsaliency.model.adapters.pickled_weights.MOST", 1000)
    module: nn.Module = nn.Linear(1, 1)
    for _ in range(40):  # 2 to the 40 of them, in a small file
        module = nn.Sequential(module, module)
    with pytest.raises(MedsaliencyError, match="modules within modules without end"):
        read_pickled_weights(save(module, tmp_path / "network.pt", True))


@LAYOUTS
def test_views_of_one_storage_may_not_be_larger_together_than_a_file(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = torch.arange(20_000.0)
    path = tmp_path / "network.pt"
    torch.save({str(i): numbers[i:] for i in range(20)}, path, _use_new_zipfile_serialization=zipped)
    made = []
    bytes_of = torch.frombuffer
    monkeypatch.setattr(torch, "frombuffer", lambda *given, **more: made.append(1) or bytes_of(*given, **more))
    found = read_pickled_weights(path)
    assert all(torch.equal(found[str(i)], numbers[i:]) for i in range(20))
    assert len(made) == 1, "one copy of the storage"
    monkeypatch.setattr("medsaliency.model.torch_files.LARGEST", 200_000)
    with pytest.raises(MedsaliencyError, match="more of views of the same numbers"):
        read_pickled_weights(path)


@LAYOUTS
def test_a_damaged_file_is_refused_or_read_as_tensors(tmp_path: Path, zipped: bool) -> None:
    whole, rng = save(SmallCNN(2), tmp_path / "network.pt", zipped).read_bytes(), np.random.default_rng(0)
    start = whole.find(b"medsaliency")  # among the names and not the numbers
    outcomes = []
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[start + int(rng.integers(-200, 4000))] = rng.integers(256)
        (tmp_path / "network.pt").write_bytes(damaged)
        try:
            found = read_pickled_weights(tmp_path / "network.pt")
            outcomes.append(all(isinstance(value, torch.Tensor) for value in found.values()))
        except MedsaliencyError:
            outcomes.append(False)
    assert len(outcomes) == 150
    assert not all(outcomes)
