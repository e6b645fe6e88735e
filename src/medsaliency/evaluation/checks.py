"""Checks, one a file. To add one, write its file and a line in ``CHECKS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medsaliency.evaluation.check import Check
from medsaliency.evaluation.data_randomization import DataRandomization
from medsaliency.evaluation.equivariance import Equivariance
from medsaliency.evaluation.max_sensitivity import MaxSensitivity
from medsaliency.evaluation.parameter_randomization import ParameterRandomization
from medsaliency.types import make

CHECKS: dict[str, Callable[..., Check]] = {
    "parameter_randomization": ParameterRandomization,
    "data_randomization": DataRandomization,
    "max_sensitivity": MaxSensitivity,
    "equivariance": Equivariance,
}


def make_check(name: str, parameters: Mapping[str, Any] | None = None) -> Check:
    """Build a check by name with its parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    return make("check", CHECKS, name, parameters)
