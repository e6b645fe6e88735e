"""Models that others wrote: what each adapter takes, and how it makes a classifier of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medsaliency.model.adapters import hugging_face, monai_bundle, onnx, torchxrayvision
from medsaliency.model.classifier import Classifier


@dataclass(frozen=True)
class Adapter:
    """One kind of model.

    Args:
        description: What it takes, for errors.
        takes: Whether the name of a file or folder, or another name, is of this kind; no library is imported for that.
        load: From the name, with ``device`` and ``batch_size``, to a classifier.
        reading: From the name to how files are to be read: ``fit``, ``window`` and so on, as far as it is known.
    """

    description: str
    takes: Callable[[str], bool]
    load: Callable[..., Classifier]
    reading: Callable[[str], dict[str, Any]]


ADAPTERS = {
    "torchxrayvision": Adapter(
        "xrv: and the name of torchxrayvision's weights",
        torchxrayvision.takes,
        torchxrayvision.load,
        torchxrayvision.reading,
    ),
    "onnx": Adapter("an .onnx file", onnx.takes, onnx.load, onnx.reading),
    "hugging_face": Adapter(
        "a folder of Hugging Face's with config.json", hugging_face.takes, hugging_face.load, hugging_face.reading
    ),
    "monai_bundle": Adapter(
        "a MONAI bundle with configs/metadata.json", monai_bundle.takes, monai_bundle.load, monai_bundle.reading
    ),
}
"""By name, in the order in which they are asked."""


def adapter_of(place: str) -> Adapter | None:
    """The adapter that takes ``place``, or None."""
    return next((adapter for adapter in ADAPTERS.values() if adapter.takes(place)), None)
