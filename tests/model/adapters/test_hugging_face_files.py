"""Folders that would make transformers or timm open files elsewhere, or fetch them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from medsaliency.model.adapters.hugging_face_files import check_files
from medsaliency.model.checkpoint import load
from medsaliency.types import MedsaliencyError


@pytest.fixture(autouse=True, scope="module")
def one_seed() -> Iterator[None]:
    """The weights drawn here are always the same; the global generator is put back."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def save(folder: Path, model: Any, **more: Any) -> Path:
    model.save_pretrained(folder, **more)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def resnet() -> Any:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return transformers.ResNetForImageClassification(config)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def of_timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.TimmWrapperConfig(
        architecture="resnet10t", id2label=dict(enumerate("abc")), model_args={"drop_rate": 0.1}
    )
    model = transformers.TimmWrapperForImageClassification(config)
    return save(tmp_path_factory.mktemp("timm"), model)


@pytest.fixture
def folder(tmp_path: Path, of_timm: Path) -> Path:
    """The configuration of a model of timm beside weights that nobody reads."""
    (tmp_path / "config.json").write_bytes((of_timm / "config.json").read_bytes())
    (tmp_path / "preprocessor_config.json").write_bytes((of_timm / "preprocessor_config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def test_a_model_of_timm_has_the_logits_of_transformers(of_timm: Path) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = transformers.AutoModelForImageClassification.from_pretrained(of_timm).eval()
    classifier = load(of_timm)
    with torch.no_grad():
        expected = theirs(pixel_values=classifier.prepare(images)).logits
    assert torch.allclose(classifier.logits(images), expected, atol=1e-5)
    assert expected.abs().max() > 0
    assert classifier.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"model_args": {"checkpoint_path": "elsewhere.pth"}}, "got checkpoint_path"),
        ({"model_args": {"pretrained": True}}, "got pretrained"),
        ({"model_args": {"pretrained_cfg_overlay": {"file": "elsewhere.pth"}}}, "got pretrained_cfg_overlay"),
        ({"model_args": ["checkpoint_path"]}, "got model_args"),
        ({"architecture": "hf-hub:owner/name"}, "got architecture"),
        ({"architecture": "local-dir:/elsewhere"}, "got architecture"),
        ({"architecture": "unknown"}, "got architecture"),
        ({"architecture": ["resnet10t"]}, "got architecture"),
        ({"vision_config": {"model_type": "timm_wrapper", "architecture": "hf-hub:a/b"}}, "got architecture"),
        ({"parts": [{"model_args": {"checkpoint_path": "elsewhere.pth"}}]}, "got checkpoint_path"),
        ({"backbone": "owner/name", "use_pretrained_backbone": True}, "got backbone"),
        ({"use_pretrained_backbone": True}, "got use_pretrained_backbone"),
        ({"configuration_files": ["config.4.0.0.json"]}, "got configuration_files"),
        ({"transformers_weights": "../other.safetensors"}, "got transformers_weights"),
        ({"attn_implementation": "owner/kernel"}, "got attn_implementation"),
    ],
)
def test_configurations_that_lead_elsewhere_are_refused_before_anything_is_built(
    values: dict[str, Any], named: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_given: object, **_more: object) -> None:
        raise AssertionError("nothing may be loaded")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", never)
    change(folder / "config.json", **values)
    with pytest.raises(MedsaliencyError, match=f"config.json: expected a model that is whole in its folder, {named}"):
        load(folder)


def test_an_adapter_of_another_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}')
    with pytest.raises(MedsaliencyError, match=r"got adapter_config.json, which names another model to load"):
        load(folder)


def test_weights_in_shards_are_read(tmp_path: Path) -> None:
    model = resnet()
    whole, parts = save(tmp_path / "whole", model), save(tmp_path / "parts", model, max_shard_size="5KB")
    assert not (parts / "model.safetensors").exists()
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(load(parts).logits(images), load(whole).logits(images))


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/other.safetensors", "link.safetensors", "a.bin", "missing.safetensors", 3, "\0"]
)
def test_shards_elsewhere_are_refused(name: object, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", resnet(), max_shard_size="5KB")
    (tmp_path / "other.safetensors").write_bytes(b"")
    (folder / "a.bin").write_bytes(b"")
    (folder / "link.safetensors").symlink_to(tmp_path / "other.safetensors")
    index = folder / "model.safetensors.index.json"
    change(index, weight_map=json.loads(index.read_text())["weight_map"] | {"more": name})
    with pytest.raises(MedsaliencyError, match=r"expected files of safetensors in the folder itself, got") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_damaged_description_is_named(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)
    with pytest.raises(MedsaliencyError, match=f"{name}: (cannot be read|expected names and values, got list)"):
        check_files(folder)


def test_an_index_without_files_is_refused(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(MedsaliencyError, match="expected weight_map with a file for each weight"):
        check_files(folder)
