"""ONNX files: classifiers that give scores and nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from medsaliency.model.adapters.axes import size_of
from medsaliency.model.adapters.onnx_files import files_beside
from medsaliency.model.classifier import Classifier, Output, Size
from medsaliency.model.layers import Layer
from medsaliency.model.optional import optional
from medsaliency.model.passes import Features, Pass
from medsaliency.types import MedsaliencyError

METADATA = "medsaliency"
"""Key of the file's own metadata under which a description may stand, as JSON."""
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 where logits are made of them."""
REASON = (
    "ONNX models have no gradients and no layers to read: use methods that only ask for scores (occlusion, rise, lime, "
    "kernel_shap) or the controls random, edge and center_gaussian"
)


class _Description(BaseModel):
    """What ``NAME.json`` beside ``NAME.onnx``, or the file's metadata, says of a model."""

    model_config = ConfigDict(extra="forbid")

    classes: list[str]
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0
    output: Output = "softmax"
    channels: int | None = None
    size: Size | None = None
    logits: str | None = None
    probabilities: bool = False
    reading: dict[str, Any] = {}


def takes(place: str) -> bool:
    """Whether ``place`` is the name of an ONNX file."""
    return Path(place).suffix.lower() == ".onnx"


def reading(place: str) -> dict[str, Any]:
    """How files are prepared for the model, by its description.

    Raises:
        MedsaliencyError: If there is no description.
    """
    beside = Path(place).with_suffix(".json")
    if beside.is_file():
        return dict(_parse(_text(beside), beside).reading)
    return dict(_description(Path(place), _session(Path(place))).reading)


def load(place: str, *, device: torch.device | str | None = None, batch_size: int = 32) -> ScoresOnly:
    """A classifier of an ONNX file, run by onnxruntime on the CPU.

    The description is ``NAME.json`` beside the file, or JSON under "medsaliency" in the file's metadata: ``classes``
    (required), ``mean``, ``std``, ``output``, ``channels``, ``size``, ``logits`` (the name of the output, where there
    are several), ``probabilities`` (true where the model ends in a softmax or sigmoid) and ``reading``. No library of
    custom operators is loaded.

    Args:
        place: The file.
        device: Where images and maps are.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If onnxruntime is not installed, the file cannot be read, names files elsewhere, has no
            description, or takes something else than images.
    """
    path = Path(place)
    session = _session(path)
    about = _description(path, session)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) not in (4, 5) or inputs[0].type not in TYPES:
        raise MedsaliencyError(
            f"{path}: expected one input of images (N, C, H, W) or volumes (N, C, D, H, W) in floating point, got "
            f"{[(i.name, i.shape, i.type) for i in inputs]}; export the classifier alone"
        )
    names = [output.name for output in outputs]
    wanted = about.logits or (names[0] if len(names) == 1 else "")
    if wanted not in names:
        raise MedsaliencyError(
            f"{path}: expected one output, or `logits` in {path.stem}.json naming one of {names}, got {wanted!r}"
        )
    channels = about.channels or shape[1]
    if not isinstance(channels, int):
        raise MedsaliencyError(
            f"{path}: the file leaves the number of channels open; say `channels` in its description"
        )
    sides = tuple(shape[2:])
    fixed = sides if all(isinstance(side, int) for side in sides) else None
    size = about.size if fixed is None else size_of(fixed, str(path))
    return ScoresOnly(
        OnnxModule(session, wanted, about.output if about.probabilities else None, _digest(path)),
        about.classes,
        mean=about.mean,
        std=about.std,
        channels=channels,
        size=size,
        output=about.output,
        batch_size=batch_size,
        device=device,
        name=f"onnx:{path.stem}",
    )


