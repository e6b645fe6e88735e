"""Checkpoints: our own (weights as safetensors, everything else as JSON beside them), and what adapters read."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from medsaliency.model.adapters import ADAPTERS, Adapter, adapter_of
from medsaliency.model.classifier import Classifier, Output, Size
from medsaliency.model.weights import fit, read_state_dict
from medsaliency.model.zoo import build, require
from medsaliency.types import MedsaliencyError

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


class _Description(BaseModel):
    """What is read of ``model.json``: what builds the model again, and its performance. The rest is for the record."""

    architecture: str
    classes: list[str]
    channels: int
    size: Size | None
    mean: list[float]
    std: list[float]
    output: Output
    target_layer: str | None = None
    metrics: dict[str, Any] = {}
    reading: dict[str, Any] = {}


def save(
    classifier: Classifier,
    folder: Path,
    *,
    architecture: str,
    trained_on: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into ``folder``, which appears whole or not at all.

    Args:
        classifier: What to save.
        architecture: The name that builds the module again (see :func:`medsaliency.model.zoo.build`).
        folder: Must not exist yet.
        trained_on: The data's name, counts and seed, for the record.
        metrics: Performance, for the record.
        reading: How files were read for it (window, view, fit, ...), so that other files can be read alike.

    Raises:
        MedsaliencyError: If ``folder`` exists, or there is no such architecture.
    """
    require(architecture)
    if folder.exists():
        raise MedsaliencyError(f"{folder}: expected a new folder for the checkpoint, it exists; name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        state = {name: value.detach().cpu().contiguous() for name, value in classifier.module.state_dict().items()}
        save_file(state, beside / WEIGHTS)
        description = {
            "architecture": architecture,
            "classes": list(classifier.classes),
            "channels": classifier.channels,
            "size": classifier.size,
            "mean": classifier.mean.flatten().tolist(),
            "std": classifier.std.flatten().tolist(),
            "output": classifier.output,
            "target_layer": classifier.known_target_layer,
            "trained_on": dict(trained_on or {}),
            "metrics": dict(metrics or {}),
            "reading": dict(reading or {}),
        }
        (beside / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        beside.chmod(0o755)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def load(place: Path | str, *, device: torch.device | str | None = None, batch_size: int = 32) -> Classifier:
    """A classifier from what others or :func:`save` wrote. Nothing in a file is unpickled or run.

    Args:
        place: The folder of a checkpoint or of a run; or what an adapter takes: a folder of Hugging Face's, a MONAI
            bundle, an ONNX file, or ``xrv:`` and the name of torchxrayvision's weights.
        device: Where it runs; None leaves it on the CPU.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If a file is missing or unreadable, the weights do not fit the architecture, or an extra is
            not installed.
    """
    adapter = _adapter(place)
    if adapter is not None:
        return adapter.load(str(place), device=device, batch_size=batch_size)
    folder = _place(place)
    description = _describe(folder)
    module = build(
        description.architecture,
        classes=1 if description.output == "single_logit" else len(description.classes),
        channels=description.channels,
        size=description.size,
    )
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise MedsaliencyError(f"{folder / WEIGHTS}: cannot be read as safetensors ({error})") from error
    fit(module, state, str(folder / WEIGHTS))
    return Classifier(
        module,
        description.classes,
        mean=description.mean,
        std=description.std,
        channels=description.channels,
        size=description.size,
        output=description.output,
        target_layer=description.target_layer,
        batch_size=batch_size,
        device=device,
        name=description.architecture,
    )


def metrics_of(place: Path | str) -> dict[str, Any]:
    """The performance that :func:`save` wrote into a checkpoint, or the one in a run's folder; empty where it was none.

    Raises:
        MedsaliencyError: If a file is missing or unreadable.
    """
    return {} if _adapter(place) is not None else _describe(_place(place)).metrics


def reading_of(place: Path | str) -> dict[str, Any]:
    """How files are to be read for a checkpoint, as :func:`save` was told or an adapter knows; empty where nothing is.

    Raises:
        MedsaliencyError: If a file is missing or unreadable.
    """
    adapter = _adapter(place)
    return _describe(_place(place)).reading if adapter is None else adapter.reading(str(place))


def load_state_dict(
    path: Path | str,
    *,
    architecture: str,
    classes: Sequence[str],
    channels: int = 1,
    size: Size | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    output: Output = "softmax",
    target_layer: str | None = None,
    device: str | None = None,
) -> Classifier:
    """Read a ``.pt`` or ``.pth`` state dict (weights only; a pickled object is refused) into an architecture.

    A dict that holds the weights under ``state_dict`` or ``model`` is opened, and a ``module.`` prefix (as
    DataParallel writes) dropped. The other arguments are those of :class:`Classifier`.

    Raises:
        MedsaliencyError: If the file is missing, holds anything but tensors, or does not fit.
    """
    path = Path(path)
    state = read_state_dict(path)
    outputs = 1 if output == "single_logit" else len(classes)
    module = build(architecture, classes=outputs, channels=channels, size=size)
    fit(module, state, str(path))
    return Classifier(
        module,
        classes,
        channels=channels,
        size=size,
        mean=mean,
        std=std,
        output=output,
        target_layer=target_layer,
        device=device,
        name=architecture,
    )


def _adapter(place: Path | str) -> Adapter | None:
    """What reads ``place``; None where it is ours."""
    return None if (_place(place) / DESCRIPTION).is_file() else adapter_of(str(place))


def _place(folder: Path | str) -> Path:
    """Where a checkpoint is, given its folder or that of a run."""
    inner = Path(folder) / "model"
    return inner if inner.is_dir() else Path(folder)


def _describe(folder: Path) -> _Description:
    path = folder / DESCRIPTION
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        others = ", ".join(adapter.description for adapter in ADAPTERS.values())
        raise MedsaliencyError(
            f"{folder}: expected a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, which `medsaliency train` "
            f"makes, or {others}; a file of weights alone is read by load_state_dict in Python"
        )
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MedsaliencyError(f"{path}: cannot be read as JSON ({error})") from error
    try:
        return _Description.model_validate(description)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise MedsaliencyError(f"{path}: {where}: {fault['msg']}; `medsaliency train` writes a whole one") from error


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over a module's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
