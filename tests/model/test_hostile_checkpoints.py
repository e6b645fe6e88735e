"""A checkpoint from a stranger is read or refused in one line: nothing of it runs, and no claim of it takes memory."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from medsaliency.evaluation.checks import make_check
from medsaliency.evaluation.data_randomization import network_for
from medsaliency.model import description as descriptions
from medsaliency.model.checkpoint import DESCRIPTION, WEIGHTS, load, load_state_dict, metrics_of, reading_of, save
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build
from medsaliency.study.config import load_study
from medsaliency.types import MedsaliencyError

from .hostile import Harmful, assert_refused, zipped


def changed(folder: Path, **values: Any) -> None:
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("architecture", "small_cnnn", ["unknown architecture", "small_cnn"]),
        ("architecture", "hf-hub:someone/model", ["unknown architecture"]),
        ("architecture", "local-dir:/etc", ["unknown architecture"]),
        ("architecture", "https://example.org/model", ["unknown architecture"]),
        ("architecture", "../../etc/passwd", ["unknown architecture"]),
        ("architecture", "monai:../../x", ["architecture"]),
        ("architecture", "x" * 1_000_000, ["architecture", "at most 255 characters"]),
        ("architecture", "small_cnn\n", ["architecture", "U+000A"]),
        ("architecture", 3, ["architecture", "string"]),
        ("architecture", {"name": "small_cnn"}, ["architecture", "string"]),
        ("architecture", None, ["architecture", "string"]),
        ("classes", [], ["classes", "at least 1"]),
        ("classes", "abc", ["classes", "array"]),
        ("classes", [1, 2, 3], ["classes.0", "string"]),
        ("classes", ["a", "b", "b"], ["classes", "number 2", "once"]),
        ("classes", ["a", "b\nERROR: done", "c"], ["classes", "number 1", "U+000A"]),
        ("classes", ["a", "\u202eb", "c"], ["classes", "number 1", "U+202E"]),
        ("classes", ["a", "b", "c" * 300], ["classes", "number 2", "at most 255"]),
        ("classes", [str(k) for k in range(300_000)], [WEIGHTS, "'head.2.bias' is (3,), expected (300000,)"]),
        ("classes", ["x" * 200 + str(k) for k in range(30_000)], ["4,194,304 bytes"]),
        ("channels", 0, ["channels", "greater than or equal to 1"]),
        ("channels", 10**9, ["channels", "less than or equal to 1024"]),
        ("channels", 10**400, ["channels"]),
        ("channels", "1", ["channels", "integer"]),
        ("channels", True, ["channels", "integer"]),
        ("channels", 1.5, ["channels", "integer"]),
        ("channels", 3, [WEIGHTS, "'stem.0.weight' is (16, 1, 5, 5), expected (16, 3, 5, 5)"]),
        ("size", 10**9, ["size", "8,000"]),
        ("size", 0, ["size", "8,000"]),
        ("size", -32, ["size", "8,000"]),
        ("size", [8000, 8000, 8000], ["size", "512,000,000"]),
        ("size", [16, 16], ["size"]),
        ("size", "32", ["size"]),
        ("mean", [0.1, 0.2], ["mean", "1 or 1 values", "got 2"]),
        ("mean", [], ["mean", "got 0"]),
        ("mean", [1e300], ["mean.0", "less than or equal"]),
        ("mean", [None], ["mean.0", "number"]),
        ("mean", 0.5, ["mean", "array"]),
        ("std", [0], ["std.0", "greater than or equal"]),
        ("std", [-1.0], ["std.0", "greater than or equal"]),
        ("std", [1e-300], ["std.0", "greater than or equal"]),
        ("std", ["1"], ["std.0", "number"]),
        ("output", "sigmoidal", ["output", "softmax"]),
        ("output", "single_logit", ["classes", "2 of a single logit", "got 3"]),
        ("target_layer", "stage9", [DESCRIPTION, "unknown layer 'stage9'", "stage1"]),
        ("target_layer", "", ["unknown layer"]),
        ("target_layer", "s" * 100_000, ["target_layer", "at most 255"]),
        ("metrics", [], ["metrics", "object"]),
        ("metrics", {"training_accuracy": "<b>1</b>"}, ["metrics.training_accuracy", "number"]),
        ("metrics", {"training_accuracy": 7}, ["metrics.training_accuracy", "less than or equal to 1"]),
        ("reading", {"window": [40.0, 0.0]}, ["reading.window.1", "greater than"]),
        ("reading", {"window": [40.0]}, ["reading.window"]),
        ("reading", {"fit": "/etc/passwd"}, ["reading.fit", "'pad', 'crop' or 'stretch'"]),
        ("reading", {"view": 3}, ["reading.view"]),
        ("reading", {"volume": True, "planes": "all"}, ["reading", "got both"]),
    ],
)
def test_a_description_that_cannot_be_is_refused(folder: Path, field: str, value: Any, words: list[str]) -> None:
    changed(folder, **{field: value})
    with assert_refused(folder, str(folder), *words):
        load(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["not valid JSON"]),
        ("null", ["object"]),
        ("[" * 100_000, ["not valid JSON"]),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, ["not valid JSON"]),
        ('{"metrics": ' + '{"a":' * 500 + "1" + "}" * 500 + "}", ["recursion limit"]),
        ('{"mean": [NaN]}', ["not valid JSON", "NaN"]),
        ('{"mean": [1e999]}', ["not valid JSON", "finite"]),
        ('{"channels": ' + "9" * 5_000 + "}", ["not valid JSON"]),
        ('{"channels": 1, "channels": 3}', ["'channels' once"]),
        ('{"a\\nb": 1, "a\\nb": 1}', ["once"]),
        (" " * (descriptions.MOST_BYTES + 1), ["4,194,304 bytes"]),
    ],
)
def test_json_that_cannot_be_is_refused(folder: Path, text: str, words: list[str]) -> None:
    (folder / DESCRIPTION).write_text(text)
    for call in (load, metrics_of, reading_of):
        with assert_refused(folder, str(folder / DESCRIPTION), *words):
            call(folder)


def test_a_description_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / DESCRIPTION).write_bytes(b"\xff\xfe\x00{")
    with assert_refused(folder, DESCRIPTION, "UTF-8"):
        load(folder)


def test_markup_in_the_name_of_a_class_is_text(folder: Path) -> None:
    names = ["<script>alert(1)</script>", "a & b", '"c"']
    changed(folder, classes=names, target_layer="stage2", trained_on={"name": "<img src=x>"})
    assert load(folder).classes == tuple(names)


def test_what_could_not_be_loaded_is_not_saved_and_what_was_not_measured_is_null(tmp_path: Path) -> None:
    module = build("small_cnn", classes=2)
    with pytest.raises(MedsaliencyError, match=r"model\.json: classes: number 1: .*U\+000A"):
        save(Classifier(module, ["a", "b\n"]), tmp_path / "a", architecture="small_cnn")
    assert list(tmp_path.iterdir()) == []
    metrics = {"validation_loss": float("nan"), "by class": [0.5, float("inf")]}
    save(Classifier(module, ["a", "b"]), tmp_path / "a", architecture="small_cnn", metrics=metrics)
    assert metrics_of(tmp_path / "a") == {"validation_loss": None, "by class": [0.5, None]}


def test_an_architecture_that_would_fill_the_memory_is_refused(folder: Path) -> None:
    changed(folder, architecture="vit_huge_patch14_224", size=8000)
    with assert_refused(folder, WEIGHTS, "do not fit"):
        load(folder)


def test_a_table_that_is_computed_from_a_size_and_not_in_the_file_is_refused(folder: Path) -> None:
    changed(folder, architecture="beit_base_patch16_224", size=1920)
    with torch.device("meta"):
        sketch = build("beit_base_patch16_224", classes=3, size=1920)
    needed = sum(value.numel() * value.itemsize for value in (*sketch.parameters(), *sketch.buffers()))
    with (folder / WEIGHTS).open("wb") as file:  # a file with a hole, which takes no place on the disk either
        place, header = 0, {}
        for name, value in sketch.state_dict().items():
            end = place + value.numel() * 4
            header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [place, end]}
            place = end
        text = json.dumps(header).encode()
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + place)
    assert needed > 5 * place
    with assert_refused(folder, DESCRIPTION, f"{needed:,}", "correct size"):
        load(folder)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def write(path: Path, header: object, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path, harm: path.write_bytes(pickle.dumps(Harmful(harm))),
        lambda path, harm: torch.save({"weight": Harmful(harm)}, path),
        lambda path, harm: zipped(path),
        lambda path, harm: path.write_bytes(b""),
        lambda path, harm: path.write_bytes(b"\0" * 8),
        lambda path, harm: path.write_bytes(path.read_bytes()[:-1]),
        lambda path, harm: path.write_bytes(path.read_bytes()[:500]),
        lambda path, harm: path.write_bytes(path.read_bytes() + b"more"),
        lambda path, harm: path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:]),
        lambda path, harm: path.write_bytes(struct.pack("<Q", 2**64 - 1) + b"{}"),
        lambda path, harm: os.truncate(path, 2**40),
        lambda path, harm: write(path, b"[" * 100_000, b""),
        lambda path, harm: write(path, b'{"\xff": 1}', b""),
        lambda path, harm: write(path, b"{" + b" " * (5 << 20) + b"}", b""),
    ],
    ids=lambda spoil: "",
)
def test_a_file_that_is_not_safetensors_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Path, Path], object]
) -> None:
    spoil(folder / WEIGHTS, tmp_path / "harm")
    with assert_refused(folder, str(folder / WEIGHTS), "cannot be read as safetensors"):
        load(folder)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data_offsets": [0, 2**60]}, "cannot be read as safetensors"),
        ({"data_offsets": [2**60, 2**60 + 12]}, "cannot be read as safetensors"),
        ({"data_offsets": [0, 12]}, "cannot be read as safetensors"),  # where another tensor is
        ({"data_offsets": [12, 0]}, "cannot be read as safetensors"),
        ({"data_offsets": [-1, 3]}, "cannot be read as safetensors"),
        ({"shape": [2**40, 2**40]}, "cannot be read as safetensors"),
        ({"shape": [10**30]}, "cannot be read as safetensors"),
        ({"shape": "3"}, "cannot be read as safetensors"),
        ({"shape": [1, 3]}, "is (1, 3), expected (3,)"),
        ({"dtype": "F8_E4M3FNUZ"}, "cannot be read as safetensors"),
        ({"dtype": "pickle"}, "cannot be read as safetensors"),
        ({"dtype": "I32"}, "head.2.bias: expected floating-point numbers, got whole"),
        ({"dtype": None}, "cannot be read as safetensors"),
    ],
)
def test_a_header_that_lies_is_refused(folder: Path, change: dict[str, Any], said: str) -> None:
    header, data = header_of(folder / WEIGHTS)
    write(folder / WEIGHTS, header | {"head.2.bias": header["head.2.bias"] | change}, data)
    with assert_refused(folder, str(folder / WEIGHTS), said):
        load(folder)


def spoilt(value: torch.Tensor, number: float) -> torch.Tensor:
    value = value.clone()
    value[0] = number
    return value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("head.2.bias"), "missing 'head.2.bias'"),
        (lambda state: state.update({"more\nERROR" * 100: torch.zeros(1)}), "unexpected 'more\\nERROR"),
        (lambda state: state.update({"head.2.bias": torch.zeros(0)}), "is (0,), expected (3,)"),
        (lambda state: state.update({"head.2.bias": torch.zeros(())}), "is (), expected (3,)"),
        (lambda state: state.update({"head.2.bias": torch.zeros(3, dtype=torch.int64)}), "got whole ones"),
        (lambda state: state.update({"head.2.bias": torch.zeros(3, dtype=torch.bool)}), "got logical ones"),
        (lambda state: state.update({"head.2.bias": torch.zeros(3, dtype=torch.complex64)}), "got complex ones"),
        (lambda state: state.update({"head.2.bias": torch.full((3,), float("nan"))}), "head.2.bias: expected finite"),
        (
            lambda state: state.update({"head.2.bias": torch.full((3,), 1e300, dtype=torch.float64)}),
            "head.2.bias: expected finite",
        ),
        (lambda state: state.update({"head.2.bias": spoilt(state["head.2.bias"], float("inf"))}), "expected finite"),
        (lambda state: state.update({"stem.1.num_batches_tracked": torch.tensor(0.5)}), "expected whole numbers"),
        (lambda state: state.clear(), "missing"),
    ],
)
def test_wrong_tensors_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)
    with assert_refused(folder, str(folder / WEIGHTS), said):
        load(folder)
    torch.save(state, tmp_path / "weights.pt")
    with assert_refused(folder, "weights.pt", said):
        load_state_dict(tmp_path / "weights.pt", architecture="small_cnn", classes=["a", "b", "c"])


def test_weights_of_fewer_bits_are_taken(folder: Path) -> None:
    expected = load(folder).module.state_dict()
    state = {
        name: value.contiguous().half() if value.is_floating_point() else value for name, value in expected.items()
    }
    save_file(state, folder / WEIGHTS)
    found = load(folder).module.state_dict()
    assert found["head.2.bias"].dtype == torch.float32
    assert all(torch.equal(found[name], value.to(found[name].dtype)) for name, value in state.items())


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "dangling", "loop"])
def test_what_is_no_file_is_refused_and_does_not_hang(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": name}[kind])
    for call in (load, metrics_of, reading_of):
        with assert_refused(folder, str(folder), "expected a checkpoint folder"):
            call(folder)
    if name == WEIGHTS:
        with assert_refused(folder, str(path)):
            load_state_dict(path, architecture="small_cnn", classes=["a", "b", "c"])


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
def test_links_out_of_the_folder_are_refused(folder: Path, name: str) -> None:
    elsewhere = folder.parents[1] / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    with assert_refused(folder, str(folder / name), "a link to elsewhere"):
        load(folder)


def test_a_folder_that_is_a_link_is_taken_where_its_user_names_it_and_not_where_a_run_has_it(folder: Path) -> None:
    elsewhere, link = folder.parents[1] / "elsewhere", folder.parents[1] / "link"
    folder.rename(elsewhere)
    link.symlink_to(elsewhere)
    assert load(link).classes == ("a", "b", "c")
    folder.symlink_to(elsewhere)
    with assert_refused(folder, str(folder), "a link to elsewhere"):
        load(folder.parent)


@pytest.mark.parametrize("place", ["a\0b", "x" * 300, "\ud800", "/dev/zero", "/dev/null", "."])
def test_a_path_that_is_no_checkpoint_is_refused(folder: Path, place: str) -> None:
    for call in (load, metrics_of, reading_of):
        with assert_refused(folder):
            call(place)


def test_a_hostile_checkpoint_of_data_randomization_is_refused(folder: Path) -> None:
    classifier = load(folder)
    (folder / WEIGHTS).write_bytes(pickle.dumps(Harmful(folder.parents[1] / "harm")))
    with assert_refused(folder, str(folder / WEIGHTS), "cannot be read as safetensors"):
        network_for(classifier, str(folder))
    with assert_refused(folder, "expected a checkpoint folder"):
        network_for(classifier, "/dev/zero")
    assert not (folder.parents[1] / "harm").exists()
    for wrong in (3, ["a"], {"a": 1}, True):
        with assert_refused(folder, "data_randomization", "expected checkpoint as the path of a folder"):
            make_check("data_randomization", {"checkpoint": wrong})
        with assert_refused(folder, "checkpoint"):
            load_study(None, **{"evaluate.checks": {"data_randomization": {"checkpoint": wrong}}})


def test_json_without_end_beside_a_model_of_hugging_face_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "given" / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    for text in ("[" * 100_000, '{"a":' * 100_000):
        (other / "preprocessor_config.json").write_text(text)
        with assert_refused(folder, str(other / "preprocessor_config.json"), "cannot be read"):
            reading_of(other)
