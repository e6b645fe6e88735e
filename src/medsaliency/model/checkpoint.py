"""Checkpoints: our own (weights as safetensors, everything else as JSON beside them), and what adapters read."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from medsaliency.data.untrusted import read_text, visible
from medsaliency.model.adapters import ADAPTERS, Adapter, adapter_of
from medsaliency.model.adapters.onnx_files import files_beside
from medsaliency.model.classifier import Classifier, Output, Size
from medsaliency.model.description import MOST_BYTES, Description, described
from medsaliency.model.weights import fit, read_safetensors, read_state_dict, shapes, words_of
from medsaliency.model.zoo import build, require
from medsaliency.types import MedsaliencyError

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


MOST_MEMORY = 256 << 20
"""Bytes that a network may take beside four times its file."""


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
        MedsaliencyError: If ``folder`` exists, there is no such architecture, or :func:`load` would refuse what is
            written (names of classes with line ends, say).
    """
    require(architecture)
    if folder.exists():
        raise MedsaliencyError(f"{_shown(folder)}: expected a new folder for the checkpoint, it exists; name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        state = {name: value.detach().cpu().contiguous() for name, value in classifier.module.state_dict().items()}
        try:
            save_file(state, beside / WEIGHTS)
        except SafetensorError as error:
            raise MedsaliencyError(
                f"{_shown(folder)}: the weights could not be written: {error}; make room and run it again"
            ) from error
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
        text = json.dumps(_finite(description), indent=2, allow_nan=False) + "\n"
        described(text, _shown(folder / DESCRIPTION))
        (beside / DESCRIPTION).write_text(text, encoding="utf-8")
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
    module = _module(description, folder)
    try:
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
    except MedsaliencyError as error:
        raise MedsaliencyError(f"{_shown(folder / DESCRIPTION)}: {error}") from error


def _module(description: Description, folder: Path) -> nn.Module:
    """The network that a description names, with its weights.

    It is made on the meta device first, where it takes no memory: a description can ask for any number of weights.
    """
    arguments: dict[str, Any] = {
        "classes": 1 if description.output == "single_logit" else len(description.classes),
        "channels": description.channels,
        "size": description.size,
    }
    try:
        with torch.device("meta"):
            sketch = build(description.architecture, **arguments)
    except MedsaliencyError as error:
        raise MedsaliencyError(f"{_shown(folder / DESCRIPTION)}: {error}") from error
    except Exception as error:  # a network may raise anything at arguments that it does not take
        raise MedsaliencyError(
            f"{_shown(folder / DESCRIPTION)}: cannot build {description.architecture!r} ({words_of(error)}); correct it"
        ) from error
    path = folder / WEIGHTS
    state, size = read_safetensors(path, shapes(sketch.state_dict())), path.stat().st_size
    needed = sum(value.numel() * value.itemsize for value in (*sketch.parameters(), *sketch.buffers()))
    if needed > MOST_MEMORY + 4 * size:
        raise MedsaliencyError(
            f"{_shown(folder / DESCRIPTION)}: expected a network of about the size of its weights, {size:,} bytes, "
            f"got one of {needed:,}; correct size"
        )
    module = build(description.architecture, **arguments)
    fit(module, state, _shown(path))
    return module


def files_of(file: Path) -> list[Path]:
    """The files of a checkpoint that is a file: its own, and those beside it that belong to it.

    Raises:
        MedsaliencyError: If one that it names is missing or lies elsewhere.
    """
    beside = [file.with_suffix(".json")] if file.with_suffix(".json").is_file() else []
    if file.suffix == ".onnx":
        home = file.parent.resolve()
        beside += [file.parent / found.relative_to(home) for found in files_beside(file, file.read_bytes())]
    return [file, *beside]


def metrics_of(place: Path | str) -> dict[str, Any]:
    """The performance that :func:`save` wrote into a checkpoint, or the one in a run's folder; empty where it was none.

    Raises:
        MedsaliencyError: If a file is missing or unreadable.
    """
    return {} if _adapter(place) is not None else _describe(_place(place)).metrics.model_dump(exclude_unset=True)


def training_of(place: Path | str) -> dict[str, Any]:
    """What :func:`save` was told of the training; empty where it was told nothing.

    Raises:
        MedsaliencyError: If a file is missing or unreadable.
    """
    return {} if _adapter(place) is not None else _describe(_place(place)).trained_on.model_dump(exclude_unset=True)


def reading_of(place: Path | str) -> dict[str, Any]:
    """How files are to be read for a checkpoint, as :func:`save` was told or an adapter knows; empty where nothing is.

    Raises:
        MedsaliencyError: If a file is missing or unreadable.
    """
    adapter = _adapter(place)
    if adapter is not None:
        return adapter.reading(str(place))
    return _describe(_place(place)).reading.model_dump(mode="json", exclude_unset=True)


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
    fit(module, state, _shown(path))
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


def _place(given: Path | str) -> Path:
    """Where a checkpoint is, given its folder or that of a run.

    Raises:
        MedsaliencyError: If the run's is a link to elsewhere, or the path cannot be one.
    """
    folder = Path(given)
    try:
        inner = folder / "model"
        if not inner.is_dir():
            return folder
    except (OSError, ValueError) as error:
        raise MedsaliencyError(
            f"{_shown(given)[:80]}: cannot be the path of a checkpoint ({error}); correct it"
        ) from error
    _require_inside(folder, inner)
    return inner


def _require_inside(folder: Path, path: Path) -> None:
    """The folder itself may be a link, which whoever names it knows of; what a stranger put into it may not."""
    if path.resolve().parent != folder.resolve():
        raise MedsaliencyError(
            f"{_shown(path)}: expected it in the folder itself, got a link to elsewhere; put it there, or name the "
            "folder that it is in"
        )


def _describe(folder: Path) -> Description:
    path = folder / DESCRIPTION
    if not path.is_file() or not (folder / WEIGHTS).is_file():  # a pipe or a device would never end
        others = ", ".join(adapter.description for adapter in ADAPTERS.values())
        raise MedsaliencyError(
            f"{_shown(folder)}: expected a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, which "
            f"`medsaliency train` makes, or {others}; a file of weights alone is read by load_state_dict in Python"
        )
    for each in (path, folder / WEIGHTS):
        _require_inside(folder, each)
    return described(read_text(path, MOST_BYTES), _shown(path))


def _shown(path: Path | str) -> str:
    """A path in one line, whatever a stranger has called a folder."""
    return visible(str(path))


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over a module's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
