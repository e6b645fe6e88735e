from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from medsaliency.model.checkpoint import DESCRIPTION, WEIGHTS, load, load_state_dict, metrics_of, reading_of, save
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


class Harmful:
    """Runs code where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def make(classes: int = 3, **arguments: object) -> Classifier:
    module = build("small_cnn", classes=classes, seed=4)
    return Classifier(module, [f"class-{k}" for k in range(classes)], mean=0.3, std=0.7, size=32, **arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "model"
    save(make(), folder, architecture="small_cnn", trained_on={"name": "nothing"}, metrics={"accuracy": 0.5})
    return folder


def test_logits_come_back_bit_for_bit(folder: Path) -> None:
    loaded, original = load(folder, batch_size=2), make(batch_size=2)
    assert torch.equal(loaded.logits(IMAGES), original.logits(IMAGES))
    assert loaded.classes == original.classes
    assert (loaded.size, loaded.channels, loaded.output) == (32, 1, "softmax")
    assert torch.equal(loaded.mean, original.mean)
    assert torch.equal(loaded.std, original.std)
    assert not loaded.module.training or torch.equal(loaded.logits(IMAGES), original.logits(IMAGES))


def test_the_folder_holds_two_files_and_the_record(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    description = json.loads((folder / DESCRIPTION).read_text())
    assert description["trained_on"] == {"name": "nothing"}
    assert description["metrics"] == {"accuracy": 0.5}


def test_a_run_folder_and_a_path_as_text_will_do(folder: Path) -> None:
    assert torch.equal(load(folder.parent).logits(IMAGES), load(str(folder)).logits(IMAGES))
    assert metrics_of(folder.parent) == metrics_of(str(folder)) == {"accuracy": 0.5}


def test_how_files_were_read_comes_back(folder: Path, tmp_path: Path) -> None:
    reading = {"window": [40.0, 400.0], "view": "coronal", "fit": "crop", "volume": False}
    save(make(), tmp_path / "a", architecture="small_cnn", reading=reading)
    assert reading_of(tmp_path / "a") == reading
    assert reading_of(folder) == reading_of(str(folder.parent)) == {}
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    del description["reading"]  # as before there was such an entry
    path.write_text(json.dumps(description))
    assert reading_of(folder) == {}


@pytest.mark.parametrize(
    ("architecture", "size"), [("small_cnn_3d", (16, 24, 32)), ("monai-3d:ResNet10", (32, 32, 32))]
)
def test_a_model_of_volumes_comes_back(tmp_path: Path, architecture: str, size: tuple[int, int, int]) -> None:
    original = Classifier(build(architecture, classes=2, size=size), ["a", "b"], size=size)
    save(original, tmp_path / "a", architecture=architecture)
    loaded, volumes = load(tmp_path / "a"), torch.rand(1, 1, *size)
    assert loaded.size == size
    assert torch.equal(loaded.logits(volumes), original.logits(volumes))


def test_our_own_folder_is_read_as_ours_whatever_else_lies_in_it(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").write_text("{}")
    assert load(folder).name == load(folder.parent).name == "small_cnn"
    assert reading_of(folder) == {}


def test_what_nothing_takes_is_refused_with_all_that_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    for place in (tmp_path, tmp_path / "weights.pt", tmp_path / "missing"):
        for call in (load, metrics_of, reading_of):
            with pytest.raises(MedsaliencyError) as error:
                call(place)
            said = str(error.value)
            assert said.startswith(str(place))
            assert all(word in said for word in ("xrv:", ".onnx", "config.json", "MONAI bundle", "load_state_dict"))
            assert "\n" not in said


def test_the_chosen_layer_comes_back(tmp_path: Path) -> None:
    save(make(target_layer="stage2"), tmp_path / "a", architecture="small_cnn")
    assert load(tmp_path / "a").target_layer(IMAGES) == "stage2"


def test_a_single_logit_comes_back(tmp_path: Path) -> None:
    module = build("small_cnn", classes=1, seed=1)
    original = Classifier(module, ["no", "yes"], output="single_logit")
    save(original, tmp_path / "a", architecture="small_cnn")
    assert torch.equal(load(tmp_path / "a").logits(IMAGES), original.logits(IMAGES))


def test_an_existing_folder_is_not_touched(folder: Path) -> None:
    before = (folder / WEIGHTS).read_bytes()
    with pytest.raises(MedsaliencyError, match="expected a new folder"):
        save(make(2), folder, architecture="small_cnn")
    assert (folder / WEIGHTS).read_bytes() == before


def test_nothing_is_left_where_saving_fails(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save(make(), tmp_path / "a", architecture="small_cnn", metrics={"accuracy": object()})
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"classes": ["a", "b"]}))
    with pytest.raises(MedsaliencyError, match=r"'head.2.bias' is \(3,\), expected \(2,\)"):
        load(folder)
    path.write_text(json.dumps(description | {"architecture": "resnet10t"}))
    with pytest.raises(MedsaliencyError, match=r"missing .* more; unexpected .* more"):
        load(folder)


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MedsaliencyError, match=f"expected a checkpoint folder with {WEIGHTS} and {DESCRIPTION}"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "Input should be an object"),
        ('{"architecture": "small_cnn"}', "classes: Field required"),
        ('{"architecture": []}', "architecture: Input should be a valid string"),
    ],
)
def test_a_description_that_is_not_whole_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / DESCRIPTION).write_text(text)
    with pytest.raises(MedsaliencyError, match=message):
        load(folder)


def test_weights_that_are_not_safetensors_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(MedsaliencyError, match="cannot be read as safetensors"):
        load(folder)
    assert not (tmp_path / "harm").exists()


def as_it_is(state: dict[str, torch.Tensor]) -> object:
    return state


@pytest.mark.parametrize(
    "wrap",
    [
        as_it_is,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
    ],
)
def test_a_state_dict_loads(tmp_path: Path, wrap: object) -> None:
    original = make()
    torch.save(wrap(original.module.state_dict()), tmp_path / "weights.pt")
    loaded = load_state_dict(
        tmp_path / "weights.pt", architecture="small_cnn", classes=original.classes, mean=0.3, std=0.7
    )
    assert torch.equal(loaded.logits(IMAGES), original.logits(IMAGES))


def test_a_state_dict_of_a_single_logit_loads(tmp_path: Path) -> None:
    module = build("small_cnn", classes=1, seed=1)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    loaded = load_state_dict(
        str(tmp_path / "weights.pt"),
        architecture="small_cnn",
        classes=["no", "yes"],
        output="single_logit",
        target_layer="stage1",
    )
    expected = Classifier(module, ["no", "yes"], output="single_logit")
    assert torch.equal(loaded.logits(IMAGES), expected.logits(IMAGES))
    assert loaded.target_layer(IMAGES) == "stage1"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, harm = tmp_path / "weights.pt", tmp_path / "harm"
    torch.save({"state_dict": Harmful(harm)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(MedsaliencyError, match="cannot be read as a state dict of plain tensors"):
        load_state_dict(path, architecture="small_cnn", classes=["a", "b"])
    assert not harm.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04"])
def test_a_broken_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(MedsaliencyError, match="cannot be read as a state dict"):
        load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_of_weights_is_refused_or_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        # What is still read as tensors does not fit the network; no other error may come out.
        with pytest.raises(MedsaliencyError):
            load_state_dict(path, architecture="small_cnn", classes=["a", "b"])


def test_a_missing_state_dict_and_one_without_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="no such file"):
        load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b"])
    for content in ([1, 2], {"epoch": 3}):
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(MedsaliencyError, match="cannot be read as a state dict of plain tensors"):
            load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b"])
    torch.save(make(2).module.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(MedsaliencyError, match="do not fit the architecture"):
        load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b", "c"])
