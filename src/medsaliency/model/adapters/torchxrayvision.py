"""torchxrayvision's classifiers of chest films, by the names of their weights: ``xrv:densenet121-res224-all``."""

from __future__ import annotations

import sys
import warnings
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medsaliency.model.adapters.pickled_weights import read_pickled_weights
from medsaliency.model.classifier import Classifier
from medsaliency.model.optional import optional
from medsaliency.model.weights import fit, read_state_dict
from medsaliency.types import MedsaliencyError, nearest

PREFIX = "xrv:"
READING = {"fit": "crop"}
"""Its models are trained on the middle square of a film, resized."""
MEAN, STD = 0.5, 1 / 2048
"""Display range [0, 1] becomes [-1024, 1024]."""


def takes(place: str) -> bool:
    """Whether ``place`` names weights of torchxrayvision."""
    return place.startswith(PREFIX)


def reading(_place: str) -> dict[str, Any]:
    """How files are prepared for these models."""
    return dict(READING)


def load(
    place: str, *, file: Path | None = None, device: torch.device | str | None = None, batch_size: int = 32
) -> Classifier:
    """A pretrained classifier, without the calibration that torchxrayvision applies to its probabilities.

    Weights are looked for, and downloaded to, where torchxrayvision keeps them (``~/.torchxrayvision/models_data``).
    torchxrayvision unpickles those of its DenseNets, which could run code; here only the numbers are read.

    Args:
        place: ``xrv:`` and the name of weights, as torchxrayvision spells it.
        file: The weights, where they are on disk already.
        device: Where it runs.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If torchxrayvision is not installed, has no such weights, cannot download them, or the file
            cannot be read.
    """
    models = _models()
    name = place.removeprefix(PREFIX)
    if name not in models.model_urls:
        known = [f"{PREFIX}{known}" for known in models.model_urls if "-" in known]
        raise MedsaliencyError(
            f"{place}: torchxrayvision has no such weights{nearest(place, known)}; it has {', '.join(known)}"
        )
    description = models.model_urls[name]
    path = _fetch(models, name) if file is None else file
    outputs = len(description["labels"])
    if name.startswith("resnet"):
        network = _resnet(name, outputs)
        fit(network, read_state_dict(path), str(path))
    else:
        network = models.DenseNet(num_classes=outputs)
        fit(network, read_pickled_weights(path), str(path))
    return _classifier(network, description["labels"], description["input_resolution"], place, device, batch_size)


def adapt(model: nn.Module, *, device: torch.device | str | None = None, batch_size: int = 32) -> Classifier:
    """A classifier of a copy of a model of torchxrayvision that you have loaded or trained.

    The copy puts out logits: neither the sigmoid nor the calibration by operating points (``op_threshs``) that the
    model may apply is part of it. Outputs without a name are left out.

    Args:
        model: A ``torchxrayvision.models.DenseNet`` or ``ResNet``; it is left as it is.
        device: Where it runs; None leaves it where it is.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If it is another kind of model.
    """
    models = _models()
    if not isinstance(model, models.DenseNet | models.ResNet):
        raise MedsaliencyError(
            f"expected a DenseNet or ResNet of torchxrayvision.models, got {type(model).__name__}; wrap others in "
            "Classifier with mean 0.5 and std 1/2048, after a module that returns their logits"
        )
    size = getattr(model, "input_resolution", None)
    network = deepcopy(model.model if isinstance(model, models.ResNet) else model)
    if isinstance(network, models.DenseNet):
        network.op_threshs, network.apply_sigmoid = None, False
        network.__dict__.pop("input_resolution", None)  # it would resize, and look at every pass for a wrong range
    weights = model.weights or type(model).__name__
    return _classifier(network, list(model.targets), size, f"{PREFIX}{weights}", device, batch_size)


def _models() -> Any:
    with warnings.catch_warnings():  # its import silences all warnings of the process
        optional("torchxrayvision", "torchxrayvision", "A torchxrayvision model")
        return optional("torchxrayvision.models", "torchxrayvision", "A torchxrayvision model")


def _fetch(models: Any, name: str) -> Path:
    try:
        with redirect_stdout(sys.stderr):
            return Path(models.get_weights(name))
    except OSError as error:
        url = models.model_urls[name]["weights_url"]
        raise MedsaliencyError(
            f"{PREFIX}{name}: cannot be downloaded ({type(error).__name__}); fetch {url} where there is a network and "
            "put the file into ~/.torchxrayvision/models_data"
        ) from error


def _resnet(name: str, outputs: int) -> nn.Module:
    from torchvision import models  # type: ignore[import-untyped] # torchxrayvision needs it itself

    network: nn.Module = getattr(models, name.split("-")[0])(num_classes=outputs, weights=None)
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


def _classifier(
    network: nn.Module, labels: list[str], size: int | None, name: str, device: torch.device | str | None, most: int
) -> Classifier:
    """Put the outputs that have a name into service."""
    named = [i for i, label in enumerate(labels) if label]
    head = "classifier" if hasattr(network, "classifier") else "fc"
    setattr(network, head, _rows(getattr(network, head), named))
    return Classifier(
        network.eval(),
        [labels[i] for i in named],
        mean=MEAN,
        std=STD,
        channels=1,
        size=size,
        output="sigmoid",
        batch_size=most,
        device=device,
        name=name,
    )


def _rows(layer: nn.Linear, rows: list[int]) -> nn.Linear:
    """A linear layer that puts out only some of another's outputs."""
    if layer.out_features <= max(rows):
        raise MedsaliencyError(
            f"torchxrayvision: expected an output for each of the model's targets, got {layer.out_features} outputs "
            f"and a name for output {max(rows) + 1}; set its `targets` to a name for each output"
        )
    kept: nn.Linear = nn.utils.skip_init(nn.Linear, layer.in_features, len(rows), device=layer.weight.device)
    with torch.no_grad():
        kept.weight.copy_(layer.weight[rows])
        kept.bias.copy_(layer.bias[rows])
    return kept
