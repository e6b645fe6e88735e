"""Compared with MONAI's own parser and transforms on the same bundle and image file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.networks import nets
from PIL import Image

from medsaliency import explain
from medsaliency.model.checkpoint import load, metrics_of, reading_of
from medsaliency.types import MedsaliencyError

ROWS, COLUMNS = 48, 64
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
PIXELS[0, 0], PIXELS[0, 1] = 0, 255
IMAGE = torch.from_numpy(PIXELS)[None, None] / 255
METADATA = {
    "network_data_format": {
        "inputs": {
            "image": {
                "num_channels": 1,
                "spatial_shape": ["16*n", "16*m"],
                "value_range": [0, 1],
                "is_patch_data": False,
            }
        },
        "outputs": {"pred": {"num_channels": 3, "channel_def": {"0": "normal", "1": "benign", "2": "malignant"}}},
    }
}
INFERENCE = {
    "imports": ["$import os"],
    "device": "$torch.device('cpu')",
    "classes": 3,
    "image_key": "image",
    "network_def": {
        "_target_": "SEResNet50",
        "layers": [1, 1, 1, 1],
        "spatial_dims": 2,
        "in_channels": 1,
        "num_classes": "@classes",
        "pretrained": True,
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
            {"_target_": "NormalizeIntensityd", "keys": "image", "subtrahend": 0.4, "divisor": 0.2},
            {"_target_": "ToDeviced", "keys": "image", "device": "@device"},
        ],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}],
    },
}


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nets.SEResNet50(layers=[1, 1, 1, 1], spatial_dims=2, in_channels=1, num_classes=3).eval()
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.fill_(0.6)
    return made


def write(
    folder: Path, config: dict[str, Any], metadata: dict[str, Any] = METADATA, name: str = "inference.json"
) -> Path:
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    text = json.dumps(config) if name.endswith(".json") else yaml.safe_dump(config)
    (folder / "configs" / name).write_text(text)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network().state_dict(), path)
    return path


@pytest.fixture
def bundle(tmp_path: Path, weights: Path) -> Path:
    folder = write(tmp_path / "bundle", INFERENCE)
    (folder / "models" / "model.pt").write_bytes(weights.read_bytes())
    return folder


def with_(*path: str, value: object, of: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested dicts with one value changed."""
    first, *rest = path
    return of | {first: with_(*rest, value=value, of=of[first]) if rest else value}


def test_logits_are_those_of_monais_own_parser_and_transforms(bundle: Path, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    parser = ConfigParser(with_("network_def", "pretrained", value=False, of=INFERENCE))
    theirs = parser.get_parsed_content("network_def").eval()
    theirs.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    prepared = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "image.png")})["image"]
    assert prepared.shape == (1, COLUMNS, ROWS), "MONAI puts the horizontal axis first"
    with torch.no_grad():
        expected = theirs(prepared[None].as_tensor())
    classifier = load(bundle)
    assert expected.std() > 0.01
    scale = float(expected.abs().max())
    assert torch.allclose(classifier.logits(IMAGE) / scale, expected / scale, atol=1e-4)
    assert not torch.allclose(classifier.logits(IMAGE.transpose(2, 3)) / scale, expected / scale, atol=1e-3)
    assert (classifier.classes, classifier.output) == (("normal", "benign", "malignant"), "sigmoid")
    assert (classifier.size, classifier.channels, classifier.name) == (None, 1, "monai-bundle:SEResNet50")
    assert metrics_of(bundle) == reading_of(bundle) == {}


def test_a_bundle_can_be_explained(bundle: Path) -> None:
    classifier = load(bundle)
    maps = explain(classifier, IMAGE, [1], methods=["gradient", "eigen_cam"])
    assert all(found.shape == (1, ROWS, COLUMNS) and found.abs().max() > 0 for found in maps.values())
    assert classifier.target_layer(IMAGE) == "layer4"
    assert classifier.features(IMAGE, [1]).activations.shape[2:] == (2, 2)


def test_a_yaml_configuration_and_weights_under_a_key_will_do(tmp_path: Path, weights: Path) -> None:
    folder = write(tmp_path / "bundle", INFERENCE, name="train.yaml")
    torch.save({"model": torch.load(weights, weights_only=True)}, folder / "models" / "model.pt")
    assert load(folder).logits(IMAGE).shape == (1, 3)


def test_the_size_and_window_of_files_are_known(tmp_path: Path, weights: Path) -> None:
    steps = [
        {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -160, "a_max": 240, "b_min": -1, "b_max": 1},
    ]
    folder = write(tmp_path / "bundle", with_("preprocessing", "transforms", value=steps, of=INFERENCE))
    (folder / "models" / "model.pt").write_bytes(weights.read_bytes())
    classifier = load(folder)
    assert classifier.size == 64
    assert reading_of(folder) == {"fit": "stretch", "window": [40.0, 400.0]}
    assert torch.allclose(classifier.prepare(IMAGE), 2 * IMAGE - 1, atol=1e-6)


