"""Libraries that a model or a method needs and a plain installation lacks."""

from __future__ import annotations

import importlib
from typing import Any

from medsaliency.types import MedsaliencyError


def optional(module: str, extra: str, what: str) -> Any:
    """A module of an optional library, imported when it is first needed.

    Args:
        module: Dotted name.
        extra: Of medsaliency, that installs it.
        what: Needs it, for the error.

    Raises:
        MedsaliencyError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MedsaliencyError(f"{what} needs the extra {extra}: pip install 'medsaliency[{extra}]'") from error
