"""Compared with what transformers' own processor and model say of the same image; models are untrained and tiny."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from medsaliency import explain
from medsaliency.model.checkpoint import load, metrics_of, reading_of
from medsaliency.types import MedsaliencyError

LABELS = {0: "normal", 1: "benign", 2: "malignant"}
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
IMAGE = torch.from_numpy(PIXELS).permute(2, 0, 1)[None] / 255


@pytest.fixture(autouse=True, scope="module")
def one_seed() -> Iterator[None]:
    """The weights drawn here are always the same; the global generator is put back."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def vit(**more: Any) -> Any:
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(**sizes, intermediate_size=64, id2label=LABELS, **more)
    return transformers.ViTForImageClassification(config)


def swin() -> Any:
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, id2label=LABELS
    )
    return transformers.SwinForImageClassification(config)


def convnext() -> Any:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], id2label=LABELS)
    return transformers.ConvNextForImageClassification(config)


def resnet() -> Any:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=LABELS
    )
    return transformers.ResNetForImageClassification(config)


def middle() -> Any:
    return transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=1.0)


def squeezed(**more: Any) -> Any:
    return transformers.ViTImageProcessor(size={"height": 32, "width": 32}, **more)


MODELS = {"vit": (vit, squeezed), "swin": (swin, squeezed), "convnext": (convnext, middle), "resnet": (resnet, middle)}


def save(model: Any, processor: Any, folder: Path) -> Path:
    """A folder of a model whose logits differ between images."""
    rng = torch.Generator().manual_seed(0)
    for value in model.parameters():
        value.data += 0.2 * torch.randn(value.shape, generator=rng)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(vit(), squeezed(), tmp_path / "model")


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers_own_processor_and_model(name: str, tmp_path: Path) -> None:
    make, processor = MODELS[name]
    folder = save(make(), processor(), tmp_path / name)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    given = transformers.AutoImageProcessor.from_pretrained(folder)(Image.fromarray(PIXELS), return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**given).logits
    classifier = load(folder)
    assert torch.allclose(classifier.logits(IMAGE), expected, atol=1e-5)
    assert expected.std() > 0.01
    assert classifier.classes == tuple(LABELS.values())
    assert (classifier.size, classifier.channels, classifier.output) == (32, 3, "softmax")
    assert metrics_of(folder) == {}


@pytest.mark.parametrize("name", MODELS)
def test_models_can_be_explained(name: str, tmp_path: Path) -> None:
    make, processor = MODELS[name]
    classifier = load(save(make(), processor(), tmp_path / name))
    maps = explain(classifier, IMAGE, [1], methods=["gradient", "occlusion"])
    assert all(found.shape == (1, 32, 32) and found.abs().max() > 0 for found in maps.values())


def test_a_convolutional_network_has_a_target_layer(tmp_path: Path) -> None:
    classifier = load(save(resnet(), middle(), tmp_path / "model"))
    images = torch.rand(1, 3, 64, 64)
    assert classifier.target_layer(images).startswith("model.resnet.encoder")
    assert classifier.features(images, [0]).gradients.abs().sum() > 0


@pytest.mark.parametrize(
    "processor",
    [
        squeezed(do_normalize=False),
        squeezed(do_rescale=False),
        squeezed(rescale_factor=1 / 127.5, image_mean=[1.0, 0.5, 0.2], image_std=[0.5, 1.0, 2.0]),
        transformers.EfficientNetImageProcessor(
            size={"height": 32, "width": 32}, rescale_offset=True, include_top=True
        ),
        transformers.EfficientNetImageProcessor(size={"height": 32, "width": 32}, include_top=False),
        transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    ],
    ids=lambda processor: type(processor).__name__,
)
def test_pixels_reach_the_model_as_the_processor_would_give_them(processor: Any, tmp_path: Path) -> None:
    folder = save(vit(), processor, tmp_path / "model")
    expected = processor(Image.fromarray(PIXELS), return_tensors="pt")["pixel_values"].float()
    assert torch.allclose(load(folder).prepare(IMAGE), expected, atol=1e-3, rtol=1e-4)


def test_the_proportions_of_files_are_treated_as_the_processor_does(tmp_path: Path) -> None:
    processors = {
        "stretch": [squeezed(), transformers.ConvNextImageProcessor(size={"shortest_edge": 384})],
        "crop": [middle(), transformers.BitImageProcessor(size={"shortest_edge": 36}, crop_size=32)],
    }
    for fit, several in processors.items():
        for i, processor in enumerate(several):
            folder = tmp_path / f"{fit}-{i}"
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            processor.save_pretrained(folder)
            assert reading_of(folder) == {"fit": fit}