def test_without_transforms_the_value_range_counts_and_no_activation_is_a_softmax(
    tmp_path: Path, weights: Path
) -> None:
    metadata = with_("network_data_format", "inputs", "image", "value_range", value=[-1, 1], of=METADATA)
    folder = write(tmp_path / "bundle", {"network_def": INFERENCE["network_def"], "classes": 3}, metadata)
    (folder / "models" / "model.pt").write_bytes(weights.read_bytes())
    classifier = load(folder)
    assert torch.allclose(classifier.prepare(IMAGE), 2 * IMAGE - 1, atol=1e-6)
    assert classifier.output == "softmax"
    write(
        folder,
        {"network_def": INFERENCE["network_def"], "classes": 3},
        with_("network_data_format", "inputs", "image", "value_range", value=None, of=METADATA),
    )
    with pytest.raises(MedsaliencyError, match="expected value_range of the input"):
        load(folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("$__import__('pathlib').Path('harm').touch()", "is an expression, which is code and is not run"),
        ({"_target_": "$__import__('os').mkdir('harm')"}, "is an expression"),
        ({"_target_": "SEResNet50", "layers": "$[1] * 4"}, "is an expression"),
        ({"_target_": "SEResNet50", "layers": "@device"}, "is an expression"),
        ({"_target_": "SEResNet50", "layers": "@nothing#here"}, "leads nowhere"),
        ({"_target_": "SEResNet50", "layers": "%other.json"}, "is an expression"),
        ({"_target_": "os.mkdir", "path": "harm"}, "expected a classification network of monai.networks.nets, got 'os"),
        ({"_target_": "monai.networks.nets.senet.os.SEResNet50"}, "SEResNet50 cannot be built"),
        ({"_target_": "other.SEResNet50"}, "expected a classification network"),
        ({"_target_": "UNet", "spatial_dims": 2}, "expected a classification network"),
        ({"_target_": "SEResNet50", "spatial_dims": 9, "in_channels": 1}, "SEResNet50 cannot be built"),
        ("a network", "got None"),
        ("@network_def", "expected at most 10000 values and 64 within one another"),
        ({"_target_": "SEResNet50", "layers": ["@network_def"] * 2}, "a reference that leads back to itself"),
    ],
)
def test_no_expression_and_no_other_code_is_run(
    given: object, message: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    write(bundle, with_("network_def", value=given, of=INFERENCE))
    with pytest.raises(MedsaliencyError, match=message) as error:
        load(bundle)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "harm").exists()


def test_expressions_among_the_transforms_are_refused(bundle: Path) -> None:
    steps = [{"_target_": "ScaleIntensityd", "keys": "image", "minv": "$0.0"}]
    write(bundle, with_("preprocessing", "transforms", value=steps, of=INFERENCE))
    for call in (load, reading_of):
        with pytest.raises(MedsaliencyError, match=r"preprocessing: '\$0.0' is an expression"):
            call(bundle)
    write(bundle, with_("preprocessing", value="$Compose([])", of=INFERENCE))
    with pytest.raises(MedsaliencyError, match="is an expression"):
        load(bundle)
    write(
        bundle, with_("preprocessing", "transforms", value=[{"_target_": "RandFlipd", "keys": "image"}], of=INFERENCE)
    )
    with pytest.raises(MedsaliencyError, match="preprocessing: the transform RandFlipd cannot be followed"):
        load(bundle)


def test_volumes_whose_axes_run_otherwise_are_refused(tmp_path: Path) -> None:
    target = {"_target_": "resnet10", "spatial_dims": 3, "n_input_channels": 1, "num_classes": 3, "conv1_t_stride": 2}
    metadata = with_("network_data_format", "inputs", "image", "spatial_shape", value=[16, 24, 32], of=METADATA)

    def written(*steps: dict[str, Any]) -> Path:
        config = {"network_def": target, "preprocessing": {"transforms": list(steps)}}
        folder = write(tmp_path / "bundle", config, metadata)
        torch.save(
            nets.resnet10(spatial_dims=3, n_input_channels=1, num_classes=3, conv1_t_stride=2).state_dict(),
            folder / "models" / "model.pt",
        )
        return folder

    loading, scaling = {"_target_": "LoadImage"}, {"_target_": "ScaleIntensity"}
    for steps, got in (
        ([loading], "those of the file"),
        ([loading, {"_target_": "Orientation", "axcodes": "RAS"}], "RAS"),
    ):
        with pytest.raises(MedsaliencyError, match=f"expected volumes whose axes run SPL .*, got {got}"):
            load(written(*steps, scaling))
    for steps in ([loading, {"_target_": "Orientation", "axcodes": "SPL"}], []):
        classifier = load(written(*steps, scaling))
        assert classifier.size == (16, 24, 32)
        assert classifier.logits(torch.rand(1, 1, 16, 24, 32)).shape == (1, 3)


