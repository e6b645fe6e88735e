"""The preflight as a whole, and as the files that it opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from medsaliency.data.dataset import Dataset
from medsaliency.data.reading import Reading
from medsaliency.model.checkpoint import save
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build
from medsaliency.study import doctor
from medsaliency.study.doctor import CHECKS, STOPS, examine, examine_files
from medsaliency.types import MedsaliencyError


def test_a_healthy_network_has_no_finding(healthy: Classifier, brains: Dataset) -> None:
    diagnosis = examine(healthy, brains)
    assert list(diagnosis.findings) == list(CHECKS)
    assert not any(diagnosis.findings.values())
    assert (diagnosis.problems(), diagnosis.notes(), diagnosis.skipped) == ([], [], {})
    assert diagnosis.images == 32


def test_what_is_examined_is_left_as_it_was(healthy: Classifier, brains: Dataset) -> None:
    before = {name: value.clone() for name, value in healthy.module.state_dict().items()}
    modes = [part.training for part in healthy.module.modules()]
    random = torch.random.get_rng_state()
    first, second = examine(healthy, brains), examine(healthy, brains)
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in healthy.module.state_dict().items())
    assert [part.training for part in healthy.module.modules()] == modes
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in healthy.module.modules())
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "convnext_atto", "resnet18"])
def test_untrained_networks_have_no_problem(brains: Dataset, architecture: str) -> None:
    module = build(architecture, classes=4, size=48)
    assert not examine(Classifier(module, brains.classes, size=48), brains, images=8).problems()


def test_checks_that_stop_others_name_them_rightly() -> None:
    order = list(CHECKS)
    for check, later in STOPS.items():
        assert all(order.index(name) > order.index(check) for name in later)


@pytest.fixture
def files(tmp_path: Path, brains: Dataset) -> Path:
    """Images of the sandbox, in a folder a class."""
    for record in brains.of("evaluation"):
        folder = tmp_path / "images" / brains.classes[record.label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.round(255 * brains.read(record).pixels[0]).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{record.id.replace('/', '-')}.png")
    return tmp_path / "images"


def test_files_are_opened_and_findings_written_as_json(
    files: Path, healthy: Classifier, brains: Dataset, tmp_path: Path
) -> None:
    classes = tuple(sorted(brains.classes))  # a folder's order
    order = torch.tensor([brains.classes.index(name) for name in classes])
    module = build("small_cnn", classes=4)
    module.load_state_dict(healthy.module.state_dict())
    with torch.no_grad():
        module.head[2].weight.copy_(module.head[2].weight[order])
        module.head[2].bias.copy_(module.head[2].bias[order])
    save(Classifier(module, classes, mean=0.25, std=0.2, size=48), tmp_path / "right", architecture="small_cnn")
    assert examine_files(tmp_path / "right", files).to_dict()["problems"] == []
    save(Classifier(module, classes, mean=0, std=1 / 255, size=48), tmp_path / "wrong", architecture="small_cnn")
    found = json.loads(json.dumps(examine_files(tmp_path / "wrong", files).to_dict()))
    assert found["model"] == "small_cnn"
    assert found["images"] == 32
    (problem,) = found["problems"]
    assert problem.startswith("input scaling: expected images scaled to mean=0.2")
    assert found["findings"]["scaling"][0]["severity"] == "problem"
    assert set(found["findings"]["scaling"][0]) == {"severity", "where", "expected", "got", "advice"}


def test_a_study_says_how_data_are_opened(files: Path, healthy: Classifier, tmp_path: Path) -> None:
    save(replace_size(healthy, None), tmp_path / "model", architecture="small_cnn")
    config = tmp_path / "study.yaml"
    config.write_text("data:\n  source: sandbox\n  size: 48\n  options: {training: 24, evaluation: 24}\n")
    diagnosis = examine_files(tmp_path / "model", None, config)
    assert diagnosis.dataset == "sandbox"
    assert diagnosis.problems() == []
    config.write_text("data:\n  source: folder\n  size: 48\n")
    assert examine_files(tmp_path / "model", files, config).images == 32


def replace_size(classifier: Classifier, size: int | None) -> Classifier:
    return Classifier(classifier.module, classifier.classes, mean=0.25, std=0.2, size=size)


def test_what_cannot_be_opened_is_an_error(files: Path, healthy: Classifier, tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="expected a checkpoint"):
        examine_files(tmp_path / "nowhere", files)
    save(healthy, tmp_path / "model", architecture="small_cnn")
    with pytest.raises(MedsaliencyError, match="no such file or folder"):
        examine_files(tmp_path / "model", tmp_path / "nowhere")


def test_a_data_set_without_images_is_an_error(healthy: Classifier, brains: Dataset) -> None:
    with pytest.raises(MedsaliencyError, match="expected images to examine a model with, got none"):
        examine(healthy, replace(brains, records=()))


def test_images_are_spread_over_classes(healthy: Classifier, brains: Dataset) -> None:
    read: list[int] = []

    def note(record):
        read.append(record.label)
        return brains.read(record)

    examine(healthy, replace(brains, read=note), images=8)
    assert sorted(read) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert read[:4] == [0, 1, 2, 3]


class StaysInTraining(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> nn.BatchNorm2d:
        return super().train(True)


def test_nothing_of_the_classifier_changes(network, brightness: Dataset) -> None:
    class Flattens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.mix = nn.Conv2d(2, 2, 3, padding=1)
            self.norm = StaysInTraining(2)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.norm(self.mix(self.network.features(x)))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            maps.view(len(maps), -1)
            logits: Tensor = self.network.fc(self.network.pool(maps).flatten(1))
            return logits

    classifier = Classifier(Flattens(), brightness.classes, size=16)
    before = dict(vars(classifier))
    values = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    parameters = {name: (id(value), value.stride()) for name, value in classifier.module.named_parameters()}
    assert examine(classifier, brightness).findings["modes"]
    assert vars(classifier) == before
    assert all(torch.equal(value, values[name]) for name, value in classifier.module.state_dict().items())
    after = {name: (id(value), value.stride()) for name, value in classifier.module.named_parameters()}
    assert after == parameters
    found = Classifier(network(), brightness.classes, size=16)
    assert "target_layer" in examine(found, brightness).findings
    assert found.known_target_layer is None


def test_files_are_read_as_the_checkpoint_says(
    files: Path, healthy: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"fit": "crop", "window": [40, 80], "view": "coronal"}
    save(healthy, tmp_path / "model", architecture="small_cnn", reading=said)
    asked = []

    def note(classifier: Classifier, dataset: Dataset, **more: object) -> None:
        asked.append((dataset.reading, more["fit"]))

    monkeypatch.setattr(doctor, "examine", note)
    examine_files(tmp_path / "model", files)
    assert asked == [(Reading(window=(40, 80), view="coronal"), "crop")]
    np.savez(tmp_path / "mnist.npz", **small_medmnist())  # its source takes no such option
    examine_files(tmp_path / "model", tmp_path / "mnist.npz")
    assert asked[1][1] == "crop"
    config = tmp_path / "study.yaml"
    config.write_text("data:\n  source: folder\n  size: 48\n  fit: stretch\n  options: {window: [1, 2]}\n")
    examine_files(tmp_path / "model", files, config)
    assert asked[2] == (Reading(window=(1, 2)), "stretch")


def small_medmnist() -> dict[str, np.ndarray]:
    found = {}
    for name in ("train", "val", "test"):
        found[f"{name}_images"] = np.zeros((4, 28, 28), dtype=np.uint8)
        found[f"{name}_labels"] = np.arange(4)[:, None] % 2
    return found
