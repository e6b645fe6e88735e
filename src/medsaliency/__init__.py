"""Explain a medical image classifier, and measure how far the explanation can be trusted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsaliency.api import evaluate, explain, show
    from medsaliency.model.checkpoint import load
    from medsaliency.model.classifier import Classifier
    from medsaliency.types import MedsaliencyError

__all__ = ["Classifier", "MedsaliencyError", "__version__", "evaluate", "explain", "load", "show"]
__version__ = "0.1.0"

_HOMES = {
    "Classifier": "medsaliency.model.classifier",
    "MedsaliencyError": "medsaliency.types",
    "evaluate": "medsaliency.api",
    "explain": "medsaliency.api",
    "load": "medsaliency.model.checkpoint",
    "show": "medsaliency.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