def test_a_margin_that_the_processor_cuts_off_is_kept(tmp_path: Path) -> None:
    processor = transformers.BitImageProcessor(size={"shortest_edge": 32}, crop_size=28)
    folder = save(resnet(), processor, tmp_path / "model")
    expected = processor(Image.fromarray(PIXELS), return_tensors="pt")["pixel_values"].float()
    classifier = load(folder)
    assert (classifier.size, reading_of(folder)) == (28, {"fit": "crop"})
    assert torch.allclose(classifier.prepare(IMAGE[:, :, 2:30, 2:30]), expected, atol=1e-3), "28 of 32 pixels a side"


def test_independent_classes_and_a_single_output_are_known(tmp_path: Path) -> None:
    several = load(save(vit(problem_type="multi_label_classification"), squeezed(), tmp_path / "several"))
    assert several.output == "sigmoid"
    model = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(hidden_sizes=[8], depths=[1], embedding_size=8, id2label={0: "tumor"})
    )
    single = load(save(model, squeezed(), tmp_path / "single"))
    assert (single.output, single.classes) == ("single_logit", ("not tumor", "tumor"))
    theirs = transformers.pipeline("image-classification", model=str(tmp_path / "single"))
    assert single.probabilities(IMAGE)[0, 1] == pytest.approx(theirs(Image.fromarray(PIXELS))[0]["score"], abs=1e-5)


def test_a_model_of_one_channel_takes_one(tmp_path: Path) -> None:
    folder = save(vit(num_channels=1), squeezed(image_mean=[0.5], image_std=[0.25]), tmp_path / "model")
    classifier = load(folder)
    assert classifier.channels == 1
    assert classifier.logits(IMAGE[:, :1]).shape == (1, 3)


def test_weights_that_would_be_drawn_at_random_are_refused(folder: Path) -> None:
    change(folder / "config.json", id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    with pytest.raises(MedsaliencyError, match="cannot be read as an image classifier"):
        load(folder)
    base = transformers.ViTModel(transformers.AutoConfig.from_pretrained(folder))
    base.save_pretrained(folder)
    with pytest.raises(MedsaliencyError, match=r"the weights lack classifier.bias and 1 more"):
        load(folder)


def test_only_safetensors_are_read(folder: Path) -> None:
    state = load(folder).module.model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(MedsaliencyError, match=r"expected model.safetensors beside config.json.*could run code"):
        load(folder)


def test_a_model_with_code_of_its_own_is_refused_and_the_code_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "own.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\n")
    change(
        folder / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Model"},
    )
    with pytest.raises(MedsaliencyError, match="cannot be read as an image classifier") as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "harm").exists()


def test_a_missing_or_broken_description_of_the_preprocessing_is_named(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    whole = path.read_text()
    for text, message in (("{", "cannot be read"), ('{"image_mean": "a"}', "image_mean")):
        path.write_text(text)
        with pytest.raises(MedsaliencyError, match=f"preprocessor_config.json: .*{message}"):
            load(folder)
    path.write_text(whole)
    change(path, crop_size={"height": 32, "width": 16}, do_center_crop=True)
    with pytest.raises(MedsaliencyError, match=r"expected square images or volumes, got sides \(32, 16\)"):
        load(folder)
    path.unlink()
    for call in (load, reading_of):
        with pytest.raises(MedsaliencyError, match=r"expected preprocessor_config.json, which says how images are"):
            call(folder)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="the model is one of regression"):
        load(save(vit(problem_type="regression"), squeezed(), tmp_path / "regression"))
    folder = save(vit(), squeezed(), tmp_path / "numbers")
    change(folder / "config.json", id2label={"1": "a", "2": "b", "3": "c"}, label2id={"a": 1, "b": 2, "c": 3})
    with pytest.raises(MedsaliencyError, match=r"expected id2label in config.json to name outputs 0 to 2"):
        load(folder)


def test_transformers_is_quiet_and_keeps_its_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capsys.readouterr() == ("", "")


def test_a_missing_library_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MedsaliencyError, match=r"pip install 'medsaliency\[hugging-face\]'"):
        load(folder)
