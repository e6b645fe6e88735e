"""Compared with the torch module that was exported."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from medsaliency import explain
from medsaliency.attribution import METHODS
from medsaliency.model.adapters.onnx import REASON, ScoresOnly
from medsaliency.model.checkpoint import fingerprint, load, metrics_of, reading_of
from medsaliency.model.classifier import Classifier
from medsaliency.model.tuning import tune
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
ABOUT = {"classes": ["a", "b", "c"], "mean": 0.3, "std": 0.2}


def export(module: nn.Module, path: Path, about: dict[str, Any] | None = None, **fixed: Any) -> Path:
    """Write a module as ONNX, and its description beside it."""
    axes = fixed.pop("axes", {"images": {0: "n"}})
    example = fixed.pop("example", torch.zeros(1, 1, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the other exporter needs one more package
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes=axes,
            dynamo=False,
        )
    if about is not None:
        path.with_suffix(".json").write_text(json.dumps(about))
    return path


@pytest.fixture(scope="module")
def module() -> nn.Module:
    module = build("small_cnn", classes=3, seed=4).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(0.1)
    return module


@pytest.fixture(scope="module")
def file(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(module, tmp_path_factory.mktemp("onnx") / "small.onnx", ABOUT)


@pytest.fixture(scope="module")
def torch_model(module: nn.Module) -> Classifier:
    return Classifier(module, ["a", "b", "c"], mean=0.3, std=0.2)


def test_scores_are_those_of_the_module(file: Path, torch_model: Classifier) -> None:
    classifier = load(file, batch_size=2)
    expected = torch_model.logits(IMAGES)
    assert expected.std() > 0.1
    assert torch.allclose(classifier.logits(IMAGES), expected, atol=1e-5)
    assert torch.allclose(
        classifier.scores(IMAGES, [0, 1, 2, 0, 1]), torch_model.scores(IMAGES, [0, 1, 2, 0, 1]), atol=1e-5
    )
    assert (classifier.classes, classifier.size, classifier.channels) == (("a", "b", "c"), 32, 1)
    assert classifier.name == "onnx:small"
    assert metrics_of(file) == reading_of(file) == {}


WITHOUT_GRADIENTS = ("occlusion", "rise", "lime", "kernel_shap", "random", "edge", "center_gaussian")


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_methods_that_only_ask_for_scores_give_the_maps_of_the_module(
    name: str, file: Path, torch_model: Classifier
) -> None:
    assert name in REASON
    method = METHODS[name](masks=100) if name == "rise" else METHODS[name]()  # type: ignore[call-arg]
    ours, theirs = (explain(model, IMAGES[:1], [1], {name: method})[name] for model in (load(file), torch_model))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert ours.abs().max() > 0


@pytest.mark.parametrize("name", sorted(METHODS.keys() - set(WITHOUT_GRADIENTS)))
def test_every_other_method_is_refused_before_its_passes(name: str, file: Path) -> None:
    classifier = load(file)
    passes: list[object] = []
    classifier.module.register_forward_hook(lambda *given: passes.append(given))
    with pytest.raises(MedsaliencyError) as error:
        explain(classifier, IMAGES[:1], [0], name)
    assert str(error.value) == REASON
    assert len(passes) <= 1  # the image's own score, which some ask for first


def test_layers_are_refused_with_the_reason(file: Path) -> None:
    classifier = load(file)
    assert isinstance(classifier, ScoresOnly)
    assert not classifier.differentiable
    calls = [
        lambda: classifier.target_layer(IMAGES),
        lambda: classifier.describe_layers(IMAGES),
        lambda: classifier.use_layer("x"),
        lambda: classifier.input_gradients(IMAGES, [0] * 5),
        lambda: classifier.scores_from_layer(IMAGES[:1], IMAGES, 0),
        lambda: classifier.module(IMAGES.clone().requires_grad_()),
    ]
    for call in calls:
        with pytest.raises(MedsaliencyError) as error:
            call()
        assert str(error.value) == REASON


def test_other_weights_have_another_fingerprint(file: Path, tmp_path: Path) -> None:
    other = export(build("small_cnn", classes=3, seed=5), tmp_path / "other.onnx", ABOUT)
    prints = [fingerprint(load(path).module) for path in (file, file, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_file_of_a_fixed_batch_takes_any_number_of_images(module: nn.Module, tmp_path: Path) -> None:
    path = export(module, tmp_path / "fixed.onnx", ABOUT, axes={}, example=torch.zeros(2, 1, 32, 32))
    expected = Classifier(module, ["a", "b", "c"], mean=0.3, std=0.2).logits(IMAGES)
    assert torch.allclose(load(path).logits(IMAGES), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "output"), [(nn.Softmax(dim=1), "softmax"), (nn.Sigmoid(), "sigmoid"), (nn.Sigmoid(), "single_logit")]
)
def test_probabilities_that_a_file_gives_are_kept(head: nn.Module, output: Any, tmp_path: Path) -> None:
    inner = build("small_cnn", classes=1 if output == "single_logit" else 3, seed=4).eval()
    classes = ["no", "yes"] if output == "single_logit" else ["a", "b", "c"]
    about = {"classes": classes, "output": output, "probabilities": True}
    path = export(nn.Sequential(inner, head), tmp_path / "model.onnx", about)
    expected = Classifier(inner, classes, output=output).probabilities(IMAGES)
    assert torch.allclose(load(path).probabilities(IMAGES), expected, atol=1e-5)


def test_a_description_may_stand_in_the_file(file: Path, tmp_path: Path, torch_model: Classifier) -> None:
    model = onnx.load(file)
    about = ABOUT | {"reading": {"window": [40, 400]}}
    helper.set_model_props(model, {"medsaliency": json.dumps(about)})
    onnx.save(model, tmp_path / "inside.onnx")
    assert torch.allclose(load(tmp_path / "inside.onnx").logits(IMAGES), torch_model.logits(IMAGES), atol=1e-5)
    assert reading_of(tmp_path / "inside.onnx") == {"window": [40, 400]}


def test_weights_in_a_file_of_the_same_folder_are_read(file: Path, tmp_path: Path, torch_model: Classifier) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(file), path, save_as_external_data=True, location="model.data", size_threshold=0)
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    assert (tmp_path / "model.data").stat().st_size > 100_000
    assert torch.allclose(load(path).logits(IMAGES), torch_model.logits(IMAGES), atol=1e-5)
    before = fingerprint(load(path).module)
    weights = bytearray((tmp_path / "model.data").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.data").write_bytes(weights)
    assert fingerprint(load(path).module) != before
    (tmp_path / "model.data").rename(tmp_path / "elsewhere.data")
    with pytest.raises(MedsaliencyError, match=r"it names 'model.data'"):
        load(path)


def test_sizes_left_open_are_taken_from_the_description(module: nn.Module, tmp_path: Path) -> None:
    axes = {"images": {0: "n", 2: "h", 3: "w"}}
    assert load(export(module, tmp_path / "a.onnx", ABOUT, axes=axes)).size is None
    path = export(module, tmp_path / "b.onnx", ABOUT | {"size": 48}, axes=axes)
    assert load(path).size == 48
    assert load(path).logits(torch.rand(1, 1, 48, 48)).shape == (1, 3)


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Neg", ["logits"], ["other"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 2, 8, 8])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("logits", "other")]
    opset = [helper.make_opsetid("", 17)]
    onnx.save(
        helper.make_model(helper.make_graph(nodes, "g", [images], outputs), opset_imports=opset, ir_version=8), path
    )
    path.with_suffix(".json").write_text('{"classes": ["a", "b"]}')
    with pytest.raises(MedsaliencyError, match=r"naming one of \['logits', 'other'\]"):
        load(path)
    path.with_suffix(".json").write_text('{"classes": ["a", "b"], "logits": "logits"}')
    pixels = torch.rand(3, 2, 8, 8)
    assert torch.allclose(load(path).logits(pixels), pixels.mean(dim=(2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "small.json: cannot be read as JSON"),
        ("{}", "small.json: classes: Field required"),
        ('{"classes": ["a"], "std_": 1}', "small.json: std_: Extra inputs are not permitted"),
        ('{"classes": ["a"], "output": "logits"}', "small.json: output: Input should be"),
    ],
)
def test_a_description_that_is_wrong_is_named(file: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(file.read_bytes())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(MedsaliencyError, match=message):
        load(path)


def test_a_file_without_description_a_missing_and_a_broken_one_are_refused(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    for call in (load, reading_of):
        with pytest.raises(MedsaliencyError, match="no such ONNX file"):
            call(path)
    path.write_bytes(file.read_bytes())
    with pytest.raises(MedsaliencyError, match=r'expected small.json beside it .*write \{"classes"'):
        load(path)
    path.write_bytes(b"\x08\x07")
    with pytest.raises(MedsaliencyError, match=r"small.onnx: cannot be read as ONNX") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_images_of_another_size_are_refused_in_one_line(file: Path) -> None:
    with pytest.raises(MedsaliencyError, match=r"cannot run on images of shape \(1, 1, 40, 40\)") as error:
        load(file).logits(torch.rand(1, 1, 40, 40))
    assert "\n" not in str(error.value)


def test_operators_of_an_unknown_library_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    node = helper.make_node("Own", ["images"], ["logits"], domain="own.operators")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 8, 8]) for name in ("images", "logits")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own.operators", 1)]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=opsets, ir_version=8
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(MedsaliencyError, match=r"own.onnx: cannot be read as ONNX .*own.operators"):
        load(path)


def test_a_damaged_file_is_refused_or_read(file: Path, tmp_path: Path) -> None:
    whole, rng, path = file.read_bytes(), np.random.default_rng(0), tmp_path / "small.onnx"
    path.with_suffix(".json").write_text(json.dumps(ABOUT))
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        damaged[rng.integers(min(len(damaged), 3000))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except MedsaliencyError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
    assert refused > 30


def test_a_missing_library_names_the_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MedsaliencyError, match=r"pip install 'medsaliency\[onnx\]'"):
        load(file)


def test_a_model_of_scores_only_has_nothing_to_tune(file: Path, tmp_path: Path) -> None:
    found = tune(load(file), IMAGES, cache=tmp_path / "cache")
    assert found.execution == load(file).execution
    assert found.seconds == {}
    assert not (tmp_path / "cache").exists()
