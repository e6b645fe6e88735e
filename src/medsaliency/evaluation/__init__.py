"""Metrics, one a file. To add one, write its file and a line in ``METRICS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medsaliency.evaluation.information_curves import InformationCurves
from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.evaluation.metric import Metric
from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.types import make

METRICS: dict[str, Callable[..., Metric]] = {
    "information_curves": InformationCurves,
    "pointing_game": PointingGame,
    "lesion_auprc": LesionAUPRC,
}


def make_metric(name: str, parameters: Mapping[str, Any] | None = None) -> Metric:
    """Build a metric by name with its parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    return make("metric", METRICS, name, parameters)
