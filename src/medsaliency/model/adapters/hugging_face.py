"""Hugging Face's image classifiers, from a folder that ``save_pretrained`` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from medsaliency.model.adapters.axes import size_of
from medsaliency.model.adapters.hugging_face_files import CONFIG, check_files
from medsaliency.model.classifier import Classifier, Output
from medsaliency.model.optional import optional
from medsaliency.types import MedsaliencyError

PREPROCESSING = "preprocessor_config.json"
WHOLE = 384
"""Pixels a side from which ConvNeXt's processor squeezes the whole image instead of taking its middle."""


class _Preprocessing(BaseModel):
    """What is read of ``preprocessor_config.json``."""

    image_processor_type: str = ""
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    rescale_offset: bool = False
    do_normalize: bool = True
    image_mean: float | list[float] = 0.0
    image_std: float | list[float] = 1.0
    include_top: bool = False
    do_resize: bool = True
    size: int | dict[str, int] | None = None
    do_center_crop: bool = False
    crop_size: int | dict[str, int] | None = None

    def affine(self) -> tuple[list[float], list[float]]:
        """Mean and std by which a pixel in [0, 1] becomes what the model is given."""
        means = self.image_mean if isinstance(self.image_mean, list) else [self.image_mean]
        stds = self.image_std if isinstance(self.image_std, list) else [self.image_std]
        if not self.do_normalize:
            means, stds = [0.0], [1.0]
        elif self.include_top:  # normalized a second time, by the deviation alone
            stds = [std * std for std in stds]
        scale = 255 * self.rescale_factor if self.do_rescale else 255.0
        offset = 1.0 if self.do_rescale and self.rescale_offset else 0.0
        return [(mean + offset) / scale for mean in means], [std / scale for std in stds]

    def sides(self) -> tuple[int, int] | None:
        """(H, W) of what the model is given, after a center crop; None where nothing fixes it."""
        for wanted, given in ((self.do_center_crop, self.crop_size), (self.do_resize, self.size)):
            if wanted and isinstance(given, int):
                return given, given
            if wanted and isinstance(given, dict) and {"height", "width"} <= given.keys():
                return given["height"], given["width"]
            if wanted and isinstance(given, dict) and "shortest_edge" in given:
                return given["shortest_edge"], given["shortest_edge"]
        return None

    def fit(self) -> str:
        """How a file's proportions are treated: "crop" keeps the middle square, "stretch" gives them up.

        The margin that a processor cuts off the middle square is not: where ``shortest_edge`` is 256 and ``crop_size``
        224, the processor keeps the middle 224 / 256 = 87.5 % of each side, and so does ConvNeXt's with its
        ``crop_pct`` of 0.875. Here the whole square is shown, in which everything is smaller by that factor.
        """
        size = self.size if isinstance(self.size, dict) else {}
        whole = {"height", "width"} <= size.keys()
        if self.image_processor_type.startswith("ConvNext"):
            whole = size.get("shortest_edge", 0) >= WHOLE
        return "stretch" if whole and not self.do_center_crop else "crop"


def takes(place: str) -> bool:
    """Whether ``place`` is a folder of Hugging Face's."""
    folder = Path(place)
    return (folder / CONFIG).is_file() and not (folder / "model.json").is_file()


def reading(place: str) -> dict[str, Any]:
    """How files are prepared for the model in a folder.

    Raises:
        MedsaliencyError: If the folder does not say.
    """
    return {"fit": _preprocessing(Path(place)).fit()}


def load(place: str, *, device: torch.device | str | None = None, batch_size: int = 32) -> Classifier:
    """A classifier from a folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.

    Nothing is fetched, no file outside the folder is opened, no code in it is run, and weights are safetensors only.

    Args:
        place: The folder.
        device: Where it runs.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If transformers is not installed, a file is missing, the model is no image classifier, wants
            code of its own or files elsewhere, or has weights that do not fit.
    """
    transformers = optional("transformers", "hugging-face", "A model of Hugging Face")
    folder = Path(place)
    check_files(folder)
    preparing = _preprocessing(folder)
    try:
        with _quietly(transformers):
            model, report = transformers.AutoModelForImageClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # a damaged folder can raise anything
        said = " ".join(str(error).split())[:300]
        raise MedsaliencyError(
            f"{folder}: cannot be read as an image classifier of Hugging Face ({said}); save it again with "
            "save_pretrained of a ...ForImageClassification model"
        ) from error
    unfit = [str(name) for kind in ("missing_keys", "mismatched_keys") for name in sorted(report[kind], key=str)]
    if unfit:
        raise MedsaliencyError(
            f"{folder}: the weights lack {unfit[0]} and {len(unfit) - 1} more of {type(model).__name__}, which would "
            "be drawn at random; give the folder of a trained classifier"
        )
    classes, output = _classes(model.config, folder)
    mean, std = preparing.affine()
    return Classifier(
        _Logits(model.float()),
        classes,
        mean=mean[0] if len(mean) == 1 else mean,
        std=std[0] if len(std) == 1 else std,
        channels=getattr(model.config, "num_channels", None) or 3,
        size=size_of(preparing.sides(), str(folder)),
        output=output,
        batch_size=batch_size,
        device=device,
        name=f"hugging-face:{type(model).__name__}",
    )


class _Logits(nn.Module):
    """A classifier of transformers, from images (N, C, H, W) to its logits (N, K)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


def _preprocessing(folder: Path) -> _Preprocessing:
    path = folder / PREPROCESSING
    if not path.is_file():
        raise MedsaliencyError(
            f"{folder}: expected {PREPROCESSING}, which says how images are normalized; save the image processor into "
            "the folder too, or wrap the model in Classifier with its mean and std"
        )
    try:
        return _Preprocessing.model_validate(json.loads(path.read_text()))
    except (OSError, ValidationError, ValueError, RecursionError) as error:
        fault = error.errors()[0] if isinstance(error, ValidationError) else None
        said = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault else " ".join(str(error).split())
        raise MedsaliencyError(f"{path}: cannot be read ({said}); save the image processor again") from error


def _classes(config: Any, folder: Path) -> tuple[list[str], Output]:
    """Names of the classes in the order of the outputs, and what kind of outputs these are."""
    if config.problem_type == "regression":
        raise MedsaliencyError(f"{folder}: expected a classifier, the model is one of regression; give another")
    if sorted(config.id2label) != list(range(config.num_labels)) or not config.id2label:
        raise MedsaliencyError(
            f"{folder}: expected id2label in {CONFIG} to name outputs 0 to {config.num_labels - 1}, got "
            f"{sorted(config.id2label)[:5]}; number the classes from 0"
        )
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    if len(names) == 1:
        return [f"not {names[0]}", names[0]], "single_logit"
    return names, "sigmoid" if config.problem_type == "multi_label_classification" else "softmax"


@contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """No bars and reports of transformers within the block; its settings are put back."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