class OnnxModule(nn.Module):
    """An onnxruntime session that takes and gives tensors.

    Args:
        session: Runs it.
        output: Name of the output taken.
        activation: Which probabilities the output holds ("softmax", "sigmoid", "single_logit"), of which logits are
            made; None where it holds logits.
        digest: SHA-256 of the file and of those that hold weights of it, (32,) uint8; stands for the weights.
    """

    digest: Tensor

    def __init__(self, session: Any, output: str, activation: Output | None, digest: Tensor) -> None:
        super().__init__()
        self.session = session
        self.output = output
        self.activation = activation
        self.register_buffer("digest", digest)

    def __deepcopy__(self, _memo: object) -> OnnxModule:
        """A module of its own with the same session, which cannot be copied and in which nothing changes."""
        return OnnxModule(self.session, self.output, self.activation, self.digest.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, ...) to logits (N, K).

        Raises:
            MedsaliencyError: If gradients are asked for, or the session cannot run on such images.
        """
        if images.requires_grad and torch.is_grad_enabled():
            raise MedsaliencyError(REASON)
        given = self.session.get_inputs()[0]
        pixels = images.detach().cpu().contiguous().numpy().astype(TYPES[given.type])
        most = given.shape[0] if isinstance(given.shape[0], int) else len(pixels)
        found = torch.cat([self._run(given.name, pixels[at : at + most], most) for at in range(0, len(pixels), most)])
        return _to_logits(found, self.activation).to(images.device)

    def _run(self, name: str, pixels: Any, most: int) -> Tensor:
        """Outputs for at most as many images as a pass takes; fewer are filled up with the last."""
        filled = np.concatenate([pixels, np.repeat(pixels[-1:], most - len(pixels), axis=0)])
        try:
            (found,) = self.session.run([self.output], {name: filled})
        except Exception as error:  # onnxruntime's errors share no class of their own
            said = " ".join(str(error).split())[:300]
            raise MedsaliencyError(
                f"the ONNX model cannot run on images of shape {filled.shape} ({said}); give images of the size and "
                "channels that it was exported for"
            ) from error
        return torch.from_numpy(np.asarray(found, dtype=np.float32))[: len(pixels)]


class ScoresOnly(Classifier):
    """A classifier whose module gives scores and nothing else; whatever needs more raises MedsaliencyError."""

    differentiable = False

    def backward(self, *_given: Any, **_more: Any) -> Pass:
        """No gradients."""
        _refuse()

    def features(self, *_given: Any, **_more: Any) -> Features:
        """No layers."""
        _refuse()

    def scores_and_gradients(self, *_given: Any, **_more: Any) -> tuple[Tensor, Tensor]:
        """No gradients."""
        _refuse()

    def target_layer(self, *_given: Any, **_more: Any) -> str:
        """No layers."""
        _refuse()

    def describe_layers(self, *_given: Any, **_more: Any) -> list[Layer]:
        """No layers."""
        _refuse()

    def use_layer(self, *_given: Any, **_more: Any) -> None:
        """No layers."""
        _refuse()

    def scores_from_layer(self, *_given: Any, **_more: Any) -> Tensor:
        """No layers."""
        _refuse()

    def scorers(self, *_given: Any, **_more: Any) -> Any:
        """No module to hook."""
        _refuse()


def _refuse() -> NoReturn:
    raise MedsaliencyError(REASON)


def _to_logits(found: Tensor, activation: Output | None) -> Tensor:
    if activation is None:
        return found
    if activation == "softmax":
        return found.clamp(min=SMALLEST).log()
    return torch.logit(found, eps=SMALLEST)


def _session(path: Path) -> Any:
    runtime = optional("onnxruntime", "onnx", "An ONNX model")
    if not path.is_file():
        raise MedsaliencyError(f"{path}: no such ONNX file; check the path")
    files_beside(path, path.read_bytes())  # raises, before any of them is opened
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; its own words on them go past the program
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        said = " ".join(str(error).split())[:300]
        raise MedsaliencyError(f"{path}: cannot be read as ONNX ({said}); export the model again") from error


def _digest(path: Path) -> Tensor:
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    for beside in files_beside(path, content):
        digest.update(beside.read_bytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _description(path: Path, session: Any) -> _Description:
    beside = path.with_suffix(".json")
    if beside.is_file():
        return _parse(_text(beside), beside)
    inside = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if inside is None:
        raise MedsaliencyError(
            f"{path}: expected {beside.name} beside it with the model's classes, mean and std; "
            'write {"classes": ["normal", "tumor"], "mean": 0.5, "std": 0.25}'
        )
    return _parse(inside, path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise MedsaliencyError(f"{path}: cannot be read ({error})") from error


def _parse(text: str, path: Path) -> _Description:
    try:
        return _Description.model_validate(json.loads(text))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the description"
        raise MedsaliencyError(f"{path}: {where}: {fault['msg']}; correct it") from error
    except (ValueError, RecursionError) as error:
        raise MedsaliencyError(f"{path}: cannot be read as JSON ({error}); correct it") from error