def test_a_network_with_one_output_has_two_classes(tmp_path: Path) -> None:
    metadata = with_(
        "network_data_format",
        "outputs",
        "pred",
        value={"num_channels": 1, "channel_def": {"0": "out", "1": "in"}},
        of=METADATA,
    )
    folder = write(tmp_path / "bundle", with_("classes", value=1, of=INFERENCE), metadata)
    torch.save(
        nets.SEResNet50(layers=[1, 1, 1, 1], spatial_dims=2, in_channels=1, num_classes=1).state_dict(),
        folder / "models" / "model.pt",
    )
    assert (load(folder).classes, load(folder).output) == (("out", "in"), "single_logit")


def test_weights_that_are_pickled_scripted_missing_or_of_another_network_are_refused(bundle: Path) -> None:
    path = bundle / "models" / "model.pt"
    torch.save(network(), path)
    with pytest.raises(MedsaliencyError, match="cannot be read as a state dict of plain tensors"):
        load(bundle)
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(MedsaliencyError, match="the weights do not fit the architecture"):
        load(bundle)
    path.rename(path.with_suffix(".ts"))
    with pytest.raises(MedsaliencyError, match="a TorchScript file is a program and is not run"):
        load(bundle)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.json", "{", "cannot be read"),
        ("metadata.json", "[]", "expected names and values, got list"),
        ("metadata.json", "{}", "expected network_data_format with inputs"),
        ("metadata.json", '{"network_data_format": {"inputs": {"image": 3}}}', "expected network_data_format"),
        ("inference.json", "{}", "expected a configuration with network_def"),
        ("inference.json", "[" * 100_000, "cannot be read"),
        ("metadata.json", '{"a": ' + "[" * 500 + "]" * 500 + "}", "expected at most 64 values within one another"),
    ],
)
def test_a_configuration_that_is_not_whole_is_named(bundle: Path, name: str, text: str, message: str) -> None:
    (bundle / "configs" / name).write_text(text)
    with pytest.raises(MedsaliencyError, match=message) as error:
        load(bundle)
    assert "\n" not in str(error.value)


def test_references_that_multiply_are_refused_and_a_long_chain_is_followed(bundle: Path) -> None:
    many = {f"level{i}": [f"@level{i + 1}"] * 10 for i in range(9)} | {"level9": 1}
    network_def = {"_target_": "SEResNet50", "layers": "@level0"}
    write(bundle, INFERENCE | many | {"network_def": network_def})
    with pytest.raises(MedsaliencyError, match=r"network_def: expected at most 10000 values"):
        load(bundle)
    steps = [{"_target_": "ScaleIntensityd", "keys": "@level6"}] * 20  # each of them about 2,000
    write(bundle, INFERENCE | many | {"preprocessing": {"transforms": steps}})
    for call in (load, reading_of):
        with pytest.raises(MedsaliencyError, match=r"preprocessing: expected at most 10000 values"):
            call(bundle)
    chain = {f"link{i}": f"@link{i + 1}" for i in range(40)} | {"link40": 3, "classes": "@link0"}
    write(bundle, INFERENCE | chain)
    assert load(bundle).logits(IMAGE).shape == (1, 3)


@pytest.mark.parametrize(
    "text",
    [
        "network_def: &a\n  layers: [*a]\n",
        "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nnetwork_def: {<<: [*b, *b]}\n",
        "a: &a [1, 1]\nb: &b [*a, *a]\nnetwork_def: [*b, *b]\n",
    ],
)
def test_aliases_of_yaml_are_refused(bundle: Path, text: str) -> None:
    (bundle / "configs" / "inference.json").unlink()
    (bundle / "configs" / "inference.yaml").write_text(text)
    with pytest.raises(MedsaliencyError, match="expected no aliases of YAML"):
        load(bundle)


def test_names_that_are_numbers_are_refused_as_any_other_argument(bundle: Path) -> None:
    (bundle / "configs" / "inference.json").unlink()
    write(bundle, INFERENCE | {"network_def": {"_target_": "SEResNet50", 3: 4}}, name="inference.yaml")
    with pytest.raises(MedsaliencyError, match="SEResNet50 cannot be built"):
        load(bundle)


def test_counts_that_the_metadata_lack_are_named(bundle: Path) -> None:
    for side, entry in (("inputs", "image"), ("outputs", "pred")):
        write(bundle, INFERENCE, with_("network_data_format", side, entry, "num_channels", value=None, of=METADATA))
        with pytest.raises(MedsaliencyError, match=f"expected num_channels of the {side[:-1]}"):
            load(bundle)


def test_a_missing_library_names_the_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(
        MedsaliencyError, match=r"A MONAI bundle needs the extra monai: pip install 'medsaliency\[monai"
    ):
        load(bundle)
