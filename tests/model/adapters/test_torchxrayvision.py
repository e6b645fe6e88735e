"""Compared with torchxrayvision's own loading and its own outputs, on weights drawn here."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.adapters import torchxrayvision
from medsaliency.model.checkpoint import load, reading_of
from medsaliency.types import MedsaliencyError

NAME = "densenet121-res224-chex"
IMAGES = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True, scope="module")
def one_seed() -> Iterator[None]:
    """The weights drawn here are always the same; the global generator is put back."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def xrv() -> Any:
    with warnings.catch_warnings():  # its import silences all of them
        import torchxrayvision as library
    return library


@pytest.fixture(scope="module")
def home(xrv: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which the weights of one name lie as if torchxrayvision had downloaded them: pickled whole."""
    home = tmp_path_factory.mktemp("home")
    folder = home / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True)
    file = Path(xrv.models.model_urls[NAME]["weights_url"]).name
    torch.save(drawn(xrv.models.DenseNet()), folder / file, _use_new_zipfile_serialization=False)
    return home


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(home))
    return home


def drawn(module: nn.Module) -> nn.Module:
    """The module with normalizations that do something, in eval mode."""
    rng = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1, generator=rng)
            layer.running_var.uniform_(0.5, 2, generator=rng)
            layer.bias.data.uniform_(-0.5, 0.5, generator=rng)
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 0.02
    return module.eval()


def outputs(model: Any, images: Tensor) -> Tensor:
    """What torchxrayvision says of images in display range, brought to its range by its own function."""
    given = np.stack([library_range(image) for image in images.numpy()])
    model.input_resolution = images.shape[-1]  # or it would enlarge them, which takes long
    with torch.no_grad():
        return model(torch.from_numpy(given))


def library_range(image: Any) -> Any:
    import torchxrayvision as library

    return library.utils.normalize(image * 255, 255)


def test_probabilities_are_those_of_torchxrayvision_before_it_calibrates_them(at_home: Path, xrv: Any) -> None:
    classifier = load(f"xrv:{NAME}")
    theirs = xrv.models.DenseNet(weights=NAME)
    named = [i for i, label in enumerate(theirs.targets) if label]
    assert classifier.classes == tuple(theirs.targets[i] for i in named)
    assert (classifier.output, classifier.size, classifier.channels) == ("sigmoid", 224, 1)
    thresholds, theirs.op_threshs, theirs.apply_sigmoid = theirs.op_threshs, None, True
    ours = classifier.probabilities(IMAGES)
    assert ours.std() > 0.1
    assert torch.allclose(ours, outputs(theirs, IMAGES)[:, named], atol=1e-6)
    theirs.op_threshs, theirs.apply_sigmoid = thresholds, False  # an older torchxrayvision applies it twice
    calibrated = xrv.models.op_norm(ours, thresholds[named])
    assert torch.allclose(calibrated, outputs(theirs, IMAGES)[:, named], atol=1e-5)


def test_a_classifier_of_a_loaded_model_is_the_same_and_the_model_stays_as_it_was(at_home: Path, xrv: Any) -> None:
    model = xrv.models.DenseNet(weights=NAME)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = torchxrayvision.adapt(model)
    assert torch.equal(adapted.logits(IMAGES), load(f"xrv:{NAME}").logits(IMAGES))
    assert (adapted.size, adapted.name) == (224, f"xrv:{NAME}")
    assert model.op_threshs is not None
    assert model.input_resolution == 224
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items() if name != "op_threshs")


def test_gradients_and_feature_maps_can_be_had(at_home: Path) -> None:
    classifier = load(f"xrv:{NAME}")
    assert classifier.target_layer(IMAGES) == "features"
    found = classifier.backward(IMAGES[:1], [3], to_layer=True)
    assert found.input_gradients is not None
    assert found.input_gradients.abs().sum() > 0
    assert found.features is not None
    assert found.features.activations.shape == (1, 1024, 2, 2)


def test_files_are_prepared_as_its_models_are_trained() -> None:
    assert reading_of(f"xrv:{NAME}") == {"fit": "crop"}


def test_weights_are_read_from_a_file_of_ones_own(xrv: Any, tmp_path: Path) -> None:
    model = drawn(xrv.models.DenseNet())
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    classifier = torchxrayvision.load("xrv:densenet121-res224-all", file=tmp_path / "weights.pt")
    assert classifier.classes == tuple(xrv.models.model_urls["all"]["labels"])
    with torch.no_grad():
        expected = model((IMAGES - 0.5) * 2048)
    assert torch.allclose(classifier.logits(IMAGES), expected, atol=1e-4)


def test_a_residual_network_is_read_and_gives_what_torchxrayvision_gives(
    xrv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet50

    name = "resnet50-res512-all"
    network = resnet50(num_classes=18)
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    folder = tmp_path / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / Path(xrv.models.model_urls[name]["weights_url"]).name)
    monkeypatch.setenv("HOME", str(tmp_path))
    classifier, theirs = load(f"xrv:{name}"), xrv.models.ResNet(weights=name, apply_sigmoid=True)
    assert classifier.size == 512
    adapted = torchxrayvision.adapt(theirs)
    del theirs.op_threshs
    expected = outputs(theirs, IMAGES)
    assert torch.allclose(classifier.probabilities(IMAGES), expected, atol=1e-6)
    assert torch.equal(adapted.logits(IMAGES), classifier.logits(IMAGES))


def test_no_network_is_said_in_one_line_with_what_to_do(
    xrv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import requests

    def offline(*_: object, **__: object) -> None:
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(
        MedsaliencyError, match=r"cannot be downloaded \(ConnectionError\); fetch https://.*put"
    ) as error:
        load(f"xrv:{NAME}")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == "", "standard output is for results"


def test_an_unknown_name_another_model_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MedsaliencyError, match=r"no such weights; did you mean 'xrv:densenet121-res224-all'"):
        load("xrv:densenet121-res224-al")
    with pytest.raises(MedsaliencyError, match=r"expected a DenseNet or ResNet of torchxrayvision.models, got Linear"):
        torchxrayvision.adapt(nn.Linear(1, 1))
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(MedsaliencyError, match=r"pip install 'medsaliency\[torchxrayvision\]'"):
        load(f"xrv:{NAME}")


def test_a_model_with_fewer_outputs_than_names_is_refused(xrv: Any) -> None:
    with pytest.raises(MedsaliencyError, match="expected an output for each of the model's targets, got 2 outputs"):
        torchxrayvision.adapt(xrv.models.DenseNet(num_classes=2))


def test_warnings_are_not_silenced_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchxrayvision"]:
        monkeypatch.delitem(sys.modules, name)
    before = list(warnings.filters)
    with pytest.raises(MedsaliencyError, match="no such weights"):
        load("xrv:none")
    assert list(warnings.filters) == before
